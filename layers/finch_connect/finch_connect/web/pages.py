"""What a person sees: small pages without script, image or third party, and the same answers as JSON for programs.

Every value that goes into a page goes through `html.escape`, in one place.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from http import HTTPStatus
from string import Template

from finch_connect.domain.errors import FinchConnectError
from finch_connect.domain.flow import Status
from finch_connect.web.apigateway import Response
from finch_connect.web.stylesheet import STYLE

_PAGE = Template(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
    "<title>$title</title>\n<style>" + STYLE.replace("$", "$$") + "</style>\n</head>\n"
    "<body>\n<main>\n<h1>$title</h1>\n$content\n</main>\n</body>\n</html>\n"
)

_CONFIRM = Template(
    "<p>You are about to connect the system of <strong>$customer</strong>.</p>\n"
    "<p>You will choose your provider, sign in there, and see what is shared before you agree.</p>\n"
    '<form method="post" action="/connect">\n<input type="hidden" name="link" value="$link">\n'
    '<input type="hidden" name="form_nonce" value="$form_nonce">\n<button>Continue to Finch</button>\n</form>\n'
    "<p>Not your company? Close this page: nothing has happened yet.</p>"
)

_OUTCOMES: dict[Status, tuple[str, str]] = {
    Status.CONNECTED: ("You're connected", "Your system is connected. You can close this window."),
    Status.DENIED: (
        "Not connected",
        "You chose not to give access, so nothing is shared. To connect after all, open your link again.",
    ),
    Status.FAILED: (
        "That didn't work",
        "The connection was not made and nothing is shared. Open your link again to retry.",
    ),
    Status.QUARANTINED: (
        "Almost there",
        "Your sign-in worked, but something needs a second look. The team that sent you here will be in touch; "
        "you don't need to do anything.",
    ),
    Status.ORPHANED: (
        "That didn't work",
        "The connection could not be completed. Open your link again to retry; it is safe to do so.",
    ),
    Status.CLAIMED: (
        "Already being finished",
        "This connection is being completed in another window. Give it a few seconds, and look there.",
    ),
}


def page(title: str, content: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a page. `title` is text; `content` is markup whose values were escaped already."""
    return Response(status, _PAGE.substitute(title=html.escape(title), content=content), headers=headers or {})


def confirm(customer: str, link: str, form_nonce: str) -> Response:
    """Return the page that names the customer and starts nothing until its one button is pressed."""
    values = {"customer": customer, "link": link, "form_nonce": form_nonce}
    content = _CONFIRM.substitute({name: html.escape(value) for name, value in values.items()})
    return page("Connect your HR or payroll system", content)


def outcome(status: Status, *, as_json: bool = False) -> Response:
    """Return what became of a flow, for a person or for a program."""
    if as_json:
        return json_body(200, {"status": status.value})
    title, sentence = _OUTCOMES[status]
    return page(title, f"<p>{html.escape(sentence)}</p>")


def in_progress(*, as_json: bool = False) -> Response:
    """Return the page that looks again every two seconds until the flow has settled."""
    headers = {"Refresh": "2"}
    if as_json:
        return json_body(202, {"status": Status.CLAIMED.value}, headers={"Retry-After": "2"})
    return page("One moment", "<p>Your connection is being completed. This page goes on by itself.</p>", 202, headers)


def problem(error: FinchConnectError, *, as_json: bool = False, detail: str | None = None) -> Response:
    """Return an error: for a program as `application/problem+json` (RFC 9457). `detail` is for open links only."""
    headers = {"Retry-After": "5"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    sentence = error.sentence if detail is None else f"{error.sentence} ({detail})"
    if as_json:
        body = {"type": "about:blank", "title": error.title, "status": error.status, "detail": sentence}
        return json_body(error.status, body, "application/problem+json", headers)
    content = f"<p>{html.escape(sentence)}</p>"
    if headers:
        content += '\n<p><a class="button" href="">Try again</a></p>'
    return page(error.title, content, error.status, headers)


def json_body(
    status: int,
    content: Mapping[str, object],
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a JSON answer."""
    return Response(status, json.dumps(content), content_type, headers or {})


def redirect(location: str) -> Response:
    """Return a 303: the browser asks the new address with GET, whatever it did before (RFC 9110 section 15.4.4)."""
    return Response(303, headers={"Location": location})
