"""What the running stack tells about itself is all there is."""

from __future__ import annotations

import time

from local.engine import RunningStack

LINES, BATCH = 12_000, 4_000


def test_a_log_of_many_lines_is_read_to_its_end(static_stack: RunningStack) -> None:
    """The emulator's page holds ten thousand; what is searched for in logs must be searched for in all of them."""
    logs, group = static_stack.client("logs"), static_stack.deployed.resources["SweeperLogs"]
    logs.create_log_stream(logGroupName=group, logStreamName="many")
    now = int(time.time() * 1000)
    for start in range(0, LINES, BATCH):
        # Several of one millisecond, as functions write them.
        batch = [{"timestamp": now + (start + line) // 7, "message": f"line {start + line}"} for line in range(BATCH)]
        logs.put_log_events(logGroupName=group, logStreamName="many", logEvents=batch)
    found = [line for line in static_stack.logs("SweeperFunction") if line.startswith("line ")]
    assert found == [f"line {line}" for line in range(LINES)]
