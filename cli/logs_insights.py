"""Run queries in CloudWatch Logs Insights."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli.cloudformation import DeployedError
from cli.waiting import wait_for

TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.5
_UNFINISHED = {"Scheduled", "Running", "Unknown"}


def run_query(
    logs: Any, groups: Sequence[str], text: str, hours: float, *, sleep: Callable[[float], None] = time.sleep
) -> Sequence[Mapping[str, str]]:
    """Run one query over the last `hours` and return its rows, each as values by field name.

    Raises DeployedError when the query takes too long or ends without a result. So an empty list always means that
    nothing was found (AWS: GetQueryResults).
    """
    now = int(time.time())
    query = logs.start_query(
        logGroupNames=list(groups), startTime=now - int(hours * 3600), endTime=now + 1, queryString=text
    )

    def finished() -> Mapping[str, Any] | None:
        answer: Mapping[str, Any] = logs.get_query_results(queryId=query["queryId"])
        return None if answer["status"] in _UNFINISHED else answer

    try:
        answer = wait_for(finished, timeout=TIMEOUT_SECONDS, interval=_POLL_SECONDS, sleep=sleep)
    except TimeoutError:
        raise DeployedError(
            f"Logs Insights did not finish the query of {', '.join(groups)} within {TIMEOUT_SECONDS:g} s. "
            "Use fewer hours, such as HOURS=2."
        ) from None
    if answer["status"] != "Complete":
        raise DeployedError(
            f"Logs Insights did not finish the query of {', '.join(groups)} ({answer['status']}). "
            "Run the command again. If it fails again, use fewer hours, such as HOURS=2."
        )
    return [{field["field"]: field["value"] for field in row if field["field"] != "@ptr"} for row in answer["results"]]
