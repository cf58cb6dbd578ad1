"""DynamoDB, Secrets Manager and Finch in one TLS server on 127.0.0.1, as far as one connection needs them.

It responds as they do and records the requests, so that the benchmark can check that each subject does its work.
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

# A started flow as `connect` writes it. The peers write and read the same names.
ROW = {
    "status": {"S": "started"},
    "state_hash": {"S": "0" * 64},
    "mode": {"S": "static"},
    "customer_id": {"S": "acme"},
    "redirect_uri": {"S": "https://connect.example.com/callback"},
    "started_at": {"N": "1800000000000"},
    "deadline": {"N": "4000000000000"},
    "kept_until": {"N": "4000000000"},
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
        """Ignore errors, because a killed process leaves broken connections."""


class FakeServices:
    """The server. `calls` lists the operations since the last `clear()`, such as `PutItem` or `POST /auth/token`.

    `aws_headers` lists the headers of the AWS requests.
    """

    def __init__(self, folder: Path) -> None:
        authority = _certificates(folder)
        self.authority = folder / "authority.pem"
        self.full_bundle = folder / "full-bundle.pem"
        self.full_bundle.write_bytes(Path(certifi.where()).read_bytes() + authority)
        self.calls: list[str] = []
        self.aws_headers: list[Mapping[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self.calls, self.aws_headers))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        # The handshake runs in the connection's thread, not in the thread that accepts connections.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def clear(self) -> None:
        """Discard the recorded requests."""
        self.calls.clear()
        self.aws_headers.clear()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def fake_services(folder: Path) -> Iterator[FakeServices]:
    """Serve while the block runs. Certificates are written to `folder`."""
    server = FakeServices(folder)
    try:
        yield server
    finally:
        server.close()


def _handler(calls: list[str], aws_headers: list[Mapping[str, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet, otherwise each response waits for a delayed ACK

        def do_POST(self) -> None:  # http.server's name
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            calls.append(operation or f"POST {self.path}")
            if operation:
                aws_headers.append(dict(self.headers))
            content = _aws(operation, json.loads(body)) if operation else TOKEN
            response = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.1" if operation else "application/json")
            self.send_header("Content-Length", str(len(response)))
            self.send_header("Finch-Request-Id", "request-of-the-bench")
            self.end_headers()
            self.wfile.write(response)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
            """Log nothing."""

    return Handler


def _aws(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    match operation:
        case "UpdateItem":
            return _updated(request)
        case "GetSecretValue":
            content = LINK_KEY if "link-key" in request["SecretId"] else CLIENT_SECRET
            return {"ARN": request["SecretId"], "Name": "n", "VersionId": "v", "SecretString": json.dumps(content)}
        case "CreateSecret":
            return {
                "ARN": f"arn:aws:secretsmanager:eu-central-1:000000000000:secret:{request['Name']}",
                "VersionId": "v",
            }
    return {}


def _updated(request: dict[str, Any]) -> dict[str, Any]:
    """Return the row after an update. Old values are never returned, because a connection is new each time."""
    if request.get("ReturnValues") != "ALL_NEW":
        return {}
    values = request.get("ExpressionAttributeValues", {})
    changed = {name.removeprefix(":set_"): value for name, value in values.items() if name.startswith(":set_")}
    known = {"state_hash": values[":state_hash"]} if ":state_hash" in values else {}
    return {"Attributes": {**ROW, **request["Key"], **known, **changed}}


def _certificates(folder: Path) -> bytes:
    """Write a temporary authority and a server certificate for localhost. Return the authority as PEM."""
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
