"""API Gateway on this machine: SAM CLI's own local API server in front of the functions that the emulator runs.

The code behind `sam local start-api` makes the payload (format 2.0, with `cookies`) and reads the answer, so routes
come from the built template. These are SAM CLI's internal modules: the pin in requirements/local.in holds them still,
and tests/engine fails loudly when they move.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.local.apigw.local_apigw_service import LocalApigwService
from werkzeug.serving import WSGIRequestHandler, make_server

type Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class DeployedFunctions:
    """What SAM's API server asks of a runner; each function runs where it was deployed."""

    def __init__(self, lambda_client: Any, physical: Mapping[str, str]) -> None:
        self._lambda = lambda_client
        self._physical = physical

    def is_debugging(self) -> bool:
        """SAM asks whether a debugger is attached."""
        return False

    def invoke(self, function_identifier: str, event: str, *_: Any, stdout: Any = None, **__: Any) -> None:
        """Invoke a function by its logical id and write its payload to `stdout`."""
        answer = self._lambda.invoke(FunctionName=self._physical[function_identifier], Payload=event.encode())
        payload = answer["Payload"].read().decode()
        if "FunctionError" in answer:  # API Gateway answers 500 for a function that failed
            body = json.dumps({"message": "Internal Server Error"})
            payload = json.dumps({"statusCode": 500, "headers": {"Content-Type": "application/json"}, "body": body})
        stdout.write_str(payload)


class Front(AbstractContextManager["Front"]):
    """One HTTP server on 127.0.0.1: the stack's routes, and an app for everything else.

    It answers as API Gateway does where Flask would not: no HEAD for a GET route, no automatic OPTIONS.
    """

    def __init__(self, port: int, app: Wsgi | None = None) -> None:
        self._apis: list[tuple[frozenset[tuple[str, str]], Wsgi]] = []
        self._app = app
        self._server = make_server("127.0.0.1", port, self._dispatch, threaded=True, request_handler=_QuietHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="front", daemon=True)
        self.port: int = self._server.server_port
        self.url = f"http://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve_api(self, template: Path, functions: DeployedFunctions) -> frozenset[tuple[str, str]]:
        """Serve the routes of a built template; return them as (method, path)."""
        stacks, _ = SamLocalStackProvider.get_stacks(str(template), language_extensions_enabled=False)
        api = ApiProvider(stacks, cwd=str(template.parent)).api
        service = LocalApigwService(api=api, lambda_runner=functions, port=self.port, host="127.0.0.1")
        service.create()
        routes = frozenset((method, route.path) for route in api.routes for method in route.methods)
        self._apis = [(routes, service._app)]
        return routes

    def _dispatch(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        for routes, api in self._apis:
            if (method, path) in routes:
                return api(environ, start_response)
            if any(path == known for _, known in routes):
                return _not_found(start_response)
        return self._app(environ, start_response) if self._app else _not_found(start_response)

    def serve_app(self, app: Wsgi | None) -> None:
        """Serve this app for everything that is no route of the stack."""
        self._app = app


class _QuietHandler(WSGIRequestHandler):
    """Logs nothing: the addresses hold codes, states and links."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002  # werkzeug's name
        """Log nothing."""


def _not_found(start_response: Callable[..., Any]) -> Iterable[bytes]:
    """API Gateway's own answer to a route that is not there."""
    body = json.dumps({"message": "Not Found"}).encode()
    status = HTTPStatus.NOT_FOUND
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
