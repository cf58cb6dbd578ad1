"""The start of a flow: from a link to the browser's redirect to Finch.

One link is one flow. It works until the flow is connected: again in the same browser it goes on, in another browser
it asks first, and after an ending without a connection it starts anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlencode, urlsplit

from finch_connect.config import Config
from finch_connect.domain.errors import LinkRefusedError, TryAgainError
from finch_connect.domain.flow import ConnectMode, Flow, NotWritten, StartRule, Status, Written, epoch_ms
from finch_connect.domain.grant import AlreadyConnected, SessionOpened
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import COOKIE_BYTES, digest, flow_id_of, form_nonce_of, is_cookie, new_cookie, state_of
from finch_connect.flow.ports import ConnectPorts, FinchSessions

DEADLINE_PAST_LINK_SECONDS = 3600
ROW_KEPT_SECONDS = 30 * 24 * 3600
"""A settled row outlives its link by this much, so that the link stays used up."""


@dataclass(frozen=True, slots=True)
class Browser:
    """What the browser brought: its cookies of this flow, and the confirm form's nonce when the button was pressed."""

    cookie: Secret | None
    form_cookie: Secret | None
    form_nonce: Secret | None
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the browser to Finch, with the flow's cookie for `max_age` seconds."""

    location: str
    flow_id: str
    cookie: Secret
    max_age: int


@dataclass(frozen=True, slots=True)
class SessionUnavailable:
    """The flow stands and the browser keeps its cookie, but Finch gave no session: the same link works again."""

    error: TryAgainError
    flow_id: str
    cookie: Secret
    max_age: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Ask first: nothing was written."""

    request: LinkRequest
    flow_id: str
    form_cookie: Secret
    form_nonce: Secret


@dataclass(frozen=True, slots=True)
class NotStartable:
    """The flow is being finished, or has ended in a way that a link does not start anew: say so."""

    status: Status


StartAnswer = Redirect | SessionUnavailable | Confirm | NotStartable


def start(
    request: LinkRequest, browser: Browser, redirect_uri: str, ports: ConnectPorts, config: Config
) -> StartAnswer:
    """Start, resume or take over the link's flow, or say why not.

    Raises:
        LinkRefusedError: the confirm form did not come from our own page.
        ServiceUnavailableError: the table cannot be reached; nothing was written.
    """
    flow_id = flow_id_of(request.customer_id, request.link_id)
    if browser.confirmed:
        _check_form(browser, flow_id)
    elif request.confirm:
        return _confirm(request, browser, flow_id, ports)

    now = ports.clock()
    if browser.cookie is not None:  # the same browser again: the same cookie, the same state
        resumed = _write(request, browser.cookie, StartRule.RESUME, redirect_uri, now, ports, config)
        if isinstance(resumed, Written):
            return _go(request, resumed.flow, browser.cookie, ports, config)

    cookie = new_cookie(ports.random_bytes(COOKIE_BYTES))  # a new attempt: never an earlier attempt's cookie
    rule = StartRule.TAKE_OVER if browser.confirmed else StartRule.NEW_ATTEMPT
    written = _write(request, cookie, rule, redirect_uri, now, ports, config)
    if isinstance(written, Written):
        return _go(request, written.flow, cookie, ports, config)
    if written.flow is None or written.flow.status is Status.STARTED:  # open in another browser: its owner decides
        return _confirm(request, browser, flow_id, ports)
    return NotStartable(written.flow.status)


def readable_cookie(text: str | None) -> Secret | None:
    """Return a cookie's value if it has the form of one of ours: anything else is as good as none."""
    return Secret(text) if text is not None and is_cookie(text) else None


def _check_form(browser: Browser, flow_id: str) -> None:
    if browser.form_cookie is None or browser.form_nonce is None:
        raise LinkRefusedError("form_nonce_missing")
    if browser.form_nonce != form_nonce_of(browser.form_cookie, flow_id):
        raise LinkRefusedError("form_nonce_wrong")


def _confirm(request: LinkRequest, browser: Browser, flow_id: str, ports: ConnectPorts) -> Confirm:
    cookie = browser.form_cookie or new_cookie(ports.random_bytes(COOKIE_BYTES))
    return Confirm(request, flow_id, form_cookie=cookie, form_nonce=form_nonce_of(cookie, flow_id))


def _write(
    request: LinkRequest,
    cookie: Secret,
    rule: StartRule,
    redirect_uri: str,
    now: datetime,
    ports: ConnectPorts,
    config: Config,
) -> Written | NotWritten:
    flow_id = flow_id_of(request.customer_id, request.link_id)
    moment = epoch_ms(now)
    link_end = request.expires_at + DEADLINE_PAST_LINK_SECONDS
    deadline = min(moment + config.state_lifetime * 1000, link_end * 1000)
    flow = Flow(
        flow_id=flow_id,
        status=Status.STARTED,
        state_hash=digest(state_of(cookie, flow_id)),
        mode=config.connect_mode,
        customer_id=request.customer_id,
        redirect_uri=redirect_uri,
        started_at=moment,
        deadline=deadline,
        due_at=deadline,
        expires=link_end + ROW_KEPT_SECONDS,
        products=request.products,
        payroll_provider=request.payroll_provider,
        requested_connection_id=request.connection_id,
        return_url=request.return_url,
        nonce=request.nonce,
        metadata=request.metadata,
    )
    return ports.flows.start(flow, rule)


def _go(
    request: LinkRequest, flow: Flow, cookie: Secret, ports: ConnectPorts, config: Config
) -> Redirect | SessionUnavailable:
    state = state_of(cookie, flow.flow_id)
    max_age = max(1, (flow.deadline - flow.started_at) // 1000)
    if flow.mode is ConnectMode.STATIC or ports.sessions is None:
        return Redirect(authorize_url(request, flow, state, config), flow.flow_id, cookie, max_age)
    try:
        location = _session_url(request, flow, state, ports, ports.sessions, config)
    except TryAgainError as error:
        return SessionUnavailable(error, flow.flow_id, cookie, max_age)
    return Redirect(location, flow.flow_id, cookie, max_age)


def authorize_url(request: LinkRequest, flow: Flow, state: Secret, config: Config) -> str:
    """Return Finch's static authorize URL: each parameter once, products separated by spaces (finch docs: redirect)."""
    parameters = {
        "client_id": config.finch_client_id,
        "redirect_uri": flow.redirect_uri,
        "products": " ".join(request.products),
        "category": request.category,
        "state": state.reveal(),
        "payroll_provider": request.payroll_provider,
        "sandbox": request.sandbox,
        "manual": None if request.manual is None else str(request.manual).lower(),
        "connection_id": request.connection_id,
    }
    present = {name: value for name, value in parameters.items() if value is not None}
    return f"{config.finch_connect_url}/authorize?{urlencode(present, quote_via=quote)}"


def _session_url(
    request: LinkRequest,
    flow: Flow,
    state: Secret,
    ports: ConnectPorts,
    sessions: FinchSessions,
    config: Config,
) -> str:
    """Open a Connect session, or a re-authentication when there is a connection already, and add the state."""
    minutes, deadline = max(1, (flow.deadline - flow.started_at) // 60_000), ports.deadline
    secret, uri = ports.client_secrets.read(), flow.redirect_uri
    opened: SessionOpened | AlreadyConnected
    if request.connection_id is not None:
        opened = AlreadyConnected(request.connection_id)
    else:
        opened = sessions.open(request, redirect_uri=uri, minutes=minutes, client_secret=secret, deadline=deadline)
    if isinstance(opened, AlreadyConnected):
        known = opened.connection_id
        opened = sessions.reauthenticate(
            request, known, redirect_uri=uri, minutes=minutes, client_secret=secret, deadline=deadline
        )
    url, ours = urlsplit(opened.connect_url), urlsplit(config.finch_connect_url)
    if (url.scheme, url.netloc) != (ours.scheme, ours.netloc) or url.fragment:
        raise TryAgainError("session_url_elsewhere")  # the browser goes to Finch and nowhere else
    return f"{opened.connect_url}{'&' if url.query else '?'}{urlencode({'state': state.reveal()})}"
