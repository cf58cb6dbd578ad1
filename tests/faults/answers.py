"""Finch's answers to the exchange, as data, with their outcomes. A code is sent again only after 429 or 503."""

from __future__ import annotations

from dataclasses import dataclass, replace

from local.simulator import Fault
from tests.faults.harness import SLOW_SECONDS, Harness
from tests.faults.scenarios import CONNECTED, Result, completed, in_time, row_summary


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to the exchange of one code, and the expected result."""

    name: str
    fault: Fault
    expected: Result
    needs_person = True
    exclusive = False
    session = False

    def run(self, harness: Harness) -> Result:
        """Connect one person, and have Finch give this answer once."""
        person = harness.person()
        callback = person.approved()
        harness.finch.faults.add(replace(self.fault, code=person.codes[-1]))
        page = in_time(lambda: person.come_back(callback))
        return completed(person, person.answer_of(page), row_summary(person), callback)


def _failed(reason: str) -> Result:
    """Return the result when Finch certainly refused the code."""
    return Result("failed", f"failed {reason}", "failed", 2, 1, ("failed", "connected"))


def _orphaned(reason: str) -> Result:
    """Return the result when Finch may have a connection whose token nobody has."""
    return Result("orphaned", f"orphaned {reason}", "orphaned", 2, 1, ("orphaned", "connected"))


_SENT_AGAIN = replace(CONNECTED, exchanges=2)
_LIMITS = ("finch_application_rl", "finch_api_ip_rl", "finch_auth_ip_rl", "upstream_rate_limit_exceeded")


def _error(status: int, name: str = "server_error", **more: object) -> Fault:
    return Fault("error", status=status, name=name, **more)  # type: ignore[arg-type]  # mypy cannot follow ** here


ANSWERS = (
    Answer("400", _error(400, "invalid_grant_error"), _failed("invalid_grant")),
    Answer("401 invalid_client_error", _error(401, "invalid_client_error"), _failed("invalid_client")),
    Answer("401 invalid_request_error", _error(401, "invalid_request_error"), _failed("invalid_request")),
    Answer("402", _error(402, "payment_required_error"), _failed("payment_required")),
    Answer("408", _error(408, "client_connection_closed_error"), _failed("client_connection_closed")),
    *(
        Answer(f"429 {limit}", _error(429, "rate_limit_exceeded_error", finch_code=limit), _SENT_AGAIN)
        for limit in _LIMITS
    ),
    Answer(
        "429, retry after an hour", _error(429, "rate_limit_exceeded_error", retry_after=3600), _failed("rate_limited")
    ),
    Answer("500", _error(500), _orphaned("server_error")),
    Answer("500 after the exchange", _error(500, processed=True), _orphaned("server_error")),
    Answer("502", _error(502), _orphaned("server_error")),
    Answer("502 in HTML", Fault("html", status=502), _orphaned("server_error")),
    Answer("503", _error(503), _SENT_AGAIN),
    Answer("503, retry after an hour", _error(503, retry_after=3600), _failed("finch_unavailable")),
    Answer("307", Fault("redirect"), _orphaned("unexpected_status")),
    Answer("200 in HTML", Fault("html", status=200), _orphaned("answer_without_token")),
    Answer("truncated JSON", Fault("broken_json"), _orphaned("answer_without_token")),
    Answer("no token", Fault("answer", answer={"access_token": None}), _orphaned("answer_without_token")),
    Answer("201 with a token", Fault("status", status=201), CONNECTED),
    Answer("only a token", Fault("bare"), CONNECTED),
    Answer("5 MB", Fault("huge"), _orphaned("answer_too_large")),
    Answer("a byte per second", Fault("drip"), _orphaned("exchange_timeout")),
    Answer("a byte per second in a header", Fault("drip_header"), _orphaned("exchange_timeout")),
    Answer("no answer in time", Fault("delay", seconds=SLOW_SECONDS), _orphaned("exchange_timeout")),
    Answer("reset before the exchange", Fault("reset_before"), _orphaned("exchange_interrupted")),
    Answer("reset after the exchange", Fault("reset_after"), _orphaned("exchange_interrupted")),
)
"""The answers of row 26 to a code that was sent. test_finch.py has those that prevent sending it."""
