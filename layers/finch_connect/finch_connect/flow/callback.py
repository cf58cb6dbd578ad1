"""The callback: from what came to the redirect URI to an outcome. A reviewer can tick the steps of `callback` below.

Everything that can be refused is refused before the code is spent; nothing is exchanged before the state is consumed;
after bytes of the code were sent a claim is never taken back.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from finch_connect.config import Config
from finch_connect.domain.errors import CallbackRefusedError, ServiceUnavailableError, TryAgainError
from finch_connect.domain.flow import ConnectMode, Flow, NotWritten, Status, epoch_ms
from finch_connect.domain.grant import Declined, Exchange, Grant, NotSent, Unclear
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import base64url, digest, flow_id_in, state_of
from finch_connect.flow import token_storage
from finch_connect.flow.ports import CallbackPorts

# Finch documents that denials come back but not how: these are OAuth's and the plain words (RFC 6749 section 4.1.2.1).
_DENIALS = frozenset({"access_denied", "user_denied", "consent_denied", "denied", "cancelled", "canceled"})
_ERRORS = frozenset(
    {
        "invalid_request",
        "unauthorized_client",
        "unsupported_response_type",
        "invalid_scope",
        "server_error",
        "temporarily_unavailable",
    }
)

_CODE = re.compile(r"[!-~]{1,512}")

_NO_CUSTOMER = ""
"""Stands for an echo that had to be there and was not: no customer has this id (1 to 255 characters)."""

_MOST_COOKIES_WITHOUT_STATE = 8

CLAIM_ID_BYTES = 16

# What a step keeps of the request's time for those after it: so many AWS calls, each `call_timeout` long.
_AFTER_THE_CLAIM = 1  # taking the claim back
_AFTER_THE_EXCHANGE = 4  # lease, store or else the fallback, settle
_AFTER_THE_STORE = 2  # the fallback, settle
_AFTER_THE_FALLBACK = 1  # settle


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """What came to the redirect URI. `cookies` are this browser's flow cookies by flow id."""

    state: Secret | None
    code: Secret | None
    error: str | None
    cookies: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The flow has its outcome: answer with a receipt signed by `key`, and keep the browser's `cookie` briefly.

    `fresh`: this very request settled it; else it is told again.
    """

    flow: Flow
    key: LinkKey
    cookie: Secret
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class InProgress:
    """The same callback is being worked on: look again in two seconds."""

    flow: Flow


def callback(request: CallbackRequest, ports: CallbackPorts, config: Config) -> Outcome | InProgress:
    """Finish a flow, once. All calls share the request's one deadline; each step keeps time for those after it.

    Raises:
        CallbackRefusedError: not a flow of this browser; nothing was spent.
        TryAgainError: nothing was spent and the claim was taken back; the same address works again.
        ServiceUnavailableError: the table did not answer; what was written before is found by the sweeper.
    """
    # 1. Refuse what this browser did not start.
    bound = _bind(request, ports, config)

    # 2. Claim, once. The secrets are fetched beside it; one that is needed and cannot be had takes the claim back.
    client_secret, link_key = ports.submit(ports.client_secrets.read), ports.submit(ports.keys.current)
    code_hash = digest(request.code) if request.code else None
    claim_id, now = base64url(ports.random_bytes(CLAIM_ID_BYTES)), epoch_ms(ports.clock())
    with ports.deadline.reserving(_AFTER_THE_CLAIM * config.call_timeout):
        claim = ports.flows.claim(
            bound.flow_id, state_hash=bound.state_hash, claim_id=claim_id, code_hash=code_hash, now=now
        )
    if isinstance(claim, NotWritten):
        return _lost_claim(claim.flow, bound, link_key)
    flow = claim.flow
    key = _or_release(link_key, flow, ports, config)

    # 3. Finch says no, or brings nothing. An error wins over a code.
    if request.error is not None or request.code is None:
        settled, fresh = _settle(_ended(request.error, flow, ports), ports)
        return Outcome(settled, key, bound.cookie, fresh)

    # 4. Exchange the code. Only if nothing of it left may the claim be taken back.
    secret = _or_release(client_secret, flow, ports, config)
    with ports.deadline.reserving(_AFTER_THE_EXCHANGE * config.call_timeout):
        answer = _exchange(request.code, flow, secret, ports)
    if isinstance(answer, NotSent):
        ports.flows.release(flow)
        raise TryAgainError(answer.reason)

    # 5. Check the echo and the owner. 6. Store.
    outcome = _kept(answer, flow, bound, ports, config)

    # 7. Settle, answer.
    settled, fresh = _settle(outcome, ports)
    return Outcome(settled, key, bound.cookie, fresh)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A flow that this browser started: it holds the cookie from which the state was made."""

    flow_id: str
    cookie: Secret
    state_hash: str
    state_came: bool


def _bind(request: CallbackRequest, ports: CallbackPorts, config: Config) -> _Bound:
    if request.code is not None and not _CODE.fullmatch(request.code.reveal()):
        raise CallbackRefusedError("code_malformed")
    if request.state is None:
        if config.connect_mode is ConnectMode.SESSION:
            return _bind_without_state(request, ports)
        raise CallbackRefusedError("state_missing")
    flow_id = flow_id_in(request.state.reveal())
    if flow_id is None:
        raise CallbackRefusedError("state_malformed")
    cookie = request.cookies.get(flow_id)
    if cookie is None:
        raise CallbackRefusedError("cookie_missing", flow_id=flow_id)
    if state_of(cookie, flow_id) != request.state:
        raise CallbackRefusedError("cookie_wrong", flow_id=flow_id)
    return _Bound(flow_id, cookie, digest(request.state), state_came=True)


def _bind_without_state(request: CallbackRequest, ports: CallbackPorts) -> _Bound:
    """Take this browser's one live flow, if it is one: nobody has verified that Finch echoes a state in session mode.

    What is missing in proof is asked for later: the answer must then name this flow's customer.
    """
    if len(request.cookies) > _MOST_COOKIES_WITHOUT_STATE:
        raise CallbackRefusedError("state_missing")
    now = epoch_ms(ports.clock())
    live: list[_Bound] = []
    for flow_id, cookie in request.cookies.items():
        row, state_hash = ports.flows.get(flow_id), digest(state_of(cookie, flow_id))
        if row is not None and row.state_hash == state_hash and row.mode is ConnectMode.SESSION:
            repeated = request.code is not None and row.code_hash == digest(request.code)
            if repeated or (row.status is Status.STARTED and row.deadline > now):
                live.append(_Bound(flow_id, cookie, state_hash, state_came=False))
    if len(live) != 1:
        raise CallbackRefusedError("state_missing")
    return live[0]


def _lost_claim(standing: Flow | None, bound: _Bound, link_key: Future[LinkKey]) -> Outcome | InProgress:
    """Answer a callback whose claim did not hold: the same browser hears the same again, everyone else nothing."""
    if standing is None or standing.state_hash != bound.state_hash:
        raise CallbackRefusedError("state_unknown" if standing is None else "state_of_another_attempt")
    if standing.status in {Status.STARTED, Status.ABANDONED}:
        raise CallbackRefusedError("state_expired", flow_id=bound.flow_id)
    if standing.status is Status.CLAIMED:
        return InProgress(standing)
    return Outcome(standing, link_key.result(), bound.cookie, fresh=False)


def _or_release[T](needed: Future[T], flow: Flow, ports: CallbackPorts, config: Config) -> T:
    """Wait for what the flow cannot go on without; nothing was sent yet, so without it the claim is taken back."""
    try:
        with ports.deadline.reserving(_AFTER_THE_CLAIM * config.call_timeout):
            return needed.result()
    except ServiceUnavailableError:
        ports.flows.release(flow)
        raise


def _ended(error: str | None, flow: Flow, ports: CallbackPorts) -> Flow:
    """Return the flow as Finch's redirect ended it; the reason is ours, whatever the redirect said."""
    now = ports.clock()
    if error is None:
        return flow.settled(Status.FAILED, at=now, reason="code_missing")
    if error in _DENIALS:
        return flow.settled(Status.DENIED, at=now, reason="access_denied")
    return flow.settled(Status.FAILED, at=now, reason=error if error in _ERRORS else "unknown_error")


def _exchange(code: Secret, flow: Flow, secret: Secret, ports: CallbackPorts) -> Exchange:
    """Exchange; when the client credentials were rotated meanwhile, read them once more (the code was not used)."""
    deadline = ports.deadline
    answer = ports.finch.exchange(code=code, redirect_uri=flow.redirect_uri, client_secret=secret, deadline=deadline)
    if not isinstance(answer, Declined) or answer.reason != "invalid_client":
        return answer
    try:
        fresh = ports.client_secrets.read(fresh=True)
    except ServiceUnavailableError:
        return answer
    if fresh == secret:
        return answer
    again = ports.finch.exchange(code=code, redirect_uri=flow.redirect_uri, client_secret=fresh, deadline=deadline)
    # The code has been shown to Finch: whatever happens now, the claim stays.
    return Declined(again.reason, answer.request_id) if isinstance(again, NotSent) else again


def _kept(answer: Grant | Declined | Unclear, flow: Flow, bound: _Bound, ports: CallbackPorts, config: Config) -> Flow:
    """Return the flow with its outcome: a token is put where it belongs, or into the fallback, never dropped."""
    if isinstance(answer, Declined):
        return flow.settled(Status.FAILED, at=ports.clock(), reason=answer.reason, finch_request_id=answer.request_id)
    if isinstance(answer, Unclear):
        return flow.settled(Status.ORPHANED, at=ports.clock(), reason=answer.reason, finch_request_id=answer.request_id)
    with ports.deadline.reserving(_AFTER_THE_EXCHANGE * config.call_timeout):
        grant = answer if answer.connection_id else ports.finch.introspect(answer, deadline=ports.deadline)
    if not bound.state_came and grant.customer_id is None:
        grant = dataclasses.replace(grant, customer_id=_NO_CUSTOMER)
    try:
        with ports.deadline.reserving(_AFTER_THE_STORE * config.call_timeout):
            return token_storage.store_grant(flow, grant, ports, config, ports.clock())
    except ServiceUnavailableError:
        return _waiting(flow, grant, ports, config)
    except Exception:  # a mistake of ours: whatever it is, the token must not be lost with it
        with suppress(ServiceUnavailableError):
            _settle(_waiting(flow, grant, ports, config), ports)
        raise


def _waiting(flow: Flow, grant: Grant, ports: CallbackPorts, config: Config) -> Flow:
    """Keep the token in the fallback until the sweeper can place it. If that fails too, say that it is lost.

    Raises ServiceUnavailableError when it may be there all the same: the row stays claimed, and the sweeper looks.
    """
    try:
        with ports.deadline.reserving(_AFTER_THE_FALLBACK * config.call_timeout):
            ports.fallback.put(flow.attempt, token_storage.document(flow, grant))
    except ServiceUnavailableError as error:
        if error.may_have_happened:
            raise
        return flow.settled(Status.ORPHANED, at=ports.clock(), reason="token_lost", finch_request_id=grant.request_id)
    return flow.settled(
        Status.UNSTORED,
        at=ports.clock(),
        connection_id=grant.connection_id,
        provider_id=grant.provider_id,
        finch_request_id=grant.request_id,
    )


def _settle(outcome: Flow, ports: CallbackPorts) -> tuple[Flow, bool]:
    """Write the outcome and return it with True; if the sweeper was there first, what it wrote holds, with False."""
    settled = ports.flows.settle(outcome, was=Status.CLAIMED)
    if isinstance(settled, NotWritten) and settled.flow is not None:
        return settled.flow, settled.flow.event_id == outcome.event_id
    return outcome, True
