"""Finch's API over HTTP: the exchange, introspection, and Connect sessions.

The authorization code is single-use, so it is posted again only after an answer which says that it was not processed
(429, 503). Answers are classified by HTTP status and error `name`, never by their message (Finch docs: errors).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from finch_connect.adapters.transport import Answer, NoAnswerError, NotSentError, Transport
from finch_connect.domain.errors import OPERATOR_REASONS, OperatorNeededError, TryAgainError, error_word
from finch_connect.domain.grant import (
    GRANT_TEXTS,
    AlreadyConnected,
    Declined,
    Exchange,
    Grant,
    NotSent,
    SessionOpened,
    Unclear,
)
from finch_connect.domain.link_claims import LinkRequest, session_sandbox
from finch_connect.domain.secret import Secret
from finch_connect.domain.text import is_blank, is_fit
from finch_connect.flow.ports import Deadline

LONGEST_WAIT_SECONDS = 5.0
_FIRST_WAIT_SECONDS = 0.5
_MOST_POSTS = 4
_NOT_PROCESSED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_MAY_SUCCEED_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""The only 4xx after which the same request for a Connect session may succeed (RFC 9110, RFC 8470, RFC 6585)."""

_ALREADY_EXISTS = "connection_already_exists"

_REASONS = {
    "invalid_grant": "invalid_grant",
    "invalid_client": "invalid_client",
    "unauthorized_client": "unauthorized_client",
    "invalid_request": "invalid_request",
    "bad_request": "bad_request",
    "payment_required": "payment_required",
    "client_connection_closed": "client_connection_closed",
    "rate_limit_exceeded": "rate_limited",
}
"""Our reason for each prefix of Finch's error `name`."""


class FinchApi:
    """Implements `ports.Finch` and `ports.FinchSessions`."""

    def __init__(
        self,
        base_url: str,
        client_id: str,
        api_version: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client_id = client_id
        self._transport = Transport(base_url, {"Finch-API-Version": api_version}, sleep, monotonic)
        self._sleep = sleep

    def exchange(self, *, code: Secret, redirect_uri: str, client_secret: Secret, deadline: Deadline) -> Exchange:
        """See `ports.Finch.exchange`; `POST /auth/token` (Finch docs: redirect, exchange the code)."""
        body = {
            "client_id": self._client_id,
            "client_secret": client_secret.reveal(),
            "code": code.reveal(),
            "redirect_uri": redirect_uri,
        }
        refused: Answer | None = None  # the last answer which said that it was not processed
        for post in range(_MOST_POSTS):
            if deadline.remaining() <= 0:
                break
            try:
                answer = self._transport.send("POST", "/auth/token", body=body, budget=deadline.remaining())
            except NotSentError:
                # Finch refused an earlier post, and that stays true if a later one cannot be sent.
                return NotSent("finch_unreachable") if refused is None else _declined(refused)
            except NoAnswerError as error:
                return Unclear(str(error), None)
            if answer.status not in _NOT_PROCESSED:
                return _exchanged(answer)
            refused = answer
            wait = _wait(answer.retry_after, post)
            if wait > deadline.remaining() or post == _MOST_POSTS - 1:
                break
            self._sleep(wait)
        return NotSent("no_time_left") if refused is None else _declined(refused)

    def introspect(self, grant: Grant, *, deadline: Deadline) -> Grant:
        """See `ports.Finch.introspect`; `GET /introspect`. Only ids are read: `username` is personal data."""
        budget = deadline.remaining()
        if budget <= 0:
            return grant
        bearer = {"Authorization": f"Bearer {grant.access_token.reveal()}"}
        try:
            answer = self._transport.send("GET", "/introspect", headers=bearer, budget=budget)
        except (NotSentError, NoAnswerError):
            return grant
        if not answer.succeeded or answer.content is None:
            return grant
        # What the exchange said holds; introspection only adds to it.
        complete = _grant(grant.access_token, {**answer.content, **grant.facts}, grant.finch_request_id)
        count = grant.entity_count if grant.entity_ids else complete.entity_count
        return dataclasses.replace(complete, granted_at=grant.granted_at, entity_count=count)

    def open(
        self, request: LinkRequest, *, redirect_uri: str, minutes: int, client_secret: Secret, deadline: Deadline
    ) -> SessionOpened | AlreadyConnected:
        """See `ports.FinchSessions.open`; `POST /connect/sessions`."""
        integration = {"provider": request.payroll_provider} if request.payroll_provider else None
        body = {
            "customer_id": request.customer_id,
            "customer_name": request.customer_name,
            "customer_email": request.customer_email,
            "products": list(request.products),
            "integration": integration,
            "manual": request.manual,
            "sandbox": session_sandbox(request.sandbox),
            "redirect_uri": redirect_uri,
            "minutes_to_expire": minutes,
        }
        answer = self._post_session("/connect/sessions", body, client_secret, deadline)
        if _is_refusal(answer):
            context = (answer.content or {}).get("context")
            known = context.get("connection_id") if isinstance(context, Mapping) else None
            named = _ALREADY_EXISTS in {answer.finch_code, answer.error_name.removesuffix("_error")}
            if isinstance(known, str) and named:
                return AlreadyConnected(known)
        return _session(answer)

    def reauthenticate(
        self,
        request: LinkRequest,
        connection_id: str,
        *,
        redirect_uri: str,
        minutes: int,
        client_secret: Secret,
        deadline: Deadline,
    ) -> SessionOpened:
        """See `ports.FinchSessions.reauthenticate`; `POST /connect/sessions/reauthenticate`."""
        body = {
            "connection_id": connection_id,
            "products": list(request.products),
            "redirect_uri": redirect_uri,
            "minutes_to_expire": minutes,
        }
        return _session(self._post_session("/connect/sessions/reauthenticate", body, client_secret, deadline))

    def _post_session(self, path: str, body: Mapping[str, Any], client_secret: Secret, deadline: Deadline) -> Answer:
        budget = deadline.remaining()
        if budget <= 0:
            raise TryAgainError("no_time_left")
        present = {name: content for name, content in body.items() if content is not None}
        login = (self._client_id, client_secret.reveal())
        try:
            return self._transport.send("POST", path, body=present, login=login, budget=budget)
        except (NotSentError, NoAnswerError):
            raise TryAgainError("finch_unreachable") from None


def _exchanged(answer: Answer) -> Exchange:
    if answer.succeeded:
        token = (answer.content or {}).get("access_token")
        if isinstance(token, str) and token:
            return _grant(Secret(token), answer.content or {}, answer.request_id)
        return Unclear("answer_without_token", answer.request_id, _error_word(answer))
    if _is_refusal(answer):
        return _declined(answer)
    reason = "server_error" if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "unexpected_status"
    return Unclear(reason, answer.request_id, _error_word(answer))


def _is_refusal(answer: Answer) -> bool:
    return HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR


def _declined(answer: Answer) -> Declined:
    return Declined(_reason(answer, "exchange_refused"), answer.request_id, _error_word(answer))


def _reason(answer: Answer, otherwise: str) -> str:
    """Return this source code's word for a refusal, `otherwise` for one that Finch's documentation does not have."""
    for prefix, reason in _REASONS.items():
        if answer.error_name.startswith(prefix):
            return reason
    if answer.status in _NOT_PROCESSED:
        return "finch_unavailable" if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else "rate_limited"
    return otherwise


def _error_word(answer: Answer) -> str | None:
    """Return Finch's name of the error and its code, if there are any: `rate_limit_exceeded_error.finch_api_ip_rl`."""
    return error_word(".".join(filter(None, (answer.error_name, answer.finch_code))))


def _grant(token: Secret, content: Mapping[str, Any], finch_request_id: str | None) -> Grant:
    """Read an answer leniently: a field of another type than documented counts as absent."""
    texts = {name: _text(content.get(name)) for name in GRANT_TEXTS}
    lists = {"products": _products(content.get("products")), **_entities(content.get("entity_ids"))}
    return Grant.from_facts(token, finch_request_id, {**texts, **lists})


def _session(answer: Answer) -> SessionOpened:
    url = (answer.content or {}).get("connect_url")
    if answer.succeeded and isinstance(url, str):
        return SessionOpened(url)
    facts = {
        "status": answer.status,
        "finch_request_id": answer.request_id,
        "finch_error": _error_word(answer),
    }
    # A 401 by a name that Finch's documentation does not have can only be about the credentials.
    reason = _reason(answer, "invalid_client" if answer.status == HTTPStatus.UNAUTHORIZED else "session_declined")
    if _is_refusal(answer) and answer.status not in _MAY_SUCCEED_LATER and reason in OPERATOR_REASONS:
        raise OperatorNeededError(reason, **facts)
    raise TryAgainError("session_refused", **facts)


def _text(content: object) -> str | None:
    if not isinstance(content, str) or len(content) > _LONGEST_TEXT or is_blank(content) or not is_fit(content):
        return None
    return content


def _products(content: object) -> tuple[str, ...] | None:
    """Return the products, each once. One that cannot be read keeps its place, so that it is not taken as allowed.

    More than a stack's list can have are left out, because the row and the event hold them.
    """
    if not isinstance(content, list):
        return None
    return tuple(dict.fromkeys(_text(product) or "unreadable" for product in content))[:_MOST_PRODUCTS]


def _entities(content: object) -> dict[str, object]:
    """Return the entity ids that can be read, and how many there are if some cannot. The vault bounds their number."""
    if not isinstance(content, list):
        return {}
    readable = [text for text in map(_text, content) if text is not None]
    return {"entity_ids": readable, "entity_count": None if len(readable) == len(content) else len(content)}


_LONGEST_TEXT = 255
_MOST_PRODUCTS = 100


def _wait(retry_after: str | None, post: int) -> float:
    """Return how many seconds to wait before the code may be posted again."""
    if retry_after and retry_after.isdigit():
        return float(retry_after)
    return min(LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**post)
