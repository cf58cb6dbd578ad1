"""GET /callback, the redirect URI: claims the flow, exchanges the code, stores the token, answers with a receipt."""

from finch_connect import coldstart, wiring
from finch_connect.config import from_environment
from finch_connect.domain.errors import CallbackRefusedError
from finch_connect.domain.return_urls import RECEIPT_PARAMETER
from finch_connect.domain.states import flow_id_of_cookie
from finch_connect.flow import links
from finch_connect.flow.binding import CallbackRequest
from finch_connect.flow.callback import Answer, Outcome, Unproven, callback
from finch_connect.flow.start import readable_cookie
from finch_connect.observability import count, count_outcome, logger
from finch_connect.web import pages
from finch_connect.web.apigateway import Request, Response
from finch_connect.web.callback_answer import respond
from finch_connect.web.endpoint import endpoint

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
    _record(answer)
    return respond(answer, request, CONFIG, PORTS.clock())


def _record(answer: Answer) -> None:
    """Log the answer and count it, once for each outcome."""
    flow = answer.flow
    if isinstance(answer, Unproven):
        logger.warning("unproven", flow_id=flow.flow_id, reason=answer.reason, quarantine_id=answer.quarantine_id)
        if answer.code:
            count("CodeUnused", reason=answer.reason)
        if answer.quarantine_id is not None:
            count("Quarantined", reason=answer.reason)
        return
    logger.info("answered", flow_id=flow.flow_id, status=flow.status, reason=flow.reason, finch_error=flow.finch_error,
                connection_id=flow.connection_id, finch_request_id=flow.finch_request_id)  # fmt: skip
    if isinstance(answer, Outcome) and answer.fresh:
        count_outcome(flow.status, flow.reason)
    else:  # a repeated request gets the same answer, which is not a second outcome
        count("AnswerRepeated")
    if isinstance(answer, Outcome) and answer.unused_code:
        count("CodeUnused", reason=f"already_{flow.status}")
