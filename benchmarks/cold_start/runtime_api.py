"""A small Lambda Runtime API on 127.0.0.1. It serves events, and records when they are requested and answered.

Lambda's runtime client (`awslambdaric`) uses it as on AWS (AWS: Lambda runtime API).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_NEXT = "/2018-06-01/runtime/invocation/next"
DEADLINE_MS = 29_000


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors, because the process was killed."""


class RuntimeApi:
    """Serves `events` to one function process, one after another.

    `requested[n]` is the value of `stamp()` when event n was requested, `answered[n]` when `answers[n]` arrived. After
    the last answer, `done` is set and the process is left waiting.
    """

    def __init__(self, events: Sequence[Any], stamp: Callable[[], Any]) -> None:
        self.requested: list[Any] = []
        self.answered: list[Any] = []
        self.answers: list[Any] = []
        self.error: str | None = None
        self.done = threading.Event()
        self._events = events
        self._stamp = stamp
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _fail(self, text: str) -> None:
        self.error = text
        self.done.set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def do_GET(self) -> None:  # http.server's name
                stamp = api._stamp()
                number = len(api.requested)
                if self.path != _NEXT or number >= len(api._events):
                    api.done.set()
                    time.sleep(60)  # the process is killed in the meantime
                    return
                api.requested.append(stamp)
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": f"request-{number}",
                    "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + DEADLINE_MS),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:000000000000:function:bench",
                    "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
                }
                self._answer(200, json.dumps(api._events[number]).encode(), headers)

            def do_POST(self) -> None:  # http.server's name
                stamp = api._stamp()
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.endswith("/response"):
                    api.answered.append(stamp)
                    api.answers.append(json.loads(body))
                else:
                    api._fail(body.decode(errors="replace"))
                self._answer(202, b"", {})
                if len(api.answered) == len(api._events):
                    api.done.set()

            def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
                """Log nothing."""

        return Handler
