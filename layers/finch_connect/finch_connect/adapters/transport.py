"""One HTTP request to Finch at a time, within a budget: what is certain about it afterwards, and its JSON answer.

Each goes over a connection of its own: a kept one that went stale while the function was frozen would break just after
the code was sent, and leave it unclear whether Finch had seen it.
"""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
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

MAX_ANSWER_BYTES = 262_144
CONNECT_TIMEOUT_SECONDS = 3.05
READ_TIMEOUT_SECONDS = 15.0

_CONNECTS = 3
_CONNECT_RETRIES = Retry(
    total=_CONNECTS - 1, connect=_CONNECTS - 1, read=0, redirect=0, status=0, other=0, backoff_factor=0.2
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: status, headers, and its JSON object (None when the body is anything else)."""

    status: int
    request_id: str | None
    retry_after: str | None
    content: Mapping[str, Any] | None

    @property
    def succeeded(self) -> bool:
        """Return whether the status is any 2xx. Finch may answer 200 or 201 to the same request."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def error_name(self) -> str:
        """Return Finch's name of the error; empty when there is none."""
        return self._text("name")

    @property
    def finch_code(self) -> str:
        """Return Finch's more precise code of the error; empty when there is none."""
        return self._text("finch_code")

    def _text(self, name: str) -> str:
        text = (self.content or {}).get(name)
        return text if isinstance(text, str) else ""


class NotSentError(Exception):
    """No byte of the body left this machine."""


class NoAnswerError(Exception):
    """The request may have arrived; no usable answer did."""


class Transport:
    """Requests to one base URL, with the same headers. `monotonic` returns seconds."""

    def __init__(self, base_url: str, headers: Mapping[str, str], monotonic: Callable[[], float]) -> None:
        self._base_url = base_url
        self._headers = {**headers, "Accept": "application/json", "Connection": "close"}
        self._tls: SSLContext | None = None
        self._monotonic = monotonic

    def send(
        self,
        method: str,
        path: str,
        *,
        budget: float,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
    ) -> Answer:
        """Send one request and read its answer within `budget` seconds.

        Raises NotSentError or NoAnswerError (its text is our own reason).
        """
        ends = self._monotonic() + budget
        data = _Body(json.dumps(body).encode()) if body is not None else None
        content_type = {"Content-Type": "application/json"} if body is not None else {}
        timeout = (min(CONNECT_TIMEOUT_SECONDS, budget / _CONNECTS), min(READ_TIMEOUT_SECONDS, budget))
        adapter = self._adapter()
        try:
            with adapter.cut_after(budget), requests.Session() as session:
                session.trust_env = False  # no proxy, netrc or other login of this machine
                session.mount(self._base_url, adapter)
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
                    content = self._read(response, ends)
                    if content is None and self._monotonic() >= ends:  # cut: what came may be half of it
                        raise NoAnswerError("exchange_timeout")
                    return Answer(
                        status=response.status_code,
                        request_id=_request_id(response.headers.get("Finch-Request-Id")),
                        retry_after=response.headers.get("Retry-After"),
                        content=content,
                    )
        except (requests.RequestException, HTTPError) as error:
            # The exception's own text and chain are dropped: they may hold addresses and bytes of the request.
            if data is not None and not data.was_read:
                raise NotSentError from None
            timed_out = isinstance(error, requests.Timeout | HTTPTimeoutError) or self._monotonic() >= ends
            raise NoAnswerError("exchange_timeout" if timed_out else "exchange_interrupted") from None

    def _adapter(self) -> _Adapter:
        if self._tls is None:
            self._tls = create_default_context(cafile=where())
        return _Adapter(self._tls)

    def _read(self, response: requests.Response, ends: float) -> Mapping[str, Any] | None:
        """Return the body's JSON object, or None for any other body. Raises NoAnswerError when it goes on too long."""
        body = bytearray()
        # read1 returns what has come; requests' own iteration would wait for whole chunks, past any budget.
        while chunk := response.raw.read1(8192, decode_content=True):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise NoAnswerError("answer_too_large")
            if self._monotonic() > ends:
                raise NoAnswerError("exchange_timeout")
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):  # no JSON, or nested without end
            return None
        return content if isinstance(content, dict) else None


def _request_id(header: str | None) -> str | None:
    """Return Finch's request id if it looks like one: it goes into logs and events."""
    return (
        header if header and len(header) <= _LONGEST_REQUEST_ID and header.isascii() and header.isprintable() else None
    )


_LONGEST_REQUEST_ID = 128


class _Body(io.BytesIO):
    """A request body that knows whether it was read: before that, nothing of it can have been sent."""

    was_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        self.was_read = True
        return super().read(size)


class _Adapter(HTTPAdapter):
    """Verifies as `requests` does, against certifi's authorities, and ends with its time.

    The authorities are read once a container; requests would read its bundle for each connection: 12 ms of CPU
    (docs/performance.md).
    """

    def __init__(self, tls: SSLContext) -> None:
        self._tls = tls  # before the base class, which makes its pool
        self._sockets: list[socket.socket] = []
        super().__init__(max_retries=_CONNECT_RETRIES)

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Give the pool our context: certificate and host name are checked."""
        super().init_poolmanager(*arguments, **named, ssl_context=self._tls)

    def cert_verify(self, conn: Any, *_: Any) -> None:
        """Leave the authorities to the context; requests would load them again."""
        conn.cert_reqs = "CERT_REQUIRED"

    def get_connection_with_tls_context(self, *arguments: Any, **named: Any) -> Any:
        """Remember the sockets of the pool's connections, so that they can be cut."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **named)
        make = type(pool).ConnectionCls
        pool.ConnectionCls = lambda *args, **kwargs: self._watched(make(*args, **kwargs))
        return pool

    def _watched(self, connection: Any) -> Any:
        connect = connection.connect

        def watched() -> None:
            connect()
            self._sockets.append(connection.sock)

        connection.connect = watched
        return connection

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Break this adapter's connections when the block has not ended after so many seconds.

        A timeout of the socket starts again with each byte, so a server that drips its headers would never meet one.
        """
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # whoever reads it sees its end
