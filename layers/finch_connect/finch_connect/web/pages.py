"""What a person sees: small pages without scripts, images or third parties, and the same answers as JSON.

Every value in a page is escaped with `html.escape` in one place.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from string import Template

from finch_connect.domain.errors import FinchConnectError, OperatorNeededError
from finch_connect.domain.flow import Status
from finch_connect.web.apigateway import Response
from finch_connect.web.stylesheet import STYLE

_PAGE = Template(
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
    "<title>$title</title>\n<style>" + STYLE.replace("$", "$$") + "</style>\n</head>\n"
    "<body>\n<main>\n<h1>$title</h1>\n$content\n</main>\n</body>\n</html>\n"
)

_FORM = Template(
    '<form method="post" action="/connect">\n<input type="hidden" name="link" value="$link">\n'
    '<input type="hidden" name="form_nonce" value="$form_nonce">\n<button>$button</button>\n</form>'
)

_FORM_VALUE = re.compile(r"[A-Za-z0-9._-]{1,6144}")
"""What a link and a nonce consist of. Nothing else of a request is ever put into a page."""

_CONFIRM = Template(
    "<p>You are about to connect the HR or payroll system of <strong>$customer</strong>.</p>\n"
    "<p>You will choose your provider, sign in there, and see what will be shared before you agree.</p>\n"
    "$form\n"
    "<p>Not your company? Close this page. Nothing has been shared yet.</p>"
)

_OUTCOMES: dict[Status, tuple[str, str]] = {
    Status.CONNECTED: ("You're connected", "Your system is connected. You can close this window."),
    Status.DENIED: (
        "Not connected",
        "You chose not to give access, so nothing was shared. If you change your mind, open your link again.",
    ),
    Status.FAILED: (
        "That didn't work",
        "The connection was not made, and nothing was shared. To try again, open your link again.",
    ),
    Status.QUARANTINED: (
        "Almost there",
        "Your sign-in worked, but the team that sent you here has to check something first. They will contact you. "
        "You don't need to do anything.",
    ),
    Status.ORPHANED: (
        "That didn't work",
        "The connection could not be completed. To try again, open your link again. It is safe to do so.",
    ),
    Status.CLAIMED: (
        "Already in progress",
        "This connection is being completed in another window. It takes a few seconds. Please continue there.",
    ),
}


_UNUSED: dict[Status, tuple[str, str]] = {
    Status.CONNECTED: (
        "You're already connected",
        "Your system was connected before, so your last sign-in was not needed. Nothing has changed.",
    ),
    Status.QUARANTINED: (
        "Almost there",
        "Your first sign-in worked, and the team that sent you here has to check something. Your last sign-in was not "
        "used. You don't need to do anything.",
    ),
    Status.FAILED: (
        "Your last sign-in was not used",
        "This attempt had already ended before, without a connection. To connect, open your link again and sign in "
        "once more.",
    ),
}
_NO_RETRY = (
    "The connection was not made, and nothing was shared. This can't be fixed by trying again. Please contact the team "
    "that sent you here."
)


def page(title: str, content: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a page. `title` is text. `content` is markup whose values are already escaped."""
    return Response(status, _PAGE.substitute(title=html.escape(title), content=content), headers=headers or {})


def confirm(customer: str, link: str, form_nonce: str) -> Response:
    """Return the page that names the customer. Nothing starts before its one button is pressed."""
    form = _form({"link": link, "form_nonce": form_nonce}, "Continue to Finch")
    content = _CONFIRM.substitute(customer=html.escape(customer), form=form)
    return page("Connect your HR or payroll system", content)


def outcome(status: Status, *, as_json: bool = False, retry: bool = True) -> Response:
    """Return the answer for a flow's status, as a page or as JSON. Without `retry`, the page does not offer it."""
    if as_json:
        return json_body(200, {"status": status.value})
    title, sentence = _OUTCOMES[status]
    return page(title, f"<p>{html.escape(sentence if retry else _NO_RETRY)}</p>")


def code_unused(status: Status, next_url: str | None) -> Response:
    """Return the page for a sign-in that was not used, because its flow already had this status.

    `next_url` is an allowed return URL with a receipt, where the person can continue, or None.
    """
    title, sentence = _UNUSED.get(status, _UNUSED[Status.FAILED])
    content = f"<p>{html.escape(sentence)}</p>"
    if next_url is not None:
        content += f'\n<p><a class="button" href="{html.escape(next_url)}">Continue</a></p>'
    return page(title, content)


def unproven(*, as_json: bool = False) -> Response:
    """Return the page for a callback without a state that changed nothing."""
    if as_json:
        return json_body(200, {"status": Status.STARTED.value})
    return page(
        "Not connected yet",
        "<p>You came back without a completed connection. Nothing has changed. To connect, open your link again.</p>",
    )


def in_progress(*, as_json: bool = False) -> Response:
    """Return the page that refreshes every two seconds until the flow has settled."""
    headers = {"Refresh": "2"}
    if as_json:
        return json_body(202, {"status": Status.CLAIMED.value}, headers={"Retry-After": "2"})
    return page("One moment", "<p>Your connection is being completed. This page refreshes by itself.</p>", 202, headers)


def problem(
    error: FinchConnectError,
    *,
    as_json: bool = False,
    detail: str | None = None,
    posted: Mapping[str, str] | None = None,
) -> Response:
    """Return an error as a page or as `application/problem+json` (RFC 9457). `detail` is for open links only.

    If the error may pass, the page has a button that sends the same request again: `posted` is the form of a POST. The
    address of a POST has no link, so a request for it would be refused.
    """
    headers = {"Retry-After": "5"} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    sentence = error.sentence if detail is None else f"{error.sentence} ({detail})"
    if as_json:
        body = {"type": "about:blank", "title": error.title, "status": error.status, "detail": sentence}
        return json_body(error.status, body, "application/problem+json", headers)
    content = f"<p>{html.escape(sentence)}</p>"
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, OperatorNeededError):
        content += _try_again(posted)
    return page(error.title, content, error.status, headers)


def json_body(
    status: int,
    content: Mapping[str, object],
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a JSON answer."""
    return Response(status, json.dumps(content), content_type, headers or {})


def _try_again(posted: Mapping[str, str] | None) -> str:
    """Return the button that sends the same request again, or nothing if the form was not one of this stack's."""
    if posted is None:
        return '\n<p><a class="button" href="">Try again</a></p>'
    values = {name: posted.get(name, "") for name in ("link", "form_nonce")}
    return f"\n{_form(values, 'Try again')}" if all(map(_FORM_VALUE.fullmatch, values.values())) else ""


def _form(values: Mapping[str, str], button: str) -> str:
    """Return the form that posts a link with its nonce."""
    return _FORM.substitute({name: html.escape(value) for name, value in values.items()}, button=button)


def redirect(location: str) -> Response:
    """Return a 303: the browser requests the new address with GET after any method (RFC 9110 section 15.4.4)."""
    return Response(303, headers={"Location": location})
