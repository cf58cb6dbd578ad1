"""The runbook's queries and the alarms ask for what functions really log: over a stack to which all of it happened."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from cli.look import FLOW_HEADING, queries
from finch_connect.observability import MEASURED, NAMESPACE
from local.engine import RunningStack
from tests.cli.conftest import OPERATED_STAGE, Logged
from tests.cli.logs_insights_parser import OWN_FIELDS, parse
from tests.cli.test_runbook import ALARMS, METRICS, QUERIES, RESOURCES, SHIPPED, TEXT

AWS_METRICS = {
    ("AWS/Lambda", "Errors"): "FunctionName",
    ("AWS/Lambda", "Throttles"): "FunctionName",
    ("AWS/Lambda", "IteratorAge"): "FunctionName",
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "QueueName",
    ("AWS/ApiGateway", "5xx"): "ApiId",
}
"""AWS's own metrics that alarms use, with their one dimension (AWS: the services' pages on CloudWatch metrics)."""

ACCESS_LOG_FIELDS = set(json.loads(RESOURCES["HttpApi"]["Properties"]["AccessLogSettings"]["Format"]))
"""API Gateway writes that log, on AWS; its fields are the template's."""


@pytest.mark.parametrize(("anchor", "query"), QUERIES)
def test_each_query_names_fields_that_the_logs_have(logged: Logged, anchor: str, query: Any) -> None:
    """In the log groups that it reads; or fields that Logs Insights finds everywhere."""
    there = ACCESS_LOG_FIELDS if query.groups == ("AccessLogs",) else logged.fields(query.groups)
    assert parse(query.text).reads - there - OWN_FIELDS == set()


@pytest.mark.parametrize(("anchor", "query"), [(a, q) for a, q in QUERIES if q.groups != ("AccessLogs",)])
def test_each_query_looks_for_what_has_been_logged(logged: Logged, anchor: str, query: Any) -> None:
    """Each text that it compares a field with was once in that field: a word that changed in the code is noticed."""
    for name, text in parse(query.text).compares - {("flow_id", "<flow_id>")}:
        assert text in logged.values(query.groups, name), name


@pytest.mark.parametrize("alarm", ALARMS)
def test_each_alarm_waits_for_a_metric_that_there_is(logged: Logged, operated_stack: RunningStack, alarm: str) -> None:
    """With exactly the dimensions under which it is emitted: CloudWatch takes others for another metric."""
    deployed = operated_stack.client("cloudwatch").describe_alarms(AlarmNames=[name_of(alarm, operated_stack)])
    (configured,) = deployed["MetricAlarms"]
    dimensions = frozenset((one["Name"], one["Value"]) for one in configured["Dimensions"])
    if configured["Namespace"] == NAMESPACE:
        assert dimensions in logged.metrics()[configured["MetricName"]]
    else:
        (dimension,) = ALARMS[alarm]["Dimensions"]
        assert AWS_METRICS[configured["Namespace"], configured["MetricName"]] == dimension["Name"]
        ours = {physical.rpartition("/")[2] for physical in operated_stack.deployed.resources.values()}
        assert {value for _, value in dimensions} <= ours


def name_of(alarm: str, stack: RunningStack) -> str:
    """Return an alarm's name in a deployment."""
    return str(ALARMS[alarm]["AlarmName"]["Fn::Sub"]).replace("${Stage}", stack.deployed.stage)


def test_what_is_emitted_is_what_is_documented(logged: Logged) -> None:
    """No metric beside those of the table, and none in it that nobody emits."""
    assert logged.metrics().keys() == METRICS


def test_what_is_measured_is_in_milliseconds_and_all_else_is_counted(logged: Logged) -> None:
    """The alarms' thresholds mean these units."""
    path = "_aws.CloudWatchMetrics.0.Metrics.0"
    units = {(line[f"{path}.Name"], line[f"{path}.Unit"]) for line in logged.emitted()}
    assert units == {(name, "Milliseconds" if name in MEASURED else "Count") for name in METRICS}


def test_a_reason_is_a_word_of_the_source_code(logged: Logged) -> None:
    """So there are few of them, and none holds what came from outside; what has a reason is also counted without."""
    words = {word for path in SHIPPED for word in re.findall(r'"([a-z_]+)"', path.read_text())}
    reasons = 0
    for sets in logged.metrics().values():
        for dimensions in map(dict, sets):
            assert dimensions.keys() in ({"service"}, {"service", "reason"})
            reasons += "reason" in dimensions
            word = dimensions.get("reason", "access_denied")
            assert {word, word.removeprefix("link_"), word.removeprefix("receipt_")} & words, word
        assert any(set(dict(dimensions)) == {"service"} for dimensions in sets)
    assert reasons > 5


def test_the_table_says_which_metrics_have_reasons(logged: Logged) -> None:
    """As they were emitted."""
    rows: Mapping[str, str] = dict(re.findall(r"^\| `(\w+)` \| [a-z, ]+ \| ([^|]*) \|", TEXT, re.MULTILINE))
    for name, sets in logged.metrics().items():
        with_reason = any("reason" in dict(dimensions) for dimensions in sets)
        assert not with_reason or rows[name], name


def test_an_outcome_is_counted_once_however_often_its_callback_is_opened(logged: Logged) -> None:
    """The second time is counted as such. Only this stack's are looked at: other tests use the other one."""
    lines = [line for line in logged.lines["CallbackLogs"] if line.get("service") == f"finch-connect-{OPERATED_STAGE}"]
    connected = [line for line in lines if line.get("status") == "connected"]
    assert len(connected) == len({line["flow_id"] for line in connected}) + 1
    counted = sum(line.get("Connected.0", 0) for line in lines)
    assert counted == len(connected) - 1
    assert sum(line.get("AnswerRepeated.0", 0) for line in lines) == 1


def test_the_query_for_one_flow_reads_every_function(logged: Logged) -> None:
    """From its link to its event; each of them logs the flow's id."""
    (query,) = queries(TEXT)[FLOW_HEADING]
    assert set(query.groups) == {"ConnectLogs", "CallbackLogs", "RelayLogs", "SweeperLogs"}
    for group in ("ConnectLogs", "CallbackLogs", "RelayLogs"):
        assert "flow_id" in logged.fields([group])
