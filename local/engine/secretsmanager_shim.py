"""A proxy that answers for Secrets Manager as AWS does, where the emulator does not. It invalidates signatures.

MiniStack 1.5.33 ignores the ClientRequestToken for the id of a new secret's first version, and stores a repeated
version as a new one. On AWS, a repeated token changes nothing (AWS: CreateSecret, PutSecretValue). MiniStack also
refuses to restore a secret that is not deleted, which AWS accepts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import urllib3

from local.server import Server, StartResponse

_NOT_FORWARDED = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class SecretsManagerShim(Server):
    """Forwards every request to the emulator, except those it handles itself: create, put and restore a secret."""

    def __init__(self, upstream: str) -> None:
        super().__init__("secretsmanager-shim", 0, self._wsgi)
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self._upstream = upstream
        self._pool = urllib3.PoolManager(maxsize=32, retries=False, timeout=120)

    def _wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        request = _Request(self._pool, self._upstream, environ)
        match environ.get("HTTP_X_AMZ_TARGET"):
            case "secretsmanager.CreateSecret":
                status, headers, content = _create(request, body)
            case "secretsmanager.PutSecretValue":
                status, headers, content = _put(request, body)
            case "secretsmanager.RestoreSecret":
                status, headers, content = _restore(request, body)
            case _:
                status, headers, content = request.send(body)
        start_response(f"{status} {HTTPStatus(status).phrase}", [*headers, ("Content-Length", str(len(content)))])
        return [content]


type _Answer = tuple[int, list[tuple[str, str]], bytes]


class _Request:
    """One request, to be forwarded unchanged or as another operation of the same service."""

    def __init__(self, pool: urllib3.PoolManager, upstream: str, environ: dict[str, Any]) -> None:
        self._pool = pool
        self._method = environ["REQUEST_METHOD"]
        self._url = upstream + environ["PATH_INFO"] + (f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else "")
        names = {name: name.removeprefix("HTTP_").replace("_", "-") for name in environ if name.startswith("HTTP_")}
        self._headers = {to: environ[name] for name, to in names.items() if to not in {"HOST", "CONNECTION"}}
        if environ.get("CONTENT_TYPE"):
            self._headers["CONTENT-TYPE"] = environ["CONTENT_TYPE"]

    def send(self, body: bytes) -> _Answer:
        answer = self._pool.request(self._method, self._url, body=body, headers=self._headers)
        headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in _NOT_FORWARDED]
        return answer.status, headers, answer.data

    def call(self, operation: str, **arguments: Any) -> _Answer:
        self._headers["X-AMZ-TARGET"] = f"secretsmanager.{operation}"
        return self.send(json.dumps(arguments).encode())


def _create(request: _Request, body: bytes) -> _Answer:
    """Create the secret, then put its value again as a version with the token as its id."""
    created, arguments = request.send(body), json.loads(body)
    return created if created[0] != HTTPStatus.OK else _put_version(request, arguments["Name"], arguments)


def _put(request: _Request, body: bytes) -> _Answer:
    """Put a version unless it exists. Then the same text changes nothing, and another text is an error."""
    arguments = json.loads(body)
    name, version = arguments["SecretId"], arguments.get("ClientRequestToken")
    status, headers, content = request.call("GetSecretValue", SecretId=name, VersionId=version)
    if status != HTTPStatus.OK:
        return _put_version(request, name, arguments)
    if json.loads(content)["SecretString"] == arguments["SecretString"]:
        return status, headers, json.dumps({**json.loads(content), "SecretString": None}).encode()
    refusal = {"__type": "ResourceExistsException", "message": "This version exists with another value."}
    return HTTPStatus.BAD_REQUEST, headers, json.dumps(refusal).encode()


def _restore(request: _Request, body: bytes) -> _Answer:
    """Restore the secret. Does nothing if it is not scheduled for deletion."""
    restored, name = request.send(body), json.loads(body)["SecretId"]
    if restored[0] == HTTPStatus.OK:
        return restored
    described = request.call("DescribeSecret", SecretId=name)
    return described if described[0] == HTTPStatus.OK else restored


def _put_version(request: _Request, name: str, arguments: dict[str, Any]) -> _Answer:
    value = {key: arguments[key] for key in ("ClientRequestToken", "SecretString") if key in arguments}
    return request.call("PutSecretValue", SecretId=name, **value)
