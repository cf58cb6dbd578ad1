"""Every answer of Finch to the exchange, and Finch unreachable."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from local.engine.supervised import free_port
from local.simulator import Fault
from tests.faults.answers import ANSWERS, Answer
from tests.faults.conftest import Runner
from tests.faults.harness import Harness
from tests.faults.scenarios import EXPECTED, completed, in_time, row_summary


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case.name.replace(" ", "_"))
def test_26_each_answer_of_finch_has_its_outcome(case: Answer, runner: Runner) -> None:
    """Each answer has its outcome in time; the code is sent again only if Finch did not process it (429, 503)."""
    assert runner.result(case) == case.expected


@pytest.fixture(params=["untrusted", "no TLS", "closed"])
def unreachable(request: pytest.FixtureRequest, harness: Harness, tmp_path: Path) -> Iterator[str]:
    """A URL for Finch to which no byte of a code may be sent."""
    match request.param:
        case "untrusted":
            with _untrusted_server(tmp_path) as port:
                yield f"https://localhost:{port}"
        case "no TLS":
            yield harness.finch.url.replace("http:", "https:")
        case _:
            yield f"http://localhost:{free_port()}"


def test_26_no_code_is_sent_when_finch_is_unreachable_or_untrusted(harness: Harness, unreachable: str) -> None:
    """An untrusted certificate, a port without TLS or a closed port: the claim is released."""
    person = harness.person()
    callback = person.approved()
    with _finch_at(unreachable, harness):
        page = in_time(lambda: person.come_back(callback))
        row = row_summary(person)
        assert person.exchanges == 0
    assert completed(person, person.answer_of(page), row, callback) == EXPECTED["callback"]["try again"]


@pytest.mark.parametrize("kind", ["error", "reset_after", "html"])
def test_26_a_token_that_cannot_be_introspected_is_quarantined(harness: Harness, kind: str) -> None:
    """Finch answers with only a token and introspection fails: the connection is unknown, but the token is not lost."""
    person = harness.person()
    callback = person.approved()
    harness.finch.faults.add(Fault("bare", code=person.codes[-1]))
    harness.finch.faults.add(Fault(kind, path="/introspect"))
    page = in_time(lambda: person.come_back(callback))
    harness.finch.faults.clear()
    assert person.answer_of(page) == "quarantined"
    assert row_summary(person) == "quarantined connection_unknown"
    person.wait_until_finished()
    assert len(person.tokens(f"finch/{harness.name}/quarantine/{person.flow_id}")) == 1
    assert harness.published(person) == ("quarantined",)
    assert person.exchanges == 1


@contextmanager
def _finch_at(url: str, harness: Harness) -> Iterator[None]:
    """Point the callback at another URL for Finch within the context."""
    try:
        harness.reconfigure(["CallbackFunction"], FINCH_API_URL=url)
        yield
    finally:
        harness.reconfigure(["CallbackFunction"], FINCH_API_URL=harness.finch.url)


@contextmanager
def _untrusted_server(folder: Path) -> Iterator[int]:
    """Serve TLS with an untrusted certificate; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate(folder))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_shake_hands, args=(listening, context), daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def _shake_hands(listening: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # closed at the end of the test
            return
        with connection:
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    assert secured.recv(1) == b"", "nothing may be sent to an untrusted server"
            except OSError:  # the client refuses the certificate
                continue


def _certificate(folder: Path) -> Path:
    """Write a self-signed certificate for localhost and its key into one file; return its path."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "untrusted.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return pem
