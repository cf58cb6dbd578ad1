"""The one deadline of a request."""

from __future__ import annotations

import pytest

from finch_connect.flow.deadline import ANSWER_SECONDS, RequestDeadline, seconds_of


class Context:
    """Lambda's context with ten seconds left."""

    def get_remaining_time_in_millis(self) -> int:
        return 10_000


def test_what_lambda_leaves_is_used_but_for_the_answer() -> None:
    """And never more than our own budget."""
    assert seconds_of(Context()) == 10 - ANSWER_SECONDS
    assert seconds_of(Context(), at_most=3) == 3


def test_time_passes_and_each_request_begins_anew() -> None:
    """A container that was frozen for an hour is not late."""
    now = [100.0]
    deadline = RequestDeadline(lambda: now[0])
    deadline.begin(5)
    now[0] += 3
    assert deadline.remaining() == 2
    now[0] += 3600
    deadline.begin(5)
    assert deadline.remaining() == 5


def test_what_is_kept_is_kept_within_the_block_alone() -> None:
    """Also when the block ends in an error, and within another one."""
    deadline = RequestDeadline(lambda: 0.0)
    deadline.begin(10)
    with deadline.reserving(3):
        with pytest.raises(RuntimeError, match="a mistake"), deadline.reserving(2):
            raise RuntimeError(f"a mistake with {deadline.remaining()} s left")
        assert deadline.remaining() == 7
    assert deadline.remaining() == 10
