"""`make cold-starts`: what an operator reads about real cold starts. Logs Insights answers as AWS documents it."""

from __future__ import annotations

from typing import Any

import pytest

from cli.cold_starts import FUNCTIONS, QUERY, cold_starts, main, summary
from tests.cli.conftest import Answers
from tests.template import load_template


def row(began: float, duration: float, used: float = 52e6) -> list[dict[str, str]]:
    """Return a cold start as Logs Insights does: numbers as text, and a pointer that is not a number."""
    numbers = {"began": began, "@duration": duration, "@maxMemoryUsed": used, "@memorySize": 1024e6}
    return [
        *({"field": name, "value": str(number)} for name, number in numbers.items()),
        {"field": "@ptr", "value": "CmMKIgoe"},
    ]


def test_cold_starts_are_read_once_the_query_has_finished(logs: Any, answers: Answers) -> None:
    """Numbers arrive as text. Values that are not numbers are left out."""
    answers(row(180.5, 20), row(200, 40), query=QUERY)
    found = cold_starts(logs, "group", 24, sleep=lambda _: None)
    assert found[0] == {"began": 180.5, "@duration": 20.0, "@maxMemoryUsed": 52e6, "@memorySize": 1024e6}
    assert len(found) == 2


def test_the_query_reads_inits_and_restores() -> None:
    """The query matches the fields and words of AWS's REPORT line (AWS: Monitoring for Lambda SnapStart)."""
    assert '@type = "REPORT"' in QUERY
    assert "ispresent(@initDuration)" in QUERY
    assert r"/Restore Duration: (?<restoreDuration>[0-9.]+) ms/" in QUERY


def test_a_summary_has_the_median_the_95th_percentile_and_the_memory() -> None:
    """The time to first response is init or restore plus the first invocation."""
    line = summary("Connect", [{"began": 100.0 + n, "@duration": 20.0, "@maxMemoryUsed": 5e7, "@memorySize": 1.024e9}
                               for n in range(21)])  # fmt: skip
    assert " ".join(line.split()) == (
        "Connect 21 cold starts init or restore p50 110.0 ms to first response p50 130.0 ms, p95 139.0 ms "
        "memory 50 of 1024 MB"
    )
    assert summary("Relay", []).endswith("no cold starts in this period")


def test_every_function_with_logs_is_queried() -> None:
    """The tool's names are those of the template's functions and log groups."""
    resources = load_template()["Resources"]
    functions = {name for name, body in resources.items() if body["Type"] == "AWS::Serverless::Function"}
    assert functions == {f"{name}Function" for name in FUNCTIONS}
    assert {f"{name}Logs" for name in FUNCTIONS} <= resources.keys()


def test_missing_credentials_give_an_error_with_advice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line without a traceback, with the variables that boto3 reads."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert main(["--region", "eu-central-1"]) == 1
    error = capsys.readouterr().err
    assert "aws sso login" in error
    assert "AWS_PROFILE and AWS_DEFAULT_REGION" in error
