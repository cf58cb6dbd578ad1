"""GET and POST /connect: from a signed link to Finch, with a one-time state in the table and in a cookie."""

from finch_connect import coldstart, wiring
from finch_connect.config import from_environment
from finch_connect.domain.errors import LinkRefusedError
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.states import cookie_name, form_cookie_name
from finch_connect.flow import links
from finch_connect.flow.start import (
    FORM_COOKIE_SECONDS,
    Browser,
    Confirm,
    NotStartable,
    Redirect,
    SessionUnavailable,
    readable_cookie,
    readable_form_cookie,
    readable_form_nonce,
    start,
)
from finch_connect.observability import count, logger
from finch_connect.web import apigateway, pages
from finch_connect.web.apigateway import Cookie, Request, Response
from finch_connect.web.endpoint import count_operator_errors, endpoint

CONFIG = from_environment()
PORTS = wiring.connect_ports(CONFIG)
coldstart.ready()


@endpoint(CONFIG, PORTS.deadline, refused=LinkRefusedError)
def handler(request: Request) -> Response:
    """Answer the link with a 303 to Finch, the confirm page, or a page with the flow's status."""
    if request.method == "GET" and apigateway.is_elsewhere(request, CONFIG):
        return pages.redirect(apigateway.moved(request, CONFIG))
    if request.method == "POST" and request.is_cross_site_post:
        raise LinkRefusedError("cross_site_post")
    link = (request.form if request.method == "POST" else request.query).get("link", "")
    if CONFIG.open_links and not link and request.method == "GET":
        link = links.open_link(request.query, PORTS.keys.current(), CONFIG, PORTS.clock())
    wanted = links.verify_link(link, PORTS.keys, CONFIG, PORTS.clock())
    redirect_uri = f"{apigateway.base_url(request, CONFIG)}/callback"
    match start(wanted, _browser(request, wanted), redirect_uri, PORTS, CONFIG):
        case Redirect(location, flow_id, cookie, max_age):
            logger.info("started", flow_id=flow_id)
            count("Started")
            return pages.redirect(location).with_cookie(Cookie(cookie_name(flow_id), cookie, max_age))
        case SessionUnavailable(error, flow_id, cookie, max_age):
            logger.warning("session_unavailable", extra={"flow_id": flow_id, "reason": error.reason, **error.fields})
            count("SessionUnavailable", reason=error.reason)
            count_operator_errors(error)
            page = pages.problem(error, as_json=request.wants_json, posted=request.posted)
            return page.with_cookie(Cookie(cookie_name(flow_id), cookie, max_age))
        case Confirm(_, flow_id, form_cookie, form_nonce):
            count("ConfirmationShown")
            page = pages.confirm(wanted.customer_name or wanted.customer_id, link, form_nonce.reveal())
            return page.with_cookie(Cookie(form_cookie_name(flow_id), form_cookie, FORM_COOKIE_SECONDS))
        case NotStartable(status):
            count("NotStartable")
            return pages.outcome(links.public_status(status), as_json=request.wants_json)


def _browser(request: Request, wanted: LinkRequest) -> Browser:
    return Browser(
        cookie=readable_cookie(request.cookies.get(cookie_name(wanted.flow_id))),
        form_cookie=readable_form_cookie(request.cookies.get(form_cookie_name(wanted.flow_id))),
        form_nonce=readable_form_nonce(request.form.get("form_nonce")),
        confirmed=request.method == "POST",
    )
