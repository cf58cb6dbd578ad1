"""Alarms, runbook and metrics refer to each other, and the runbook's queries are valid."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest

from cli.look import FLOW_HEADING, FLOW_PLACEHOLDER, RUNBOOK, anchor_of, queries
from finch_connect.observability import COUNTED, MEASURED, NAMESPACE
from tests.cli.logs_insights_parser import QueryError, fields_of, parse
from tests.template import ROOT, load_template

TEXT = RUNBOOK.read_text()
SECTIONS = {anchor_of(section.partition("\n")[0]): section for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)}
RESOURCES: dict[str, dict[str, Any]] = load_template()["Resources"]
ALARMS = {name: body["Properties"] for name, body in RESOURCES.items() if body["Type"] == "AWS::CloudWatch::Alarm"}
QUERIES = [(anchor, query) for anchor, found in queries(TEXT).items() for query in found]
METRICS = COUNTED | MEASURED
SHIPPED = sorted([*ROOT.glob("layers/finch_connect/finch_connect/**/*.py"), *ROOT.glob("functions/**/*.py")])


def short_name(alarm: str) -> str:
    """Return an alarm's name without stack and stage, as the runbook writes it."""
    return str(ALARMS[alarm]["AlarmName"]["Fn::Sub"]).removeprefix("finch-connect-${Stage}-")


def heading_of(alarm: str) -> str:
    """Return the heading that an alarm's description names."""
    found = re.match(r"see docs/operations\.md#([a-z-]+): [^\s].+\.$", ALARMS[alarm]["AlarmDescription"])
    assert found, ALARMS[alarm]["AlarmDescription"]
    return found[1]


@pytest.mark.parametrize("alarm", ALARMS)
def test_each_alarm_leads_to_a_section_with_what_to_do(alarm: str) -> None:
    """The description leads the person on call to the section, which always has the same three parts."""
    section = SECTIONS[heading_of(alarm)]
    named = re.search(r"^Alarms? ((?:`[a-z-]+`(?: \([^)]+\))?(?:, | and )?)+)", section, re.MULTILINE)
    assert named is not None
    assert f"`{short_name(alarm)}`" in named[1]
    for part in ("**What it means.**", "**How to look.**", "**What to do.**", "```sql"):
        assert part in section


def test_each_alarm_in_the_runbook_exists() -> None:
    """The runbook has no alarm that was removed from the template."""
    promised = {
        (anchor, name)
        for anchor, section in SECTIONS.items()
        for line in re.findall(r"^Alarms? `.*(?:\n.+)*", section, re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", line)
    }
    assert promised == {(heading_of(alarm), short_name(alarm)) for alarm in ALARMS}


@pytest.mark.parametrize("alarm", ALARMS)
def test_each_alarm_notifies_the_topic_and_defines_what_no_data_means(alarm: str) -> None:
    """Its name contains the stage, so that the alarms of two stages in one account differ."""
    assert ALARMS[alarm]["AlarmName"]["Fn::Sub"].startswith("finch-connect-${Stage}-")
    assert ALARMS[alarm]["AlarmActions"] == {
        "Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]
    }
    assert ALARMS[alarm]["TreatMissingData"] == ("breaching" if alarm == "SweeperSilentAlarm" else "notBreaching")


def test_the_dashboard_shows_every_alarm_and_only_metrics_that_exist() -> None:
    """Its body is JSON, no two widgets share a position, and its one query is valid."""
    body = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    positions = {(widget["x"], widget["y"]) for widget in body["widgets"]}
    assert len(positions) == len(body["widgets"])
    (states,) = [widget["properties"]["alarms"] for widget in body["widgets"] if widget["type"] == "alarm"]
    assert states == [f"${{{alarm}.Arn}}" for alarm in ALARMS]
    text = json.dumps(body)
    named = {word for word in re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)*\b", text) if word in METRICS}
    funnel = {"Started", "Connected", "Denied", "Failed", "SweptAbandoned", "Refused", "TryAgain", "PublishLag"}
    assert funnel <= named
    shown = [metric for widget in body["widgets"] for metric in _metrics(widget["properties"])]
    assert shown
    assert set(shown) <= METRICS
    (query,) = [widget["properties"]["query"] for widget in body["widgets"] if widget["type"] == "log"]
    assert "@initDuration" in parse(query.rpartition("SOURCE")[2].partition("|")[2]).reads


def _metrics(properties: dict[str, Any]) -> list[str]:
    """Return the names of this project's metrics in a widget. `.` and `...` repeat the previous entry's values."""
    found, namespace, name = [], "", ""
    for entry in properties.get("metrics", []):
        if isinstance(entry[0], dict):
            found += re.findall(r'MetricName="(\w+)"', entry[0]["expression"])
            continue
        if entry[0] != "...":
            namespace = namespace if entry[0] == "." else entry[0]
            name = name if entry[1] == "." else entry[1]
        if namespace == NAMESPACE:
            found.append(name)
    return found


def test_the_metrics_table_has_each_metric_and_no_other() -> None:
    """Each metric has one row."""
    rows = re.findall(r"^\| `(\w+)` \| [a-z, ]+ \|", SECTIONS["the-metrics"], re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == METRICS


def test_the_code_counts_only_metrics_of_the_table() -> None:
    """Each name written in a call is a known metric, and all metrics are in CamelCase."""
    written = set()
    for path in SHIPPED:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"count", "measure"}:
                names = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
                written |= {str(name) for name in names}
    assert "Started" in written
    prefixes = {"Swept"}  # the rest of the name is what the sweeper did
    assert written - METRICS - prefixes == set()
    assert all(re.fullmatch(r"(?:[A-Z][a-z]+)+", name) for name in METRICS)


@pytest.mark.parametrize(("anchor", "query"), QUERIES)
def test_each_query_is_valid_and_reads_existing_log_groups(anchor: str, query: Any) -> None:
    """The parser supports no more of the language than the runbook needs."""
    assert all(RESOURCES[group]["Type"] == "AWS::Logs::LogGroup" for group in query.groups)
    assert parse(query.text).reads
    assert (FLOW_PLACEHOLDER in query.text) == (anchor == FLOW_HEADING)


def test_every_query_of_the_runbook_is_found() -> None:
    """No query escapes these tests because of its form."""
    assert TEXT.count("```sql") == len(QUERIES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fields",
        "fields @timestamp,",
        "filter reason =",
        "filter (reason = 'x')",
        'filter reason = "x" or',
        'filter (reason = "x"',
        "filter reason like x",
        'filter reason in "x"',
        "stats count(*)",
        "stats median(x) as y",
        "stats count(*) as times by bin(x)",
        "sort @timestamp",
        "limit many",
        "fields a | where b",
        "fields a fields b",
    ],
)
def test_an_invalid_query_is_refused(text: str) -> None:
    """The parser accepts nothing beyond its part of the language."""
    with pytest.raises(QueryError):
        parse(text)


def test_a_parsed_query_lists_what_it_reads_makes_and_compares() -> None:
    """A name that the query makes itself need not be in a log."""
    query = parse(
        'filter a.b = "x" and (c in ["y", "z"] or @message like /q|"r/) and ispresent(d) and e >= 5\n'
        "| stats count(*) as times, pct(f, 95) as late by g, bin(5m)\n| sort times desc\n| limit 20"
    )
    assert query.reads == {"a.b", "c", "@message", "d", "e", "f", "g"}
    assert query.makes == {"times", "late"}
    assert query.compares == {("a.b", "x"), ("c", "y"), ("c", "z")}


def test_fields_are_named_as_logs_insights_names_them() -> None:
    """A nested field follows a dot, and a list item has its index."""
    assert fields_of('{"a": 1, "b": {"c": "x"}, "d": ["y", "z"]}') == {"a": 1, "b.c": "x", "d.0": "y", "d.1": "z"}
    assert fields_of("START RequestId: 1") == fields_of("[1]") == {}
