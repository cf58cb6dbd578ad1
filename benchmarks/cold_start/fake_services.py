"""DynamoDB, Secrets Manager and Finch in one TLS server on 127.0.0.1, as far as one connection needs them.

It answers as they do and remembers what it was asked, so that each subject can be shown to do its work.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LINK_KEY = {"kid": "1", "key": "k" * 64}
CLIENT_SECRET = {"client_secret": "secret-of-the-bench"}
CONNECTION_ID = "3f0c9f3e-0000-4000-8000-000000000001"

# A started flow as `connect` writes it; the peers write and read the same names.
ROW = {
    "status": {"S": "started"},
    "state_hash": {"S": "0" * 64},
    "mode": {"S": "static"},
    "customer_id": {"S": "acme"},
    "redirect_uri": {"S": "https://connect.example.com/callback"},
    "started_at": {"N": "1800000000000"},
    "deadline": {"N": "4000000000000"},
    "expires": {"N": "4000000000"},
    "products": {"L": [{"S": "company"}, {"S": "directory"}]},
    "return_url": {"S": "https://app.example.com/hr/done"},
    "nonce": {"S": "n-1"},
    "due": {"S": "flow"},
    "due_at": {"N": "4000000000000"},
}
TOKEN = {
    "access_token": "bench-token",
    "client_type": "production",
    "connection_id": CONNECTION_ID,
    "connection_type": "provider",
    "connection_ids": [CONNECTION_ID],
    "customer_id": None,
    "entity_ids": ["e-1"],
    "products": ["company", "directory"],
    "provider_id": "gusto",
    "token_type": "bearer",
    "account_id": "a-1",
    "company_id": "c-1",
}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a process that was ended leaves its connections broken."""


class FakeServices:
    """The server. `calls` has the operations since the last `forget()`, in order: `PutItem`, `POST /auth/token`, …

    `asked` has the headers of those that went to AWS.
    """

    def __init__(self, folder: Path) -> None:
        authority = _certificates(folder)
        self.authority = folder / "authority.pem"
        self.full_bundle = folder / "full-bundle.pem"
        self.full_bundle.write_bytes(Path(certifi.where()).read_bytes() + authority)
        self.calls: list[str] = []
        self.asked: list[Mapping[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self.calls, self.asked))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        # The handshake belongs into the connection's own thread, not into the one that accepts.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def forget(self) -> None:
        """Forget what was asked."""
        self.calls.clear()
        self.asked.clear()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fake_services(folder: Path) -> Iterator[FakeServices]:
    """Serve while the block runs; certificates go into `folder`."""
    server = FakeServices(folder)
    try:
        yield server
    finally:
        server.close()


def _handler(calls: list[str], asked: list[Mapping[str, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet, else each answer waits for a delayed ACK

        def do_POST(self) -> None:  # http.server's name
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            calls.append(operation or f"POST {self.path}")
            if operation:
                asked.append(dict(self.headers))
            content = _aws(operation, json.loads(body)) if operation else TOKEN
            answer = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.1" if operation else "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Finch-Request-Id", "request-of-the-bench")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
            """Say nothing."""

    return Handler


def _aws(operation: str, asked: dict[str, Any]) -> dict[str, Any]:
    match operation:
        case "UpdateItem":
            return _updated(asked)
        case "GetSecretValue":
            content = LINK_KEY if "link-key" in asked["SecretId"] else CLIENT_SECRET
            return {"ARN": asked["SecretId"], "Name": "n", "VersionId": "v", "SecretString": json.dumps(content)}
        case "CreateSecret":
            return {"ARN": f"arn:aws:secretsmanager:eu-central-1:000000000000:secret:{asked['Name']}", "VersionId": "v"}
    return {}


def _updated(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the row as an update leaves it; nothing for what was before (a connection is new each time)."""
    if asked.get("ReturnValues") != "ALL_NEW":
        return {}
    values = asked.get("ExpressionAttributeValues", {})
    changed = {name.removeprefix(":set_"): value for name, value in values.items() if name.startswith(":set_")}
    known = {"state_hash": values[":state_hash"]} if ":state_hash" in values else {}
    return {"Attributes": {**ROW, **asked["Key"], **known, **changed}}


def _certificates(folder: Path) -> bytes:
    """Write a throw-away authority and a server certificate for localhost; return the authority's."""
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of the benchmark")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])

    def builder(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public_key)
        return made.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)

    authority = builder(ca_name, ca_key.public_key())
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    authority = authority.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    signed_authority = authority.add_extension(usage, critical=True).sign(ca_key, hashes.SHA256())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = builder(name, key.public_key()).add_extension(names, critical=False)
    server = server.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    signed = server.sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(private + signed.public_bytes(pem))
    (folder / "authority.pem").write_bytes(signed_authority.public_bytes(pem))
    return signed_authority.public_bytes(pem)
