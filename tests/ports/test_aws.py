"""AWS clients share the request's deadline: no attempt and no wait before one goes past it."""

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
    """Stands at DynamoDB's address: answers with `status` and `code` after `seconds`, and counts what came."""

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
                """Say nothing."""

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
    """An AWS service that does as it is told."""
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
    """Read a row; return why it could not be, empty if it could."""
    client = aws.clients(deadline, CALL_TIMEOUT)("dynamodb")
    try:
        with translated("GetItem"):
            client.get_item(TableName="flows", Key={"id": {"S": "x"}})
    except ServiceUnavailableError as error:
        return error.reason
    return ""


def test_a_call_within_the_deadline_is_made(service: Service) -> None:
    """Once."""
    assert call(FakeDeadline(5)) == ""
    assert service.attempts == 1


def test_a_call_that_no_longer_fits_is_not_begun(service: Service) -> None:
    """The caller goes on to what comes next, such as the fallback."""
    assert call(FakeDeadline(CALL_TIMEOUT / 2)) == "no_time_left"
    assert service.attempts == 0


@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "InternalServerError"), (503, ""), (400, "ThrottlingException"),
     (400, "ProvisionedThroughputExceededException")],
)  # fmt: skip
def test_what_may_pass_is_tried_again_while_there_is_time(service: Service, status: int, code: str) -> None:
    """botocore's own retries: three attempts in all."""
    service.status, service.code = status, code
    assert call(FakeDeadline(60)) == "aws_refused"
    assert service.attempts == 3


@pytest.mark.parametrize(("status", "code"), [(500, "InternalServerError"), (400, "ThrottlingException")])
def test_a_retry_that_could_go_past_the_deadline_is_not_waited_for(service: Service, status: int, code: str) -> None:
    """The wait may be a second, and another attempt follows it."""
    service.status, service.code = status, code
    assert call(FakeDeadline(1.0)) == "aws_refused"
    assert service.attempts == 1


def test_a_service_that_hangs_is_left_after_the_calls_timeout(service: Service) -> None:
    """Each attempt ends by itself, and none follows past the deadline."""
    service.seconds = 2
    assert call(FakeDeadline(1.0)) == "aws_unreachable"
    assert service.attempts == 1


def test_a_definite_no_is_handed_on_however_late_it_is(service: Service) -> None:
    """A failed condition is an answer, not a failure: the deadline does not turn it into one."""
    service.status, service.code = 400, "ConditionalCheckFailedException"
    assert call(FakeDeadline(CALL_TIMEOUT)) == "aws_refused"
    assert service.attempts == 1


def test_an_answer_without_what_it_must_have_is_no_answer() -> None:
    """One that was cut off: botocore hands on what there is."""
    with pytest.raises(ServiceUnavailableError, match="aws_unreadable"), translated("GetItem"):
        raise KeyError("Item")
