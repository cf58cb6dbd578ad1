"""The callback: from Finch's redirect to an outcome. A reviewer can tick the seven steps of `callback` below.

Everything that can be refused is refused before the code is spent. Nothing is exchanged before the state is consumed.
Once bytes of the code have been sent, the claim is never released.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from finch_connect.config import Config
from finch_connect.domain.errors import (
    CallbackRefusedError,
    CodeUnusedError,
    ServiceUnavailableError,
    TryAgainError,
    error_word,
)
from finch_connect.domain.flow import Flow, NotWritten, Status, epoch_ms
from finch_connect.domain.grant import Declined, Exchange, Grant, NotSent, Unclear
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import base64url, digest, flow_id_of
from finch_connect.flow import token_storage
from finch_connect.flow.binding import Attempt, CallbackRequest, bind
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

_NO_CUSTOMER = ""
"""No customer has this id, because ids have 1 to 255 characters."""

CLAIM_ID_BYTES = 16

_REPEATED_MS = 3_600_000
"""How long after a state's lifetime a browser may still repeat a callback."""

# What a step reserves of the request's time for the steps after it, in AWS calls of `call_timeout` seconds each.
_AFTER_THE_CLAIM = 1  # release the claim
_AFTER_THE_EXCHANGE = 4  # lease, store or else the fallback, settle
_AFTER_THE_STORE = 2  # the fallback, settle
_AFTER_THE_FALLBACK = 1  # settle


@dataclass(frozen=True, slots=True)
class Outcome:
    """The flow has its outcome. Answer with a receipt signed by `key`, and keep the browser's `cookie` briefly.

    `fresh` is True if this request settled the flow, and False if the answer is repeated. `unused_code` is True if the
    request brought a code that was not used, because the flow had already got its outcome without it.
    """

    flow: Flow
    key: LinkKey
    cookie: Secret
    fresh: bool = True
    unused_code: bool = False


@dataclass(frozen=True, slots=True)
class Unproven:
    """A callback without a state did not prove that it belongs to this flow. The flow stays as it was.

    Session mode only. `quarantine_id` names the token in quarantine that its code was exchanged for, if any. `code` is
    True if Finch may have a connection for it.
    """

    flow: Flow
    reason: str
    code: bool = False
    quarantine_id: str | None = None


@dataclass(frozen=True, slots=True)
class InProgress:
    """Another request is working on the same callback. Ask again in two seconds."""

    flow: Flow


type Answer = Outcome | Unproven | InProgress


def callback(request: CallbackRequest, ports: CallbackPorts, config: Config) -> Answer:
    """Finish a flow, once. All calls share the request's one deadline, and each step reserves time for the next ones.

    Raises:
        CallbackRefusedError: this browser did not start the flow. Nothing was spent.
        TryAgainError: nothing was spent and the claim was released. The same address works again.
        ServiceUnavailableError: the table did not answer. The sweeper finds what was written before.
    """
    # 1. Refuse what this browser did not start.
    attempt = bind(request, ports, config)

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
    if not isinstance(grant, Grant):
        return grant if isinstance(grant, Unproven) else _settle(grant, claim, ports)

    # 5. Check that the answer fits the request.
    checked = _check(request, grant, claim, ports, config)
    if isinstance(checked, Unproven):
        return checked

    # 6. Store the token: under its connection, in quarantine, or in the fallback. It is never dropped.
    outcome = _store(checked, claim, ports, config)

    # 7. Settle the flow, and answer.
    return _settle(outcome, claim, ports)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A flow that this request has claimed, and the secrets that it needs from here on."""

    flow: Flow
    attempt: Attempt
    key: LinkKey
    client_secret: Future[Secret]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A grant, and why it does not fit its request (None: it fits)."""

    grant: Grant
    misfit: str | None


def _claim(request: CallbackRequest, attempt: Attempt, ports: CallbackPorts, config: Config) -> _Claim | Answer:
    """Claim the flow while the client secret and the link key are read. Without the key, release the claim.

    Without a state, only a code can prove anything, so nothing is claimed for an error or for nothing.
    """
    if attempt.row is not None and (request.error is not None or request.code is None):
        return Unproven(attempt.row, "state_missing")
    client_secret = ports.submit(ports.client_secrets.read)
    link_key = ports.submit(_key_reader(attempt, ports))
    code_hash = digest(request.code) if request.code else None
    claim_id, now = base64url(ports.random_bytes(CLAIM_ID_BYTES)), epoch_ms(ports.clock())
    with ports.deadline.reserving(_AFTER_THE_CLAIM * config.call_timeout):
        written = ports.flows.claim(
            attempt.flow_id, state_hash=attempt.state_hash, claim_id=claim_id, code_hash=code_hash, now=now
        )
    if isinstance(written, NotWritten):
        if attempt.made_here is None:
            link_key.exception()  # wait, so that the next made-up cookie is refused without a call
        return _repeat(request, written.flow, attempt, link_key)
    key = _or_release(link_key, written.flow, ports, config)
    return _Claim(written.flow, attempt, key, client_secret)


def _key_reader(attempt: Attempt, ports: CallbackPorts) -> Callable[[], LinkKey]:
    """Return what reads the link key. If the cached keys do not fit the cookie, it reads the previous one as well."""
    return ports.keys.refresh if attempt.made_here is None and ports.keys.cached().keys else ports.keys.current


def _repeat(
    request: CallbackRequest, row: Flow | None, attempt: Attempt, link_key: Future[LinkKey]
) -> Outcome | InProgress:
    """Answer a callback whose claim failed: the same browser gets the same answer again, any other gets a refusal."""
    refusal = CallbackRefusedError if request.code is None else CodeUnusedError
    if row is None or row.state_hash != attempt.state_hash:
        reason = "state_unknown" if row is None else "state_of_another_attempt"
        raise refusal(reason, flow_id=attempt.flow_id)
    if row.status in {Status.STARTED, Status.ABANDONED}:
        raise refusal("state_expired", flow_id=attempt.flow_id)
    if row.status is Status.CLAIMED:
        return InProgress(row)
    unused_code = request.code is not None and row.code_hash != digest(request.code)
    return Outcome(row, link_key.result(), attempt.cookie, fresh=False, unused_code=unused_code)


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

    The reason is one of this source code's own, whatever text the redirect had. Finch's word is kept beside it.
    """
    if request.error is not None:
        word = error_word(request.error)
        if request.error in _DENIALS:
            return flow.settled(Status.DENIED, at=ports.clock(), reason="access_denied", finch_error=word)
        reason = request.error if request.error in _ERRORS else "unknown_error"
        return flow.settled(Status.FAILED, at=ports.clock(), reason=reason, finch_error=word)
    if request.code is None:
        return flow.settled(Status.FAILED, at=ports.clock(), reason="code_missing")
    return None


def _exchange(request: CallbackRequest, claim: _Claim, ports: CallbackPorts, config: Config) -> Grant | Flow | Unproven:
    """Return what Finch granted, or the flow's outcome if it granted nothing or its answer is unclear.

    Without a state the code may be anyone's, so a failure proves nothing about this flow, and the claim is released.
    Raises TryAgainError when no byte of the code was sent. The claim is then released as well.
    """
    flow, code = claim.flow, request.code or Secret("")
    client_secret = _or_release(claim.client_secret, flow, ports, config)
    with ports.deadline.reserving(_AFTER_THE_EXCHANGE * config.call_timeout):
        answer = _post_code(code, flow, client_secret, ports)
    if claim.attempt.row is not None and isinstance(answer, Declined | Unclear):
        ports.flows.release(flow)
        return Unproven(flow, answer.reason, code=isinstance(answer, Unclear))
    match answer:
        case NotSent(reason):
            ports.flows.release(flow)
            raise TryAgainError(reason)
        case Declined():
            return flow.settled(Status.FAILED, at=ports.clock(), **dataclasses.asdict(answer))
        case Unclear():
            return flow.settled(Status.ORPHANED, at=ports.clock(), **dataclasses.asdict(answer))
        case Grant():
            return dataclasses.replace(answer, granted_at=epoch_ms(ports.clock()))


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
    return dataclasses.replace(answer, reason=again.reason) if isinstance(again, NotSent) else again


def _check(
    request: CallbackRequest, grant: Grant, claim: _Claim, ports: CallbackPorts, config: Config
) -> _Checked | Unproven:
    """Return the grant, completed by introspection if it names no connection, and what does not fit.

    Without a state, the grant must name this flow's customer.
    """
    try:
        with ports.deadline.reserving(_AFTER_THE_EXCHANGE * config.call_timeout):
            complete = grant if grant.connection_id else ports.finch.introspect(grant, deadline=ports.deadline)
    except Exception:
        _rescue(grant, claim, ports, config)
        raise
    if claim.attempt.row is not None and complete.customer_id != claim.flow.customer_id:
        return _quarantine_unproven(request, complete, claim, ports, config)
    return _Checked(complete, token_storage.find_misfit(claim.flow, complete, config))


def _quarantine_unproven(
    request: CallbackRequest, grant: Grant, claim: _Claim, ports: CallbackPorts, config: Config
) -> Unproven:
    """Quarantine a token that is not proved to be this flow's, under an id of its own, and release the claim.

    The flow can still finish, because the code was not its own. If the vault is away, the token waits in the fallback.
    """
    flow = claim.flow
    stray = dataclasses.replace(
        flow,
        flow_id=flow_id_of(_NO_CUSTOMER, digest(request.code or Secret(""))),
        customer_id=grant.customer_id or flow.customer_id,
    )
    reason = "customer_unknown" if grant.customer_id is None else "customer_mismatch"
    try:
        with ports.deadline.reserving(_AFTER_THE_STORE * config.call_timeout):
            token_storage.quarantine(stray, grant, reason, ports, config, ports.clock())
    except ServiceUnavailableError:
        ports.fallback.put(stray.attempt, token_storage.document(stray, grant))
    ports.flows.release(flow)
    return Unproven(flow, reason, code=True, quarantine_id=stray.flow_id)


def _store(checked: _Checked, claim: _Claim, ports: CallbackPorts, config: Config) -> Flow:
    """Return the flow with its token in the vault, or in the fallback if the vault cannot take it now."""
    flow, grant = claim.flow, checked.grant
    try:
        with ports.deadline.reserving(_AFTER_THE_STORE * config.call_timeout):
            return token_storage.store_grant(flow, grant, checked.misfit, ports, config, ports.clock())
    except ServiceUnavailableError:
        return _put_into_fallback(flow, grant, ports, config)
    except Exception:
        _rescue(grant, claim, ports, config)
        raise


def _rescue(grant: Grant, claim: _Claim, ports: CallbackPorts, config: Config) -> None:
    """Put the token into the fallback after a mistake in this code, which must not lose it."""
    with suppress(ServiceUnavailableError):
        _settle(_put_into_fallback(claim.flow, grant, ports, config), claim, ports)


def _put_into_fallback(flow: Flow, grant: Grant, ports: CallbackPorts, config: Config) -> Flow:
    """Keep the token in the fallback until the sweeper can store it. If that fails as well, the token is lost.

    Raises ServiceUnavailableError when the fallback may hold it although it did not answer. The row then stays
    claimed, and the sweeper looks for the token.
    """
    try:
        with ports.deadline.reserving(_AFTER_THE_FALLBACK * config.call_timeout):
            text = token_storage.document(flow, grant, limit=token_storage.FALLBACK_BYTES)
            ports.fallback.put(flow.attempt, text)
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
