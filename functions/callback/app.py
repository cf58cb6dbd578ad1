"""GET /callback, the redirect URI: claims the flow, exchanges the code, stores the token, answers with a receipt."""

from finch_connect import coldstart, wiring
from finch_connect.config import from_environment
from finch_connect.domain.errors import CallbackRefusedError
from finch_connect.domain.return_urls import RECEIPT_PARAMETER, is_allowed, with_receipt
from finch_connect.domain.states import cookie_name, flow_id_of_cookie
from finch_connect.flow import links
from finch_connect.flow.callback import CallbackRequest, InProgress, Outcome, callback
from finch_connect.flow.start import readable_cookie
from finch_connect.observability import count, count_outcome, logger
from finch_connect.web import apigateway, pages
from finch_connect.web.apigateway import Cookie, Request, Response
from finch_connect.web.endpoint import endpoint

SETTLED_COOKIE_SECONDS = 600

CONFIG = from_environment()
PORTS = wiring.callback_ports(CONFIG)
coldstart.ready()


@endpoint(CONFIG, PORTS.deadline, refused=CallbackRefusedError)
def handler(request: Request) -> Response:
    """Answer Finch's redirect, or show the result of a flow whose link has no return URL."""
    if request.route == "GET /callback/result":
        receipt = links.verify_receipt(request.query.get(RECEIPT_PARAMETER, ""), PORTS.keys, PORTS.clock())
        return pages.outcome(receipt.status, retry=receipt.retry)
    if request.query.get("iss", CONFIG.finch_connect_url) != CONFIG.finch_connect_url:  # RFC 9207
        raise CallbackRefusedError("issuer_wrong")
    cookies = {flow_id_of_cookie(name): readable_cookie(value) for name, value in request.cookies.items()}
    received = CallbackRequest(
        state=request.secret("state"),
        code=request.secret("code"),
        error=request.query.get("error"),
        cookies={flow_id: cookie for flow_id, cookie in cookies.items() if flow_id and cookie},
    )
    answer = callback(received, PORTS, CONFIG)
    flow = answer.flow
    logger.info("answered", flow_id=flow.flow_id, status=flow.status, reason=flow.reason, finch_error=flow.finch_error,
                connection_id=flow.connection_id, finch_request_id=flow.finch_request_id)  # fmt: skip
    if isinstance(answer, Outcome) and answer.fresh:
        count_outcome(flow.status, flow.reason)
    else:  # a repeated request gets the same answer, which is not a second outcome
        count("AnswerRepeated")
    if isinstance(answer, InProgress):
        return pages.in_progress(as_json=request.wants_json)
    return _answer(answer, request)


def _answer(outcome: Outcome, request: Request) -> Response:
    """Redirect with a receipt to the link's return URL, if it is still allowed, or to this stack's result page."""
    flow, base = outcome.flow, apigateway.base_url(request, CONFIG)
    receipt = links.sign_receipt(flow, outcome.key, issuer=base, now=PORTS.clock())
    cookie = Cookie(cookie_name(flow.flow_id), outcome.cookie, SETTLED_COOKIE_SECONDS)
    if request.wants_json:
        status = links.public_status(flow.status)
        body = {"status": status.value, "flow_id": flow.flow_id, RECEIPT_PARAMETER: receipt}
        return pages.json_body(200, body).with_cookie(cookie)
    own_page = f"{base}/callback/result"
    allowed = flow.return_url is not None and is_allowed(flow.return_url, CONFIG.allowed_return_urls)
    return pages.redirect(
        with_receipt(flow.return_url if allowed and flow.return_url else own_page, receipt)
    ).with_cookie(cookie)
