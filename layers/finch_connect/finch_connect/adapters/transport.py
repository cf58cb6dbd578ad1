"""One HTTP request to Finch within a budget: its JSON answer, or what is certain about it without one.

Each request has a connection of its own. A reused one that went stale while the function was frozen would break just
after the code was sent, and leave it unclear whether Finch had received it.

The connections are urllib3's, used without its pool: a pool may send a request again, and does not give access to the
socket that has to be cut at the deadline.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPException
from ssl import SSLContext, create_default_context
from typing import Any
from urllib.parse import urlsplit

from certifi import where
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError
from urllib3.util import make_headers

MAX_ANSWER_BYTES = 262_144
CONNECT_TIMEOUT_SECONDS = 3.05
READ_TIMEOUT_SECONDS = 15.0

_WAITS_BEFORE_CONNECTING = (0.0, 0.2, 0.4)
_CONNECTION_ERRORS = (HTTPError, HTTPException, OSError, ValueError)  # ValueError: a header that HTTP cannot carry


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: its status, two headers, and its JSON object (None if the body is anything else)."""

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
        """Return Finch's name of the error, or an empty text."""
        return self._text("name")

    @property
    def finch_code(self) -> str:
        """Return Finch's more precise code of the error, or an empty text."""
        return self._text("finch_code")

    def _text(self, name: str) -> str:
        text = (self.content or {}).get(name)
        return text if isinstance(text, str) else ""


class NotSentError(Exception):
    """No byte of the body left this machine."""


class NoAnswerError(Exception):
    """The request may have arrived, but no usable answer did."""


class Transport:
    """Requests to one base URL, with the same headers. `sleep` takes seconds, `monotonic` returns them."""

    def __init__(
        self, base_url: str, headers: Mapping[str, str], sleep: Callable[[float], None], monotonic: Callable[[], float]
    ) -> None:
        self._url = urlsplit(base_url)
        self._headers = {**headers, "Accept": "application/json", "Connection": "close", "User-Agent": "finch-connect"}
        self._sleep = sleep
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

        Raises NotSentError, or NoAnswerError whose text is a reason for the log.
        """
        ends = self._monotonic() + budget
        content = b"" if body is None else json.dumps(body).encode()
        all_headers = {**self._headers, **(headers or {})}
        if body is not None:
            all_headers |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        body_was_read = False

        def body_once() -> Iterator[bytes]:
            nonlocal body_was_read
            body_was_read = True  # urllib3 reads the body after it has sent the headers
            yield content

        connection = self._connect(ends)
        try:
            with closing(connection), _cut_after(ends - self._monotonic(), connection.sock):
                if login is not None:
                    all_headers |= make_headers(basic_auth=":".join(login))
                connection.timeout = READ_TIMEOUT_SECONDS  # of silence; the cut ends the whole request
                data = body_once() if body is not None else None
                connection.request(method, self._url.path + path, data, all_headers, preload_content=False)
                with connection.getresponse() as response:
                    received = response.read(MAX_ANSWER_BYTES + 1)
        except _CONNECTION_ERRORS as error:
            # The exception's text and chain are dropped, because they may contain addresses and bytes of the request.
            if body is not None and not body_was_read:
                raise NotSentError from None
            timed_out = isinstance(error, TimeoutError | HTTPTimeoutError) or self._monotonic() >= ends
            raise NoAnswerError("exchange_timeout" if timed_out else "exchange_interrupted") from None
        if len(received) > MAX_ANSWER_BYTES:
            raise NoAnswerError("answer_too_large")
        answer = _object(received)
        if answer is None and self._monotonic() >= ends:  # cut at the deadline, perhaps halfway
            raise NoAnswerError("exchange_timeout")
        return Answer(
            status=response.status,
            request_id=_request_id(response.headers.get("Finch-Request-Id")),
            retry_after=response.headers.get("Retry-After"),
            content=answer,
        )

    def _connect(self, ends: float) -> HTTPConnection:
        """Return an open connection. Raises NotSentError if none can be opened in time."""
        for wait in _WAITS_BEFORE_CONNECTING:
            left = ends - self._monotonic() - wait
            if left <= 0:
                break
            if wait:
                self._sleep(wait)
            connection = self._connection(min(CONNECT_TIMEOUT_SECONDS, left / 2))  # for TCP, and again for TLS
            with suppress(*_CONNECTION_ERRORS):
                connection.connect()
                if self._monotonic() < ends:
                    return connection
            connection.close()
        raise NotSentError

    def _connection(self, timeout: float) -> HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "http":
            return HTTPConnection(host, port, timeout=timeout)
        return HTTPSConnection(host, port, timeout=timeout, ssl_context=self._tls)

    @cached_property
    def _tls(self) -> SSLContext:
        """Trust certifi's authorities. Reading them takes 16 ms of CPU (docs/performance.md), so it is done once."""
        return create_default_context(cafile=where())


def _object(body: bytes) -> Mapping[str, Any] | None:
    """Return the body's JSON object, or None for any other body."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):  # not JSON, or nested without end
        return None
    return content if isinstance(content, dict) else None


def _request_id(header: str | None) -> str | None:
    """Return Finch's request id if it has the form of one, because it goes into logs and events."""
    return (
        header if header and len(header) <= _LONGEST_REQUEST_ID and header.isascii() and header.isprintable() else None
    )


_LONGEST_REQUEST_ID = 128


@contextmanager
def _cut_after(seconds: float, sock: socket.socket) -> Iterator[None]:
    """Break the connection if the block has not ended after so many seconds.

    A socket's timeout restarts with each byte, so a server that drips its answer would never reach it.
    """

    def cut() -> None:
        with suppress(OSError):  # closed already
            # The reader sees the connection end. SSLSocket.shutdown would take the TLS layer away from it.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
