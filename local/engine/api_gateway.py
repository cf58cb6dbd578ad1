"""API Gateway on this machine: SAM CLI's local API server in front of the functions that the emulator runs.

The code behind `sam local start-api` builds the payload (format 2.0, with `cookies`) and reads the response. The
routes come from the built template. These are internal modules of SAM CLI, so requirements/local.in pins its version,
and tests/engine fails when they change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.local.apigw.local_apigw_service import LocalApigwService

from local.server import Server, StartResponse, Wsgi

_INTERNAL_SERVER_ERROR = json.dumps(
    {
        "statusCode": 500,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"message": "Internal Server Error"}),
    }
)
"""API Gateway's response when a function has failed."""


ALIAS_NAME = "live"
ALIAS = f"Alias{ALIAS_NAME}"
"""SAM appends this to a function's logical id for the alias that the template names."""


class DeployedFunctions:
    """The runner of SAM's API server. It invokes each function where it is deployed.

    With `at_once`, at most that many invocations run at the same time, and the others wait.
    """

    def __init__(self, lambda_client: Any, physical: Mapping[str, str], at_once: int | None = None) -> None:
        self._lambda = lambda_client
        self._physical = physical
        self.failure = "no function has failed"
        """The error of the last function that failed. API Gateway's 500 does not contain it."""
        self._slot: AbstractContextManager[Any] = BoundedSemaphore(at_once) if at_once else nullcontext()

    def is_debugging(self) -> bool:
        """Return False: no debugger is attached."""
        return False

    def invoke(self, function_identifier: str, event: str, *_: Any, stdout: Any = None, **__: Any) -> None:
        """Invoke a function by its logical id, through its alias as API Gateway does. Write its payload to `stdout`."""
        name = self._physical[f"{function_identifier}{ALIAS}"]
        try:
            with self._slot:
                answer = self._lambda.invoke(FunctionName=name, Payload=event.encode())
            failed, payload = "FunctionError" in answer, answer["Payload"].read().decode()
        except (BotoCoreError, ClientError) as error:  # the emulator stopped during the request
            failed, payload = True, str(error)
        if failed:
            self.failure = f"{function_identifier}: {payload}"
        stdout.write_str(_INTERNAL_SERVER_ERROR if failed else payload)


class ApiGateway(Server):
    """One HTTP server for the stack's routes and for an app that gets all other paths.

    Where Flask differs from API Gateway, this follows API Gateway: no HEAD for a GET route, no automatic OPTIONS.
    """

    def __init__(self, port: int, app: Wsgi | None = None) -> None:
        super().__init__("api-gateway", port, self._dispatch)
        self._routes: frozenset[tuple[str, str]] = frozenset()
        self._api: Wsgi | None = None
        self._app = app
        self.port = self.address[1]
        self.url = f"http://localhost:{self.port}"

    def serve_api(self, template: Path, functions: DeployedFunctions) -> frozenset[tuple[str, str]]:
        """Serve the routes of a built template, and return them as (method, path)."""
        stacks, _ = SamLocalStackProvider.get_stacks(str(template), language_extensions_enabled=False)
        api = ApiProvider(stacks, cwd=str(template.parent)).api
        service = LocalApigwService(api=api, lambda_runner=functions, port=self.port, host="127.0.0.1")
        service.create()
        routes = frozenset((method, route.path) for route in api.routes for method in route.methods)
        self._routes, self._api = routes, service._app
        return routes

    def serve_app(self, app: Wsgi | None) -> None:
        """Serve this app for every path that is not a route of the stack. None removes the app."""
        self._app = app

    def _dispatch(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if self._api is not None and (method, path) in self._routes:
            return self._api(environ, start_response)
        if self._app is None or any(path == known for _, known in self._routes):
            return _not_found(start_response)
        return self._app(environ, start_response)


def _not_found(start_response: StartResponse) -> Iterable[bytes]:
    """Answer as API Gateway does when there is no such route."""
    body = json.dumps({"message": "Not Found"}).encode()
    status = HTTPStatus.NOT_FOUND
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
