"""The one deadline of a request."""

from __future__ import annotations

import pytest

from finch_connect.flow.deadline import ANSWER_SECONDS, RequestDeadline, seconds_of


class Context:
    """Lambda's context with ten seconds left."""

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


def test_the_calls_may_use_what_lambda_leaves_except_the_time_for_the_answer() -> None:
    """They never have more than the configured budget."""
    assert seconds_of(Context()) == 10 - ANSWER_SECONDS
    assert seconds_of(Context(), at_most=3) == 3


def test_each_request_has_its_full_time() -> None:
    """A container that was frozen for an hour is not late."""
    now = [100.0]
    deadline = RequestDeadline(lambda: now[0])
    deadline.begin(5)
    now[0] += 3
    assert deadline.remaining() == 2
    now[0] += 3600
    deadline.begin(5)
    assert deadline.remaining() == 5


def test_time_is_reserved_within_the_block_only() -> None:
    """Reservations can be nested, and an error in the block ends them as well."""
    deadline = RequestDeadline(lambda: 0.0)
    deadline.begin(10)
    with deadline.reserving(3):
        with pytest.raises(RuntimeError, match=r"5\.0 s left"), deadline.reserving(2):
            raise RuntimeError(f"{deadline.remaining()} s left")
        assert deadline.remaining() == 7
    assert deadline.remaining() == 10
