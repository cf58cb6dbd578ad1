"""Measured cold starts: `make cold-starts` reads them from a deployed stack's logs.

Lambda writes a REPORT line for each invocation. For a cold start, the line has an init duration. With snapshots, it has
a restore duration in its text instead. The time to first response is either one plus the duration of the invocation
(AWS: Monitoring for Lambda SnapStart).
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import boto3

from cli.cloudformation import add_stack_arguments, exit_code_of, resources_of
from cli.logs_insights import run_query

FUNCTIONS = ("Connect", "Callback", "Relay", "Sweeper")
QUERY = (
    'filter @type = "REPORT" and (ispresent(@initDuration) or @message like /Restore Duration/) '
    "| parse @message /Restore Duration: (?<restoreDuration>[0-9.]+) ms/ "
    "| fields coalesce(@initDuration, restoreDuration) as began, @duration, @maxMemoryUsed, @memorySize | limit 10000"
)
_NEEDS = "cloudformation:DescribeStackResources, logs:StartQuery and logs:GetQueryResults"


def summary(function: str, rows: Sequence[dict[str, float]]) -> str:
    """Return one line: the number of cold starts, init or restore and first response in milliseconds, and memory."""
    if not rows:
        return f"{function:10} no cold starts in this period"
    init = sorted(row["began"] for row in rows)
    first = sorted(row["began"] + row["@duration"] for row in rows)
    used = max(row["@maxMemoryUsed"] for row in rows) / 1e6
    p95 = first[min(len(first) - 1, round(0.95 * (len(first) - 1)))]
    return (
        f"{function:10} {len(rows):5} cold starts   init or restore p50 {statistics.median(init):7.1f} ms   "
        f"to first response p50 {statistics.median(first):7.1f} ms, p95 {p95:7.1f} ms   "
        f"memory {used:.0f} of {rows[0]['@memorySize'] / 1e6:.0f} MB"
    )


def cold_starts(
    logs: Any, log_group: str, hours: int, *, sleep: Callable[[float], None] = time.sleep
) -> list[dict[str, float]]:
    """Query Logs Insights for the REPORT lines of cold starts. Raises DeployedError when the query does not finish."""
    rows = run_query(logs, [log_group], QUERY, hours, sleep=sleep)
    number = re.compile(r"[0-9.]+")
    return [{name: float(text) for name, text in row.items() if number.fullmatch(text)} for row in rows]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per function and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cli.cold_starts", description="Print measured cold starts, from the logs."
    )
    parser.add_argument("--hours", type=int, default=24)
    add_stack_arguments(parser)
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _print(given), given.stack, _NEEDS)


def _print(given: argparse.Namespace) -> None:
    session = boto3.Session(region_name=given.region)
    names = resources_of(session, given.stack)
    for function in FUNCTIONS:
        print(summary(function, cold_starts(session.client("logs"), names[f"{function}Logs"], given.hours)))


if __name__ == "__main__":
    sys.exit(main())
