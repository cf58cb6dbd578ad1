"""An HTTP server in a thread, for this machine only, that runs as long as its context. It logs no URL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

type StartResponse = Callable[..., Any]
type Wsgi = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Server:
    """Serves a WSGI app on 127.0.0.1. Port 0 picks a free port. Raises OSError or SystemExit if the port is taken."""

    def __init__(self, name: str, port: int, app: Wsgi) -> None:
        self._server = _ThreadedServer("127.0.0.1", port, app, _QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name=name, daemon=True)
        self.address: tuple[str, int] = (str(self._server.server_address[0]), self._server.server_port)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU seconds that finished requests have taken so far."""
        return self._server.cpu_seconds


class _ThreadedServer(ThreadedWSGIServer):
    """Handles each request in its own thread, and adds up the threads' CPU time."""

    cpu_seconds = 0.0
    _lock = threading.Lock()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle the request, then add its CPU time."""
        super().process_request_thread(request, client_address)
        with self._lock:
            self.cpu_seconds += time.thread_time()


class _QuietHandler(WSGIRequestHandler):
    """Logs nothing, because the URLs contain codes, states and links."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # werkzeug's name
        """Log nothing."""
