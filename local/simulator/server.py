"""The simulator as a server on 127.0.0.1, with a record of its requests and with faults on demand."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask, jsonify, request

from local.server import Server
from local.simulator.api import api
from local.simulator.faults import Fault, Faults
from local.simulator.pages import pages
from local.simulator.store import Clock, Store

HUGE_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """A request to the simulator. `status` is None if it is not answered yet or if its connection was broken instead.

    `code` is the authorization code in it, if any.
    """

    method: str
    path: str
    status: int | None
    request_id: str
    code: str | None = None


class Simulator(Server):
    """Finch for one application. More `redirect_uris` can be added while it runs."""

    def __init__(
        self,
        *,
        client_id: str = "simulated-client",
        client_secret: str = "simulated-secret",  # noqa: S107  # the simulator's own
        redirect_uris: Iterable[str] = (),
        port: int = 0,
        clock: Clock = time.time,
        faults: Faults | None = None,
    ) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.redirect_uris = set(redirect_uris)
        self.client_type = "sandbox"
        self.session_echoes_state = True
        self.store = Store(clock)
        self.faults = faults or Faults()
        self.calls: list[Call] = []
        super().__init__("finch-simulator", port, self._wsgi)
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self._app = Flask(__name__)
        self._app.config["SIMULATOR"] = self
        self._app.register_blueprint(api)
        self._app.register_blueprint(pages)
        self._app.add_url_rule("/_simulator/faults", view_func=self._control_faults, methods=["POST", "DELETE"])

    @property
    def parameters(self) -> dict[str, str]:
        """Return the template's parameters with which a stack uses this Finch."""
        return {"FinchClientId": self.client_id, "FinchApiUrl": self.url, "FinchConnectUrl": self.url}

    def calls_to(self, path: str) -> list[Call]:
        """Return the requests to one path so far."""
        return [call for call in list(self.calls) if call.path == path]

    def forget(self) -> None:
        """Remove connections, tokens, calls and faults, as if the simulator had just started."""
        self.store = Store(self.store.clock)
        self.calls.clear()
        self.faults.clear()
        self.client_type, self.session_echoes_state = "sandbox", True

    def _record_status(self, call: Call, status: int) -> None:
        with contextlib.suppress(ValueError):  # `forget` has removed it
            self.calls[self.calls.index(call)] = dataclasses.replace(
                call, status=status
            )  # until then, the list only grows

    def _control_faults(self) -> Any:
        """Activate the fault whose fields are POSTed as JSON; DELETE deactivates all. For a person with curl."""
        if request.method == "DELETE":
            self.faults.clear()
            return jsonify({"faults": "off"})
        try:
            self.faults.add(Fault(**(request.get_json(silent=True) or {})))
        except (TypeError, ValueError) as error:
            names = [field.name for field in dataclasses.fields(Fault)]
            return jsonify({"error": str(error), "fields": names}), 400
        return jsonify({"faults": "on"})

    def _wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, request_id, code = environ["PATH_INFO"], str(uuid.uuid4()), _code_in(environ)
        fault = self.faults.take(path, code)
        call = Call(environ["REQUEST_METHOD"], path, None, request_id, code)
        self.calls.append(call)
        if fault is not None and fault.kind == "reset_before":
            return _reset(environ)
        if fault is not None and fault.kind == "delay":
            time.sleep(fault.seconds)

        answered: dict[str, Any] = {}

        def capture(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
            answered["status"] = int(status.split(" ", 1)[0])
            answered["headers"] = [header for header in headers if header[0].lower() != "content-length"]
            return lambda _: None

        replacement = _replacement(fault)
        if replacement is None or (fault is not None and fault.processed):
            body: Iterable[bytes] = [b"".join(self._app(environ, capture))]
        if replacement is not None:
            status, headers, content = replacement
            answered, body = {"status": status, "headers": headers}, [content]
        if fault is not None and fault.kind == "reset_after":
            return _reset(environ)
        content = b"".join(body)
        if fault is not None and fault.kind in {"bare", "answer"} and answered["status"] == 200:  # noqa: PLR2004  # OK
            content = _changed(content, fault)
        if fault is not None and fault.kind == "status" and answered["status"] == 200:  # noqa: PLR2004  # OK
            answered["status"] = fault.status
        self._record_status(call, answered["status"])
        if fault is not None and fault.kind == "drip_header":
            return _drip_header(environ, fault.seconds)
        headers = [*answered["headers"], ("Finch-Request-Id", request_id), ("Content-Length", str(len(content)))]
        start_response(f"{answered['status']} Simulated", headers)
        return _drip(content, fault.seconds) if fault is not None and fault.kind == "drip" else [content]


def _replacement(fault: Fault | None) -> tuple[int, list[tuple[str, str]], bytes] | None:
    """Return the response that a fault sends in place of Finch's, or None."""
    as_json, as_html = [("Content-Type", "application/json")], [("Content-Type", "text/html")]
    match fault:
        case Fault(kind="error"):
            body = {"statusCode": fault.status, "status": fault.status, "code": fault.status, "name": fault.name}
            body |= {"message": "A fault on demand"} | ({"finch_code": fault.finch_code} if fault.finch_code else {})
            body |= {"context": dict(fault.context)} if fault.context is not None else {}
            retry = [("Retry-After", str(fault.retry_after))] if fault.retry_after is not None else []
            return fault.status, as_json + retry, json.dumps(body).encode()
        case Fault(kind="html"):
            return fault.status, as_html, b"<!doctype html><title>Bad Gateway</title>"
        case Fault(kind="broken_json"):
            return 200, as_json, b'{"access_token": "half an ans'
        case Fault(kind="huge"):
            return 200, as_json, b'{"access_token": "' + b"x" * HUGE_BYTES + b'"}'
        case Fault(kind="redirect"):
            return 307, [("Location", "http://127.0.0.1:9/elsewhere")], b""
    return None


def _changed(content: bytes, fault: Fault) -> bytes:
    answer = json.loads(content)
    if fault.kind == "bare":
        return json.dumps({"access_token": answer["access_token"]}).encode()
    return json.dumps({name: value for name, value in {**answer, **fault.answer}.items() if value is not None}).encode()


def _drip(content: bytes, seconds: float) -> Iterator[bytes]:
    for index in range(len(content)):
        time.sleep(seconds)
        yield content[index : index + 1]


def _drip_header(environ: dict[str, Any], seconds: float) -> Iterable[bytes]:
    """Answer with a header that does not end until the client disconnects: one byte every `seconds`."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    with contextlib.suppress(OSError):
        while True:
            time.sleep(seconds)
            connection.sendall(b"x")
    raise ConnectionAbortedError("the client disconnected")


def _code_in(environ: dict[str, Any]) -> str | None:
    """Return the authorization code in a request's JSON. The body can be read again afterwards."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    try:
        code = json.loads(body)["code"]
    except (ValueError, KeyError, TypeError):
        return None
    return code if isinstance(code, str) else None


def _reset(environ: dict[str, Any]) -> Iterable[bytes]:
    """Break the connection with a RST instead of a response (SO_LINGER with a time of zero)."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    raise ConnectionAbortedError("broken on demand")
