"""Finch's API over HTTP: the exchange, introspection, and Connect sessions.

The authorization code is single-use, so what matters is to know whether it may have been processed: it is posted
again only after an answer that says it was not (429, 503). Answers are classified by HTTP status and error `name`,
never by their message (finch docs: errors).
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from ssl import SSLContext, create_default_context
from typing import Any

import requests
from certifi import where
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.util.retry import Retry

from finch_connect.claims import session_sandbox
from finch_connect.errors import TryAgainError
from finch_connect.model import (
    AlreadyConnected,
    Declined,
    Exchange,
    Grant,
    LinkRequest,
    NotSent,
    SessionOpened,
    Unclear,
)
from finch_connect.ports import Deadline
from finch_connect.secret import Secret

MAX_ANSWER_BYTES = 262_144
CONNECT_TIMEOUT_SECONDS = 3.05
READ_TIMEOUT_SECONDS = 15.0
RESERVED_SECONDS = 8.0
"""Left over for owning, storing and settling after the exchange."""

SESSION_RESERVED_SECONDS = 1.0
"""Left over for the answer after a session was asked for."""

LONGEST_WAIT_SECONDS = 5.0
_FIRST_WAIT_SECONDS = 0.5
_MOST_POSTS = 4
_NOT_PROCESSED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

_REASONS = {
    "invalid_grant": "invalid_grant",
    "invalid_client": "invalid_client",
    "invalid_request": "invalid_request",
    "bad_request": "bad_request",
    "payment_required": "payment_required",
    "client_connection_closed": "client_connection_closed",
    "rate_limit_exceeded": "rate_limited",
}
"""Prefix of Finch's error `name` -> our reason."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """One HTTP answer: status, headers, and its JSON object (None when the body is anything else)."""

    status: int
    request_id: str | None
    retry_after: str | None
    content: Mapping[str, Any] | None

    @property
    def error_name(self) -> str:
        name = (self.content or {}).get("name")
        return name if isinstance(name, str) else ""


class _NotSentError(Exception):
    """No byte of the body left this machine."""


class _NoAnswerError(Exception):
    """The request may have arrived; no usable answer did."""


class _Body(io.BytesIO):
    """A request body that knows whether it was read: before that, nothing of it can have been sent."""

    was_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        self.was_read = True
        return super().read(size)


class _Adapter(HTTPAdapter):
    """Verifies as `requests` does, against certifi's authorities, but reads them once a container.

    requests would read its bundle for each connection: 12 ms of CPU (docs/performance.md).
    """

    def __init__(self, tls: SSLContext) -> None:
        self._tls = tls  # before the base class, which makes its pool
        super().__init__(max_retries=_CONNECT_RETRIES)

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Give the pool our context: certificate and host name are checked."""
        super().init_poolmanager(*arguments, **named, ssl_context=self._tls)

    def cert_verify(self, conn: Any, *_: Any) -> None:
        """Leave the authorities to the context; requests would load them anew."""
        conn.cert_reqs = "CERT_REQUIRED"


class FinchApi:
    """Implements `ports.Finch` and `ports.FinchSessions` with requests."""

    def __init__(
        self,
        base_url: str,
        client_id: str,
        api_version: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url
        self._client_id = client_id
        self._headers = {"Finch-API-Version": api_version, "Accept": "application/json", "Connection": "close"}
        self._tls: SSLContext | None = None
        self._sleep = sleep
        self._monotonic = monotonic

    def exchange(self, *, code: Secret, redirect_uri: str, client_secret: Secret, deadline: Deadline) -> Exchange:
        """See `ports.Finch.exchange`; `POST /auth/token` (finch docs: redirect, exchange the code)."""
        body = {
            "client_id": self._client_id,
            "client_secret": client_secret.reveal(),
            "code": code.reveal(),
            "redirect_uri": redirect_uri,
        }
        refused: _Answer | None = None  # the last answer that said it was not processed
        for post in range(_MOST_POSTS):
            if deadline.remaining() <= RESERVED_SECONDS:
                break
            try:
                answer = self._send("POST", "/auth/token", body=body, budget=deadline.remaining() - RESERVED_SECONDS)
            except _NotSentError:
                # A later post that could not be sent changes nothing about the earlier, refused one.
                return NotSent("finch_unreachable") if refused is None else _declined(refused)
            except _NoAnswerError as error:
                return Unclear(str(error), None)
            if answer.status not in _NOT_PROCESSED:
                return _exchanged(answer)
            refused = answer
            wait = _wait(answer.retry_after, post)
            if wait > deadline.remaining() - RESERVED_SECONDS or post == _MOST_POSTS - 1:
                break
            self._sleep(wait)
        return NotSent("no_time_left") if refused is None else _declined(refused)

    def introspect(self, grant: Grant, *, deadline: Deadline) -> Grant:
        """See `ports.Finch.introspect`; `GET /introspect`. Only ids are read: `username` is personal data."""
        budget = deadline.remaining() - RESERVED_SECONDS
        if budget <= 0:
            return grant
        bearer = {"Authorization": f"Bearer {grant.access_token.reveal()}"}
        try:
            answer = self._send("GET", "/introspect", headers=bearer, budget=budget)
        except (_NotSentError, _NoAnswerError):
            return grant
        if answer.status != HTTPStatus.OK or answer.content is None:
            return grant
        return _grant(grant.access_token, {**answer.content, **_known(grant)}, grant.request_id)

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
        if answer.status == HTTPStatus.BAD_REQUEST:
            context = (answer.content or {}).get("context")
            known = context.get("connection_id") if isinstance(context, Mapping) else None
            named = (answer.content or {}).get("finch_code") == "connection_already_exists"
            if isinstance(known, str) and (named or answer.error_name.startswith("connection_already_exists")):
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

    def _post_session(self, path: str, body: Mapping[str, Any], client_secret: Secret, deadline: Deadline) -> _Answer:
        budget = deadline.remaining() - SESSION_RESERVED_SECONDS
        if budget <= 0:
            raise TryAgainError("no_time_left")
        present = {name: content for name, content in body.items() if content is not None}
        login = (self._client_id, client_secret.reveal())
        try:
            return self._send("POST", path, body=present, login=login, budget=budget)
        except (_NotSentError, _NoAnswerError):
            raise TryAgainError("finch_unreachable") from None

    def _send(
        self,
        method: str,
        path: str,
        *,
        budget: float,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
    ) -> _Answer:
        """Send one request on a connection of its own and read its answer within `budget` seconds.

        A connection is never kept: one that went stale while the function was frozen would break just after the code
        was sent, and leave it unclear whether Finch had seen it.

        Raises _NotSentError or _NoAnswerError (its text is our own reason).
        """
        ends = self._monotonic() + budget
        data = _Body(json.dumps(body).encode()) if body is not None else None
        content_type = {"Content-Type": "application/json"} if body is not None else {}
        timeout = (min(CONNECT_TIMEOUT_SECONDS, budget), min(READ_TIMEOUT_SECONDS, budget))
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy, netrc or other login of this machine
                session.mount(self._base_url, self._adapter())
                with session.request(
                    method,
                    self._base_url + path,
                    data=data,
                    headers={**self._headers, **content_type, **(headers or {})},
                    auth=login,
                    timeout=timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    return _Answer(
                        status=response.status_code,
                        request_id=_request_id(response.headers.get("Finch-Request-Id")),
                        retry_after=response.headers.get("Retry-After"),
                        content=self._read(response, ends),
                    )
        except (requests.RequestException, HTTPError) as error:
            # The exception's own text and chain are dropped: they may hold addresses and bytes of the request.
            if data is not None and not data.was_read:
                raise _NotSentError from None
            timed_out = isinstance(error, requests.Timeout | HTTPTimeoutError)
            raise _NoAnswerError("exchange_timeout" if timed_out else "exchange_interrupted") from None

    def _adapter(self) -> HTTPAdapter:
        if self._tls is None:
            self._tls = create_default_context(cafile=where())
        return _Adapter(self._tls)

    def _read(self, response: requests.Response, ends: float) -> Mapping[str, Any] | None:
        """Return the body's JSON object, or None for any other body. Raises _NoAnswerError when it goes on too long."""
        body = bytearray()
        # read1 returns what has come; requests' own iteration would wait for whole chunks, past any budget.
        while chunk := response.raw.read1(8192, decode_content=True):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise _NoAnswerError("answer_too_large")
            if self._monotonic() > ends:
                raise _NoAnswerError("exchange_timeout")
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):  # no JSON, or nested without end
            return None
        return content if isinstance(content, dict) else None


_CONNECT_RETRIES = Retry(total=2, connect=2, read=0, redirect=0, status=0, other=0, backoff_factor=0.2)


def _exchanged(answer: _Answer) -> Exchange:
    if answer.status == HTTPStatus.OK:
        token = (answer.content or {}).get("access_token")
        if isinstance(token, str) and token:
            return _grant(Secret(token), answer.content or {}, answer.request_id)
        return Unclear("answer_without_token", answer.request_id)
    if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _declined(answer)
    return Unclear(
        "server_error" if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "unexpected_status", answer.request_id
    )


def _declined(answer: _Answer) -> Declined:
    for prefix, reason in _REASONS.items():
        if answer.error_name.startswith(prefix):
            return Declined(reason, answer.request_id)
    if answer.status in _NOT_PROCESSED:
        return Declined(
            "rate_limited" if answer.status != HTTPStatus.SERVICE_UNAVAILABLE else "finch_unavailable",
            answer.request_id,
        )
    return Declined("exchange_refused", answer.request_id)


def _grant(token: Secret, content: Mapping[str, Any], request_id: str | None) -> Grant:
    """Read an answer leniently: only the token must be there; a field of another type counts as absent."""
    products = _texts(content.get("products"))
    return Grant(
        access_token=token,
        request_id=request_id,
        connection_id=_text(content.get("connection_id")),
        customer_id=_text(content.get("customer_id")),
        provider_id=_text(content.get("provider_id")),
        client_type=_text(content.get("client_type")),
        connection_type=_text(content.get("connection_type")),
        products=products,
        entity_ids=_texts(content.get("entity_ids")) or (),
    )


def _known(grant: Grant) -> dict[str, Any]:
    """Return what the exchange said already: introspection adds to it and does not replace it."""
    said = {
        "connection_id": grant.connection_id,
        "customer_id": grant.customer_id,
        "provider_id": grant.provider_id,
        "client_type": grant.client_type,
        "connection_type": grant.connection_type,
        "products": None if grant.products is None else list(grant.products),
        "entity_ids": list(grant.entity_ids) or None,
    }
    return {name: content for name, content in said.items() if content is not None}


def _session(answer: _Answer) -> SessionOpened:
    url = (answer.content or {}).get("connect_url")
    if answer.status != HTTPStatus.OK or not isinstance(url, str):
        raise TryAgainError("session_refused", status=answer.status, finch_request_id=answer.request_id)
    return SessionOpened(url)


def _text(content: object) -> str | None:
    return content if isinstance(content, str) and 0 < len(content) <= _LONGEST_TEXT and content.isprintable() else None


def _texts(content: object) -> tuple[str, ...] | None:
    if not isinstance(content, list) or len(content) > _MOST_TEXTS:
        return None
    texts = [text for text in map(_text, content) if text is not None]
    return tuple(texts) if len(texts) == len(content) else None


_LONGEST_TEXT = 255
_MOST_TEXTS = 100


def _request_id(header: str | None) -> str | None:
    """Return Finch's request id if it looks like one: it goes into logs and events."""
    return (
        header if header and len(header) <= _LONGEST_REQUEST_ID and header.isascii() and header.isprintable() else None
    )


_LONGEST_REQUEST_ID = 128


def _wait(retry_after: str | None, post: int) -> float:
    """Return how many seconds to wait before the code may be posted again."""
    if retry_after and retry_after.isdigit():
        return float(retry_after)
    return min(LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**post)
