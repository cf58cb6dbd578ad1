"""The running stack returns everything that its logs contain."""

from __future__ import annotations

import time

from local.engine import RunningStack

LINES, BATCH = 12_000, 4_000


def test_a_log_of_many_lines_is_read_to_its_end(static_stack: RunningStack) -> None:
    """The emulator returns ten thousand lines per page. A search for secrets in the logs must cover all pages."""
    logs, group = static_stack.client("logs"), static_stack.deployed.resources["SweeperLogs"]
    logs.create_log_stream(logGroupName=group, logStreamName="many")
    now = int(time.time() * 1000)
    for start in range(0, LINES, BATCH):
        # Seven lines per millisecond, because functions also write several in one.
        batch = [{"timestamp": now + (start + line) // 7, "message": f"line {start + line}"} for line in range(BATCH)]
        logs.put_log_events(logGroupName=group, logStreamName="many", logEvents=batch)
    found = [line for line in static_stack.logs("SweeperFunction") if line.startswith("line ")]
    assert found == [f"line {line}" for line in range(LINES)]
