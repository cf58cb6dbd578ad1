"""The runbook's queries and the alarms match what the functions log, on a stack that had every incident."""

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
from tests.cli.logs_insights_parser import BUILT_IN_FIELDS, parse
from tests.cli.test_runbook import ALARMS, METRICS, QUERIES, RESOURCES, SHIPPED, TEXT

AWS_METRICS = {
    ("AWS/Lambda", "Errors"): "FunctionName",
    ("AWS/Lambda", "Throttles"): "FunctionName",
    ("AWS/Lambda", "IteratorAge"): "FunctionName",
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "QueueName",
    ("AWS/ApiGateway", "5xx"): "ApiId",
}
"""The AWS metrics that alarms use, with their one dimension (AWS: the services' pages on CloudWatch metrics)."""

ACCESS_LOG_FIELDS = set(json.loads(RESOURCES["HttpApi"]["Properties"]["AccessLogSettings"]["Format"]))
"""The fields of the log that API Gateway writes on AWS, as the template defines them."""


@pytest.mark.parametrize(("anchor", "query"), QUERIES)
def test_each_query_names_fields_that_the_logs_have(logged: Logged, anchor: str, query: Any) -> None:
    """Each field is in the log groups that the query reads, or Logs Insights finds it in every line."""
    present = ACCESS_LOG_FIELDS if query.groups == ("AccessLogs",) else logged.fields(query.groups)
    assert parse(query.text).reads - present - BUILT_IN_FIELDS == set()


@pytest.mark.parametrize(("anchor", "query"), [(a, q) for a, q in QUERIES if q.groups != ("AccessLogs",)])
def test_each_query_compares_fields_with_logged_values(logged: Logged, anchor: str, query: Any) -> None:
    """Each text in a comparison was logged in that field, so a word that changed in the code is noticed."""
    for name, text in parse(query.text).compares - {("flow_id", "<flow_id>")}:
        assert text in logged.values(query.groups, name), name


@pytest.mark.parametrize("alarm", ALARMS)
def test_each_alarm_watches_a_metric_that_is_emitted(logged: Logged, operated_stack: RunningStack, alarm: str) -> None:
    """The dimensions are exactly the emitted ones, because CloudWatch treats others as another metric."""
    deployed = operated_stack.client("cloudwatch").describe_alarms(AlarmNames=[name_of(alarm, operated_stack)])
    (configured,) = deployed["MetricAlarms"]
    dimensions = frozenset((one["Name"], one["Value"]) for one in configured["Dimensions"])
    for metric in metrics_of(alarm):
        if metric["Namespace"] == NAMESPACE:
            wanted = {one["Name"] for one in metric["Dimensions"]}
            assert wanted in [{name for name, _ in found} for found in logged.metrics()[metric["MetricName"]]]
    if configured["Namespace"] == NAMESPACE:
        assert dimensions in logged.metrics()[configured["MetricName"]]
    else:
        (dimension,) = metrics_of(alarm)[0]["Dimensions"]
        assert AWS_METRICS[configured["Namespace"], configured["MetricName"]] == dimension["Name"]
        names = {physical.rpartition("/")[2] for physical in operated_stack.deployed.resources.values()}
        assert {value for _, value in dimensions} <= names


def metrics_of(alarm: str) -> list[Mapping[str, Any]]:
    """Return the metrics that an alarm watches: namespace, name and dimensions. One alarm calculates with two."""
    calculated = [one["MetricStat"]["Metric"] for one in ALARMS[alarm].get("Metrics", ()) if "MetricStat" in one]
    return calculated or [ALARMS[alarm]]


def name_of(alarm: str, stack: RunningStack) -> str:
    """Return an alarm's name in a deployment."""
    return str(ALARMS[alarm]["AlarmName"]["Fn::Sub"]).replace("${Stage}", stack.deployed.stage)


def test_the_emitted_metrics_are_the_documented_ones(logged: Logged) -> None:
    """No metric is missing from the table, and the table lists no other."""
    assert logged.metrics().keys() == METRICS


def test_measured_metrics_are_in_milliseconds_and_all_others_are_counts(logged: Logged) -> None:
    """The alarms' thresholds assume these units."""
    path = "_aws.CloudWatchMetrics.0.Metrics.0"
    units = {(line[f"{path}.Name"], line[f"{path}.Unit"]) for line in logged.emitted()}
    assert units == {(name, "Milliseconds" if name in MEASURED else "Count") for name in METRICS}


def test_a_reason_is_a_word_of_the_source_code(logged: Logged) -> None:
    """So reasons are few and contain no input from outside. Each metric is also counted without its reason."""
    words = {word for path in SHIPPED for word in re.findall(r'"([a-z_]+)"', path.read_text())}
    reasons = 0
    for sets in logged.metrics().values():
        for dimensions in map(dict, sets):
            assert dimensions.keys() in ({"service"}, {"service", "reason"})
            reasons += "reason" in dimensions
            word = dimensions.get("reason", "access_denied")
            assert {word, *(word.removeprefix(prefix) for prefix in ("link_", "receipt_", "already_"))} & words, word
        assert any(set(dict(dimensions)) == {"service"} for dimensions in sets)
    assert reasons > 5


def test_the_table_shows_which_metrics_have_reasons(logged: Logged) -> None:
    """Each metric that was emitted with a reason has an entry in that column."""
    rows: Mapping[str, str] = dict(re.findall(r"^\| `(\w+)` \| [a-z, ]+ \| ([^|]*) \|", TEXT, re.MULTILINE))
    for name, sets in logged.metrics().items():
        with_reason = any("reason" in dict(dimensions) for dimensions in sets)
        assert not with_reason or rows[name], name


def test_an_outcome_is_counted_once_however_often_its_callback_is_opened(logged: Logged) -> None:
    """The second time counts as AnswerRepeated, also if it brought a code that was not used.

    The other stack's lines are left out, because other tests use it.
    """
    lines = [line for line in logged.lines["CallbackLogs"] if line.get("service") == f"finch-connect-{OPERATED_STAGE}"]
    connected = [line for line in lines if line.get("status") == "connected"]
    assert len(connected) == len({line["flow_id"] for line in connected}) + 1
    counted = sum(line.get("Connected.0", 0) for line in lines)
    assert counted == len(connected) - 1
    assert sum(line.get("AnswerRepeated.0", 0) for line in lines) == 2


def test_the_query_for_one_flow_reads_every_function(logged: Logged) -> None:
    """The functions log the flow's id from its link to its event."""
    (query,) = queries(TEXT)[FLOW_HEADING]
    assert set(query.groups) == {"ConnectLogs", "CallbackLogs", "RelayLogs", "SweeperLogs"}
    for group in ("ConnectLogs", "CallbackLogs", "RelayLogs"):
        assert "flow_id" in logged.fields([group])
