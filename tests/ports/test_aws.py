"""AWS clients share the request's deadline. No attempt, and no wait before an attempt, passes it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from finch_connect.adapters import aws
from finch_connect.adapters.aws import translated
from finch_connect.domain.errors import ServiceUnavailableError
from tests.fakes import FakeDeadline

CALL_TIMEOUT = 0.3


class Service:
    """A fake DynamoDB endpoint. It answers with `status` and `code` after `seconds`, and counts the attempts."""

    def __init__(self) -> None:
        self.status, self.code, self.seconds, self.attempts = 200, "", 0.0, 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # http.server's name
                service.attempts += 1
                self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(service.seconds)
                body = json.dumps({"__type": f"com.amazonaws#{service.code}"} if service.code else {}).encode()
                self.send_response(service.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[Service]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()
        thread.join()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """An AWS service whose answers a test sets."""
    with Service().serving() as running:
        for name, value in [
            ("ENDPOINT_URL", running.url),
            ("DEFAULT_REGION", "eu-central-1"),
            ("ACCESS_KEY_ID", "x"),
            ("SECRET_ACCESS_KEY", "x"),
        ]:
            monkeypatch.setenv(f"AWS_{name}", value)
        yield running


def call(deadline: FakeDeadline) -> str:
    """Read a row. Return the reason if that failed, otherwise an empty text."""
    client = aws.clients(deadline, CALL_TIMEOUT)("dynamodb")
    try:
        with translated("GetItem"):
            client.get_item(TableName="flows", Key={"id": {"S": "x"}})
    except ServiceUnavailableError as error:
        return error.reason
    return ""


def test_a_call_within_the_deadline_is_made(service: Service) -> None:
    """The call is made once."""
    assert call(FakeDeadline(5)) == ""
    assert service.attempts == 1


def test_a_call_that_no_longer_fits_is_not_made(service: Service) -> None:
    """The caller continues with its next step, such as the fallback."""
    assert call(FakeDeadline(CALL_TIMEOUT / 2)) == "no_time_left"
    assert service.attempts == 0


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalServerError"), (503, ""), (400, "ThrottlingException"),
     (400, "ProvisionedThroughputExceededException")],
)  # fmt: skip
def test_a_temporary_error_is_retried_while_there_is_time(service: Service, status: int, code: str) -> None:
    """botocore makes three attempts in total."""
    service.status, service.code = status, code
    assert call(FakeDeadline(60)) == "aws_refused"
    assert service.attempts == 3


@pytest.mark.parametrize(("status", "code"), [(500, "InternalServerError"), (400, "ThrottlingException")])
def test_a_retry_that_could_pass_the_deadline_is_not_waited_for(service: Service, status: int, code: str) -> None:
    """The wait may take a second, and another attempt follows it."""
    service.status, service.code = status, code
    assert call(FakeDeadline(1.0)) == "aws_refused"
    assert service.attempts == 1


def test_a_call_to_a_service_that_hangs_ends_with_its_timeout(service: Service) -> None:
    """Each attempt has a timeout, and no attempt follows past the deadline."""
    service.seconds = 2
    assert call(FakeDeadline(1.0)) == "aws_unreachable"
    assert service.attempts == 1


def test_a_definite_refusal_is_passed_on_however_late_it_is(service: Service) -> None:
    """A failed condition is an answer. The deadline does not turn it into a timeout."""
    service.status, service.code = 400, "ConditionalCheckFailedException"
    assert call(FakeDeadline(CALL_TIMEOUT)) == "aws_refused"
    assert service.attempts == 1


def test_an_answer_without_a_required_field_is_unreadable() -> None:
    """botocore returns an answer that was cut off as it is."""
    with pytest.raises(ServiceUnavailableError, match="aws_unreadable"), translated("GetItem"):
        raise KeyError("Item")
