"""The start of a flow: from a link to the browser's redirect to Finch.

One link is one flow. The link works until the flow is connected. In the same browser it resumes the flow, in another
browser it asks for confirmation first, and after an end without a connection it starts the flow again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlencode, urlsplit

from finch_connect.config import Config
from finch_connect.domain.errors import FinchConnectError, LinkRefusedError, OperatorNeededError, TryAgainError
from finch_connect.domain.flow import RESTARTABLE, ConnectMode, Flow, StartRule, Status, Written, epoch_ms
from finch_connect.domain.grant import AlreadyConnected, SessionOpened
from finch_connect.domain.link_claims import CLOCK_SKEW_SECONDS, LinkRequest
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import (
    COOKIE_BYTES,
    asked_at_in,
    cookie_of_page,
    digest,
    form_nonce_of,
    is_cookie,
    is_form_cookie,
    new_cookie,
    new_form_cookie,
    state_of,
    tagged_again,
)
from finch_connect.flow.ports import ConnectPorts, FinchSessions

DEADLINE_PAST_LINK_SECONDS = 3600
ROW_KEPT_SECONDS = 30 * 24 * 3600
"""How long a row outlives its link, so that the link stays used up."""
FORM_COOKIE_SECONDS = 3600
"""How long a browser keeps the confirm form's cookie after it last saw the page."""


@dataclass(frozen=True, slots=True)
class Browser:
    """What the browser sent: its cookies of this flow, and the confirm form's nonce if the person confirmed."""

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
    """The flow has started and the browser keeps its cookie, but Finch opened no session. The same link works again.

    `error` is a TryAgainError, or an OperatorNeededError if the link works only after an operator has fixed the cause.
    """

    error: FinchConnectError
    flow_id: str
    cookie: Secret
    max_age: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Ask for confirmation first. Nothing was written."""

    request: LinkRequest
    flow_id: str
    form_cookie: Secret
    form_nonce: Secret


@dataclass(frozen=True, slots=True)
class NotStartable:
    """Another request is finishing the flow, or it ended in a way from which a link does not start it again."""

    status: Status


StartAnswer = Redirect | SessionUnavailable | Confirm | NotStartable


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at a flow: the browser's cookie, and the state that is made from it."""

    cookie: Secret
    state: Secret


@dataclass(frozen=True, slots=True)
class _Page:
    """A confirm page that this browser got, made at `asked_at` (epoch ms)."""

    form_cookie: Secret
    asked_at: int


def start(
    request: LinkRequest, browser: Browser, redirect_uri: str, ports: ConnectPorts, config: Config
) -> StartAnswer:
    """Start, resume or take over the link's flow, or return why not.

    Raises:
        LinkRefusedError: the confirm form was not sent from a page that this browser got from this stack.
        ServiceUnavailableError: the table cannot be reached. Nothing was written.
    """
    now, flow_id = ports.clock(), request.flow_id
    page = _checked_page(browser, flow_id, now) if browser.confirmed else None
    if page is None and (browser.confirmed or request.confirm):  # not asked yet, or the page outlived its cookie
        return _confirm(request, browser, ports)

    key = ports.keys.current().key  # cached, because the link was verified with it
    if browser.cookie is not None:  # the same browser again: the same cookie, so the same state
        attempt = _attempt(tagged_again(browser.cookie, flow_id, key), flow_id)
        resumed = ports.flows.start(_row(request, attempt, redirect_uri, now, page, config), StartRule.RESUME)
        if isinstance(resumed, Written):
            return _redirect(request, resumed.flow, attempt, ports, config)

    # A new attempt never uses an earlier attempt's cookie. Each press of one page's button is the same attempt.
    if page is None:
        attempt = _attempt(new_cookie(ports.random_bytes(COOKIE_BYTES), flow_id, key), flow_id)
        row = _row(request, attempt, redirect_uri, now, page, config)
        written = ports.flows.start(row, StartRule.NEW_ATTEMPT)
    else:
        attempt = _attempt(cookie_of_page(page.form_cookie, flow_id, page.asked_at, key), flow_id)
        row = _row(request, attempt, redirect_uri, now, page, config)
        written = ports.flows.start(row, StartRule.TAKE_OVER, asked_at=page.asked_at)
    if isinstance(written, Written):
        return _redirect(request, written.flow, attempt, ports, config)
    present = written.flow
    if present is None or present.status is Status.STARTED:  # open in another browser, or newer than the page
        return _confirm(request, browser, ports)
    if page is not None and present.status in RESTARTABLE and present.started_at > page.asked_at:
        return _confirm(request, browser, ports)  # a page from before the attempt that ended: its cookie is used up
    return NotStartable(present.status)


def readable_cookie(text: str | None) -> Secret | None:
    """Return the value of a flow's cookie, or None if it does not have the form of one of this stack's cookies."""
    return Secret(text) if text is not None and is_cookie(text) else None


def readable_form_cookie(text: str | None) -> Secret | None:
    """Return the value of a confirm form's cookie, or None if it does not have the form of one."""
    return Secret(text) if text is not None and is_form_cookie(text) else None


def readable_form_nonce(text: str | None) -> Secret | None:
    """Return a confirm form's nonce, or None if it does not have the form of one."""
    return Secret(text) if text is not None and asked_at_in(text) is not None else None


def _attempt(cookie: Secret, flow_id: str) -> _Attempt:
    return _Attempt(cookie, state_of(cookie, flow_id))


def _checked_page(browser: Browser, flow_id: str, now: datetime) -> _Page | None:
    """Return the page whose button was pressed, or None if it outlived its cookie and has to be shown again.

    Raises LinkRefusedError for a nonce that this browser's cookie did not make.
    """
    asked_at = None if browser.form_nonce is None else asked_at_in(browser.form_nonce.reveal())
    if browser.form_nonce is None or asked_at is None:
        raise LinkRefusedError("form_nonce_missing")
    if browser.form_cookie is None:
        return None
    moment = epoch_ms(now)
    if browser.form_nonce != form_nonce_of(browser.form_cookie, flow_id, asked_at):
        if asked_at < moment - FORM_COOKIE_SECONDS * 1000:  # its cookie has ended, and a later page set this one
            return None
        raise LinkRefusedError("form_nonce_wrong")
    if asked_at > moment + CLOCK_SKEW_SECONDS * 1000:
        raise LinkRefusedError("form_nonce_wrong")
    return _Page(browser.form_cookie, asked_at)


def _confirm(request: LinkRequest, browser: Browser, ports: ConnectPorts) -> Confirm:
    cookie = browser.form_cookie or new_form_cookie(ports.random_bytes(COOKIE_BYTES))
    nonce = form_nonce_of(cookie, request.flow_id, epoch_ms(ports.clock()))
    return Confirm(request, request.flow_id, form_cookie=cookie, form_nonce=nonce)


def _row(
    request: LinkRequest, attempt: _Attempt, redirect_uri: str, now: datetime, page: _Page | None, config: Config
) -> Flow:
    """Return the row that this attempt writes. It is always later than the page that started it."""
    moment = epoch_ms(now)
    link_end = request.expires_at + DEADLINE_PAST_LINK_SECONDS
    deadline = min(moment + config.state_lifetime * 1000, link_end * 1000)
    return Flow(
        flow_id=request.flow_id,
        status=Status.STARTED,
        state_hash=digest(attempt.state),
        mode=config.connect_mode,
        customer_id=request.customer_id,
        redirect_uri=redirect_uri,
        started_at=moment if page is None else max(moment, page.asked_at + 1),
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


def _redirect(
    request: LinkRequest, flow: Flow, attempt: _Attempt, ports: ConnectPorts, config: Config
) -> Redirect | SessionUnavailable:
    max_age = max(1, (flow.deadline - flow.started_at) // 1000)
    if flow.mode is ConnectMode.STATIC or ports.sessions is None:
        location = authorize_url(request, flow, attempt.state, config)
    else:
        try:
            location = _session_url(request, flow, attempt.state, ports, ports.sessions, config)
        except (TryAgainError, OperatorNeededError) as error:
            return SessionUnavailable(error, flow.flow_id, attempt.cookie, max_age)
    return Redirect(location, flow.flow_id, attempt.cookie, max_age)


def authorize_url(request: LinkRequest, flow: Flow, state: Secret, config: Config) -> str:
    """Return Finch's static authorize URL: each parameter once, products separated by spaces (Finch docs: redirect)."""
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
    """Open a Connect session and return its URL with the state. If the client secret was rotated, try once more."""
    secret = ports.client_secrets.read()
    try:
        opened = _open_session(request, flow, ports, sessions, secret)
    except OperatorNeededError as error:
        fresh = ports.client_secrets.read(fresh=True) if error.reason == "invalid_client" else secret
        if fresh == secret:
            raise
        opened = _open_session(request, flow, ports, sessions, fresh)
    url, ours = urlsplit(opened.connect_url), urlsplit(config.finch_connect_url)
    if (url.scheme, url.netloc) != (ours.scheme, ours.netloc) or url.fragment:
        raise OperatorNeededError("session_url_elsewhere")  # the browser may be sent to Finch only
    return f"{opened.connect_url}{'&' if url.query else '?'}{urlencode({'state': state.reveal()})}"


def _open_session(
    request: LinkRequest, flow: Flow, ports: ConnectPorts, sessions: FinchSessions, secret: Secret
) -> SessionOpened:
    """Open a Connect session, or a re-authentication if the connection exists."""
    minutes, deadline, uri = max(1, (flow.deadline - flow.started_at) // 60_000), ports.deadline, flow.redirect_uri
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
    return opened
