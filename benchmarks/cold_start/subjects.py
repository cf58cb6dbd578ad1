"""What is measured: our functions as they ship, and the peers. Each has its events and the calls it must make."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt

from benchmarks.cold_start.fake_services import LINK_KEY, FakeServices
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import base64url, cookie_name, flow_id_of, new_cookie, state_of
from local.engine.deploy import build

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
BUILT = ROOT / ".aws-sam" / "bench"
PEERS = FOLDER / "peers"

EXCHANGE = ["UpdateItem", "POST /auth/token", "UpdateItem", "CreateSecret", "UpdateItem"]
"""Claim, exchange, lease, store, settle: five sequential round trips."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A handler with its import path, environment and events.

    `calls` are the operations of one invocation, in order. `secrets` is the least number of secret reads, which may
    occur anywhere between them.
    """

    name: str
    title: str
    paths: tuple[Path, ...]
    event: Callable[[], dict[str, Any]]
    calls: tuple[str, ...]
    secrets: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return the number of bytes that Lambda unpacks for it."""
        return sum(file.stat().st_size for path in self.paths for file in path.rglob("*") if file.is_file())


def our_functions(server: FakeServices) -> list[Subject]:
    """Return connect and callback as they ship, configured for the fake services."""
    built = build().parent
    layer = _layer(built / "FinchConnectLayer" / "python", server)
    settings = {**_settings(server), "AWS_CA_BUNDLE": str(_small_bundle(server, layer))}
    return [
        Subject("connect", "ours", (built / "ConnectFunction", layer), _connect, ("PutItem",), 1, settings),
        Subject("callback", "ours", (built / "CallbackFunction", layer), _callback, tuple(EXCHANGE), 2, settings),
    ]


def subjects(server: FakeServices) -> list[Subject]:
    """Return all subjects, built, installed and configured for the fake services."""
    ours = our_functions(server)
    usual = {**_settings(server), "AWS_CA_BUNDLE": str(server.full_bundle)}
    least = {**usual, "SSL_CERT_FILE": ours[0].environment["AWS_CA_BUNDLE"]}
    peers = {name: (_compiled(PEERS / name, server), installed(PEERS / name)) for name in ("c", "u", "l", "m")}
    bare, whole, little = ("PutItem",), tuple(EXCHANGE), ("POST /auth/token", "CreateSecret", "PutItem")
    floor = (_compiled(PEERS / "floor", server),)
    return [
        Subject("C", "one put through a bare boto3 client", peers["c"], _connect, bare, 0, usual),
        *ours,
        Subject("U", "the callback, the usual way", peers["u"], _callback, whole, 2, usual),
        Subject("L", "Finch's SDK and boto3, no state", peers["l"], _callback, little, 1, usual),
        Subject("M", "the callback in FastAPI and Mangum", peers["m"], _callback, whole, 2, usual),
        Subject("floor", "connect's calls without any SDK", floor, _connect, bare, 1, least),
    ]


def _compiled(peer: Path, server: FakeServices) -> Path:
    """Return a copy of a peer's handler with valid bytecode. Our handlers ship without."""
    copy = server.authority.with_name(f"peer-{peer.name}")
    shutil.copytree(peer, copy)
    compile_all(copy)
    return copy


def _layer(built: Path, server: FakeServices) -> Path:
    """Return a copy of the layer whose certifi trusts the fake services, because our Finch client reads no variable."""
    copy = server.authority.with_name("layer")
    shutil.copytree(built, copy)
    (copy / "certifi" / "cacert.pem").write_bytes(server.full_bundle.read_bytes())
    return copy


def installed(peer: Path) -> Path:
    """Install pinned requirements once, with bytecode that stays valid, and return the folder."""
    requirements = peer / "requirements.txt"
    folder = BUILT / f"{peer.name}-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps"]
        _run(*pip, "--require-hashes", "--target", str(part), "--requirement", str(requirements))
        compile_all(part)
        part.rename(folder)
    return folder


def compile_all(folder: Path) -> None:
    """Compile to bytecode as the layer's build does: valid whatever the file times are."""
    _run("-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", str(folder))


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True)  # our own arguments


def _small_bundle(server: FakeServices, layer: Path) -> Path:
    """Return the roots that the layer ships for AWS endpoints, plus the authority of the fake services."""
    shipped = (layer / "finch_connect" / "amazon-root-cas.pem").read_bytes()
    path = server.authority.with_name("small-bundle.pem")
    path.write_bytes(shipped + server.authority.read_bytes())
    return path


def _settings(server: FakeServices) -> dict[str, str]:
    example = json.loads((ROOT / "events" / "env.example.json").read_text())["Parameters"]
    prefix = "arn:aws:secretsmanager:eu-central-1:000000000000:secret:finch/dev/config/"
    return {
        **{name: str(value) for name, value in example.items()},
        "TABLE_NAME": "flows",
        "LINK_KEY_SECRET_ARN": f"{prefix}link-key-AbCdEf",
        "CLIENT_CREDENTIALS_SECRET_ARN": f"{prefix}client-credentials-AbCdEf",
        "FINCH_API_URL": server.url,
        "FINCH_CONNECT_URL": server.url,
        "PUBLIC_URL": "https://connect.example.com",
        "ALLOWED_RETURN_URLS": "https://app.example.com/hr",
        "STATELESS_CALLBACKS": "on",
        "LINK_POLICY": "signed",
        **{f"AWS_ENDPOINT_URL_{service}": server.url for service in ("DYNAMODB", "SECRETS_MANAGER", "SSM")},
        "REQUESTS_CA_BUNDLE": str(server.full_bundle),
        "SSL_CERT_FILE": str(server.full_bundle),
    }


def _event(path: str, query: Mapping[str, str], cookies: list[str]) -> dict[str, Any]:
    """Return API Gateway's event for a GET (payload format 2.0)."""
    return {
        "version": "2.0",
        "routeKey": f"GET {path}",
        "rawPath": path,
        "rawQueryString": urlencode(query),
        "queryStringParameters": dict(query),
        "cookies": cookies,
        "headers": {"host": "connect.example.com", "accept": "text/html", "user-agent": "bench"},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "bench",
            "domainName": "connect.example.com",
            "domainPrefix": "connect",
            "http": {
                "method": "GET",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "bench",
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": f"GET {path}",
            "stage": "$default",
            "time": "24/Nov/2026:00:00:00 +0000",
            "timeEpoch": 1795478400000,
        },
        "isBase64Encoded": False,
    }


def _connect() -> dict[str, Any]:
    now = int(time.time())
    claims = {
        "aud": "finch-connect",
        "sub": "acme",
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + 600,
        "return_url": "https://app.example.com/hr/done",
        "nonce": "n-1",
    }
    return _event("/connect", {"link": jwt.encode(claims, LINK_KEY["key"], headers={"kid": LINK_KEY["kid"]})}, [])


def _callback() -> dict[str, Any]:
    flow_id = flow_id_of("acme", str(uuid.uuid4()))
    cookie: Secret = new_cookie(hashlib.sha256(flow_id.encode()).digest(), flow_id, Secret(LINK_KEY["key"]))
    code = base64url(hmac.new(b"code", flow_id.encode(), hashlib.sha256).digest())
    query = {"code": code, "state": state_of(cookie, flow_id).reveal()}
    return _event("/callback", query, [f"{cookie_name(flow_id)}={cookie.reveal()}"])
