"""The answer to a callback: a redirect with a receipt, or a page."""

from __future__ import annotations

from datetime import datetime

from finch_connect.config import Config
from finch_connect.domain.return_urls import RECEIPT_PARAMETER, is_allowed, with_receipt
from finch_connect.domain.states import cookie_name
from finch_connect.flow import links
from finch_connect.flow.callback import Answer, InProgress, Outcome, Unproven
from finch_connect.web import apigateway, pages
from finch_connect.web.apigateway import Cookie, Request, Response

SETTLED_COOKIE_SECONDS = 600


def respond(answer: Answer, request: Request, config: Config, now: datetime) -> Response:
    """Return the response to a callback."""
    match answer:
        case InProgress():
            return pages.in_progress(as_json=request.wants_json)
        case Unproven():
            return pages.unproven(as_json=request.wants_json)
        case Outcome():
            return _outcome(answer, request, config, now)


def _outcome(outcome: Outcome, request: Request, config: Config, now: datetime) -> Response:
    """Redirect with a receipt to the link's return URL, if it is still allowed, or to this stack's result page."""
    flow, base = outcome.flow, apigateway.base_url(request, config)
    receipt = links.sign_receipt(flow, outcome.key, issuer=base, now=now)
    cookie = Cookie(cookie_name(flow.flow_id), outcome.cookie, SETTLED_COOKIE_SECONDS)
    status = links.public_status(flow.status)
    if request.wants_json:
        body: dict[str, object] = {"status": status.value, "flow_id": flow.flow_id, RECEIPT_PARAMETER: receipt}
        unused = {"unused_code": True} if outcome.unused_code else {}
        return pages.json_body(200, body | unused).with_cookie(cookie)
    own_page = f"{base}/callback/result"
    allowed = flow.return_url is not None and is_allowed(flow.return_url, config.allowed_return_urls)
    next_url = with_receipt(flow.return_url if allowed and flow.return_url else own_page, receipt)
    if outcome.unused_code:
        return pages.code_unused(status, next_url if allowed else None).with_cookie(cookie)
    return pages.redirect(next_url).with_cookie(cookie)
