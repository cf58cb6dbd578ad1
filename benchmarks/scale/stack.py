"""Capacity settings read from the template: throttles, memory, timeouts, relay batches and monitoring."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
FUNCTIONS = ("connect", "callback", "relay", "sweeper")
_CONTEXT_VALUE_CHARACTERS = 16
"""Approximate length of a `$context` value in the access log, such as an address, a time or a route."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What the model needs of the deployed stack. Rates are per second, memory is in GB, times are in seconds."""

    connect_rate: float
    callback_rate: float
    memory: Mapping[str, float]
    timeout: Mapping[str, float]
    batch: int
    parallel: int
    sweep_every: float
    routes: int
    log_days: int
    access_log_bytes: int
    alarms: int
    dashboards: int


def read(template: Path = TEMPLATE) -> Stack:
    """Read the template, with the default of each parameter."""
    content: dict[str, Any] = yaml_parse(template.read_text())
    parameters, resources = content["Parameters"], content["Resources"]
    functions = {name: resources[f"{name.capitalize()}Function"]["Properties"] for name in FUNCTIONS}
    stream = functions["relay"]["Events"]["Outcomes"]["Properties"]
    events = [event for one in functions.values() for event in one["Events"].values()]
    (minutes,) = re.findall(r"rate\((\d+) minutes\)", functions["sweeper"]["Events"]["Often"]["Properties"]["Schedule"])
    access_log = str(resources["HttpApi"]["Properties"]["AccessLogSettings"]["Format"])
    kinds = [resource["Type"] for resource in resources.values()]
    return Stack(
        connect_rate=parameters["ConnectRateLimit"]["Default"],
        callback_rate=parameters["CallbackRateLimit"]["Default"],
        memory={name: one["MemorySize"] / 1024 for name, one in functions.items()},
        timeout={name: one["Timeout"] for name, one in functions.items()},
        batch=stream["BatchSize"],
        parallel=stream.get("ParallelizationFactor", 1),
        sweep_every=int(minutes) * 60,
        routes=sum(event["Type"] == "HttpApi" for event in events),
        log_days=parameters["LogRetentionDays"]["Default"],
        access_log_bytes=len(re.sub(r"\$context[.\w]*", "x" * _CONTEXT_VALUE_CHARACTERS, access_log)),
        alarms=sum(_metrics_of(one) for one in resources.values() if one["Type"] == "AWS::CloudWatch::Alarm"),
        dashboards=kinds.count("AWS::CloudWatch::Dashboard"),
    )


def _metrics_of(alarm: Mapping[str, Any]) -> int:
    """Return the metrics that an alarm watches, each of which is charged as one alarm (AWS: CloudWatch pricing)."""
    return sum("MetricStat" in one for one in alarm["Properties"].get("Metrics", ())) or 1
