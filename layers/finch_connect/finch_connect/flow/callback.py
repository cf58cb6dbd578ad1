"""The callback: from Finch's redirect to an outcome. A reviewer can tick the seven steps of `callback` below.

Everything that can be refused is refused before the code is spent. Nothing is exchanged before the state is consumed.
Once bytes of the code have been sent, the claim is never released.
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

# Finch documents that denials come back on the redirect, but not how. These are OAuth's error (RFC 6749 section
# 4.1.2.1) and the plain words for it.
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
"""Stands for an echo that is required and missing. No customer has this id, because ids have 1 to 255 characters."""

_MOST_COOKIES_WITHOUT_STATE = 8

CLAIM_ID_BYTES = 16

# What a step reserves of the request's time for the steps after it, in AWS calls of `call_timeout` seconds each.
_AFTER_THE_CLAIM = 1  # release the claim
_AFTER_THE_EXCHANGE = 4  # lease, store or else the fallback, settle
_AFTER_THE_STORE = 2  # the fallback, settle
_AFTER_THE_FALLBACK = 1  # settle


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """What arrived at the redirect URI. `cookies` are this browser's flow cookies by flow id."""

    state: Secret | None
    code: Secret | None
    error: str | None
    cookies: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The flow has its outcome. Answer with a receipt signed by `key`, and keep the browser's `cookie` briefly.

    `fresh` is True if this request settled the flow, and False if the answer is repeated.
    """

    flow: Flow
    key: LinkKey
    cookie: Secret
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class InProgress:
    """Another request is working on the same callback. Ask again in two seconds."""

    flow: Flow


def callback(request: CallbackRequest, ports: CallbackPorts, config: Config) -> Outcome | InProgress:
    """Finish a flow, once. All calls share the request's one deadline, and each step reserves time for the next ones.

    Raises:
        CallbackRefusedError: this browser did not start the flow. Nothing was spent.
        TryAgainError: nothing was spent and the claim was released. The same address works again.
        ServiceUnavailableError: the table did not answer. The sweeper finds what was written before.
    """
    # 1. Refuse what this browser did not start.
    attempt = _bind(request, ports, config)

    # 2. Claim the flow, once.
    claim = _claim(request, attempt, ports, config)
    if not isinstance(claim, _Claim):
        return claim

    # 3. End the flow if Finch redirected with an error, or without a code.
    ended = _end_without_code(request, claim.flow, ports)
    if ended is not None:
        return _settle(ended, claim, ports)

    # 4. Exchange the code. Only while no byte of it was sent may the claim be released.
    grant = _exchange(request, claim, ports, config)
    if isinstance(grant, Flow):
        return _settle(grant, claim, ports)

    # 5. Check that the answer fits the request.
    checked = _check(grant, claim, ports, config)

    # 6. Store the token: under its connection, in quarantine, or in the fallback. It is never dropped.
    outcome = _store(checked, claim, ports, config)

    # 7. Settle the flow, and answer.
    return _settle(outcome, claim, ports)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt that this browser started: it holds the cookie from which the state was made."""

    flow_id: str
    cookie: Secret
    state_hash: str
    has_state: bool


@dataclass(frozen=True, slots=True)
class _Claim:
    """A flow that this request has claimed, and the secrets that it needs from here on."""

    flow: Flow
    attempt: _Attempt
    key: LinkKey
    client_secret: Future[Secret]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A grant, and why it does not fit its request (None: it fits)."""

    grant: Grant
    misfit: str | None


def _bind(request: CallbackRequest, ports: CallbackPorts, config: Config) -> _Attempt:
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
    return _Attempt(flow_id, cookie, digest(request.state), has_state=True)


def _bind_without_state(request: CallbackRequest, ports: CallbackPorts) -> _Attempt:
    """Return this browser's one live attempt. Nobody has verified that Finch echoes a state in session mode.

    The missing proof is required later: Finch's answer must then name this flow's customer.
    """
    if len(request.cookies) > _MOST_COOKIES_WITHOUT_STATE:
        raise CallbackRefusedError("state_missing")
    now = epoch_ms(ports.clock())
    live: list[_Attempt] = []
    for flow_id, cookie in request.cookies.items():
        row, state_hash = ports.flows.get(flow_id), digest(state_of(cookie, flow_id))
        if row is not None and row.state_hash == state_hash and row.mode is ConnectMode.SESSION:
            repeated = request.code is not None and row.code_hash == digest(request.code)
            if repeated or (row.status is Status.STARTED and row.deadline > now):
                live.append(_Attempt(flow_id, cookie, state_hash, has_state=False))
    if len(live) != 1:
        raise CallbackRefusedError("state_missing")
    return live[0]


def _claim(
    request: CallbackRequest, attempt: _Attempt, ports: CallbackPorts, config: Config
) -> _Claim | Outcome | InProgress:
    """Claim the flow while the client secret and the link key are read. Without the key, release the claim."""
    client_secret, link_key = ports.submit(ports.client_secrets.read), ports.submit(ports.keys.current)
    code_hash = digest(request.code) if request.code else None
    claim_id, now = base64url(ports.random_bytes(CLAIM_ID_BYTES)), epoch_ms(ports.clock())
    with ports.deadline.reserving(_AFTER_THE_CLAIM * config.call_timeout):
        written = ports.flows.claim(
            attempt.flow_id, state_hash=attempt.state_hash, claim_id=claim_id, code_hash=code_hash, now=now
        )
    if isinstance(written, NotWritten):
        return _repeat(written.flow, attempt, link_key)
    key = _or_release(link_key, written.flow, ports, config)
    return _Claim(written.flow, attempt, key, client_secret)


def _repeat(row: Flow | None, attempt: _Attempt, link_key: Future[LinkKey]) -> Outcome | InProgress:
    """Answer a callback whose claim failed: the same browser gets the same answer again, any other gets a refusal."""
    if row is None or row.state_hash != attempt.state_hash:
        raise CallbackRefusedError("state_unknown" if row is None else "state_of_another_attempt")
    if row.status in {Status.STARTED, Status.ABANDONED}:
        raise CallbackRefusedError("state_expired", flow_id=attempt.flow_id)
    if row.status is Status.CLAIMED:
        return InProgress(row)
    return Outcome(row, link_key.result(), attempt.cookie, fresh=False)


def _or_release[T](needed: Future[T], flow: Flow, ports: CallbackPorts, config: Config) -> T:
    """Wait for a secret that the flow needs. If it cannot be read, release the claim: no byte of the code was sent."""
    try:
        with ports.deadline.reserving(_AFTER_THE_CLAIM * config.call_timeout):
            return needed.result()
    except ServiceUnavailableError:
        ports.flows.release(flow)
        raise


def _end_without_code(request: CallbackRequest, flow: Flow, ports: CallbackPorts) -> Flow | None:
    """Return the flow as Finch's redirect ended it, or None if it brought a code. An error overrides a code.

    The reason is one of this source code's own, whatever text the redirect had.
    """
    if request.error is not None:
        if request.error in _DENIALS:
            return flow.settled(Status.DENIED, at=ports.clock(), reason="access_denied")
        reason = request.error if request.error in _ERRORS else "unknown_error"
        return flow.settled(Status.FAILED, at=ports.clock(), reason=reason)
    if request.code is None:
        return flow.settled(Status.FAILED, at=ports.clock(), reason="code_missing")
    return None


def _exchange(request: CallbackRequest, claim: _Claim, ports: CallbackPorts, config: Config) -> Grant | Flow:
    """Return what Finch granted, or the flow's outcome if it granted nothing or its answer is unclear.

    Raises TryAgainError when no byte of the code was sent: the claim is released.
    """
    flow, code = claim.flow, request.code or Secret("")
    client_secret = _or_release(claim.client_secret, flow, ports, config)
    with ports.deadline.reserving(_AFTER_THE_EXCHANGE * config.call_timeout):
        answer = _post_code(code, flow, client_secret, ports)
    match answer:
        case NotSent(reason):
            ports.flows.release(flow)
            raise TryAgainError(reason)
        case Declined(reason, finch_request_id):
            return flow.settled(Status.FAILED, at=ports.clock(), reason=reason, finch_request_id=finch_request_id)
        case Unclear(reason, finch_request_id):
            return flow.settled(Status.ORPHANED, at=ports.clock(), reason=reason, finch_request_id=finch_request_id)
        case Grant():
            return answer


def _post_code(code: Secret, flow: Flow, client_secret: Secret, ports: CallbackPorts) -> Exchange:
    """Exchange the code. If the client secret was rotated, read it and try once more: the code was not used."""
    finch, deadline = ports.finch, ports.deadline
    answer = finch.exchange(code=code, redirect_uri=flow.redirect_uri, client_secret=client_secret, deadline=deadline)
    if not isinstance(answer, Declined) or answer.reason != "invalid_client":
        return answer
    try:
        fresh = ports.client_secrets.read(fresh=True)
    except ServiceUnavailableError:
        return answer
    if fresh == client_secret:
        return answer
    again = finch.exchange(code=code, redirect_uri=flow.redirect_uri, client_secret=fresh, deadline=deadline)
    # Finch has seen the code, so the claim stays, even if the second request was not sent.
    return Declined(again.reason, answer.finch_request_id) if isinstance(again, NotSent) else again


def _check(grant: Grant, claim: _Claim, ports: CallbackPorts, config: Config) -> _Checked:
    """Return the grant, completed by introspection if it names no connection, and what does not fit."""
    with ports.deadline.reserving(_AFTER_THE_EXCHANGE * config.call_timeout):
        complete = grant if grant.connection_id else ports.finch.introspect(grant, deadline=ports.deadline)
    if not claim.attempt.has_state and complete.customer_id is None:
        complete = dataclasses.replace(complete, customer_id=_NO_CUSTOMER)
    return _Checked(complete, token_storage.find_misfit(claim.flow, complete, config))


def _store(checked: _Checked, claim: _Claim, ports: CallbackPorts, config: Config) -> Flow:
    """Return the flow with its token in the vault, or in the fallback if the vault cannot take it now."""
    flow, grant = claim.flow, checked.grant
    try:
        with ports.deadline.reserving(_AFTER_THE_STORE * config.call_timeout):
            return token_storage.store_grant(flow, grant, checked.misfit, ports, config, ports.clock())
    except ServiceUnavailableError:
        return _put_into_fallback(flow, grant, ports, config)
    except Exception:  # a mistake in this code must not lose the token
        with suppress(ServiceUnavailableError):
            _settle(_put_into_fallback(flow, grant, ports, config), claim, ports)
        raise


def _put_into_fallback(flow: Flow, grant: Grant, ports: CallbackPorts, config: Config) -> Flow:
    """Keep the token in the fallback until the sweeper can store it. If that fails as well, the token is lost.

    Raises ServiceUnavailableError when the fallback may hold it although it did not answer. The row then stays
    claimed, and the sweeper looks for the token.
    """
    try:
        with ports.deadline.reserving(_AFTER_THE_FALLBACK * config.call_timeout):
            ports.fallback.put(flow.attempt, token_storage.document(flow, grant, limit=token_storage.FALLBACK_BYTES))
    except ServiceUnavailableError as error:
        if error.may_have_happened:
            raise
        lost = {"reason": "token_lost", "finch_request_id": grant.finch_request_id}
        return flow.settled(Status.ORPHANED, at=ports.clock(), **lost)
    return token_storage.unstored(flow, grant, ports.clock())


def _settle(outcome: Flow, claim: _Claim, ports: CallbackPorts) -> Outcome:
    """Write the outcome and return it. If the sweeper settled the flow first, its outcome holds."""
    written = ports.flows.settle(outcome, was=Status.CLAIMED)
    if isinstance(written, NotWritten) and written.flow is not None:
        fresh = written.flow.event_id == outcome.event_id
        return Outcome(written.flow, claim.key, claim.attempt.cookie, fresh)
    return Outcome(outcome, claim.key, claim.attempt.cookie)
