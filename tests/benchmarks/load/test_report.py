"""The report has what was measured, and is written between its markers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load import cpu, report
from benchmarks.load.accounting import Account
from benchmarks.load.overdue import Swept
from benchmarks.load.person import Customer, Intent, Journey, Shown
from benchmarks.load.run import Load
from benchmarks.load.settings import load_settings
from benchmarks.load.users import Plan
from local.settings import SettingsError

ACCOUNT = Account(
    started=2,
    opened=2,
    shown={"connected": {"connected": 2}},
    rows={"connected": 2},
    reasons={},
    events={"Connection Established": 2},
    deliveries=3,
    secrets=2,
    tokens=2,
    reported_lost=0,
    problems=[],
)
PEOPLE = [
    Journey(
        Customer(name, "1", "", name, Intent.CONNECT),
        Shown.CONNECTED,
        ended=ended,
        seconds={"link": 1.0, "callback": 2.0},
    )
    for name, ended in (("a", 1.0), ("b", 2.0), ("c", 2.5), ("d", 3.0))
]
LOAD = Load(
    plan=Plan(flows=2, browsers=1, faults=0.05, seed=1, seconds=60),
    journeys=PEOPLE,
    account=ACCOUNT,
    seconds=4.0,
    event_seconds=[0.5],
    invocations={"Connect": [0.1], "Callback": [0.2], "Relay": []},
    warnings={"callback try_again aws_unreachable": 3},
    cpu_seconds={cpu.EMULATOR: 2.0, "function callback": 1.0, cpu.BROWSERS: 1.0},
    machine_seconds=4.0,
    processes={cpu.EMULATOR: 1, "function callback": 3},
    sweeps=[{"abandoned": 1, "stuck": 0}],
    aws_calls=(100, 5),
    exchanges={"200": 2},
)


def test_percentiles_are_those_of_the_statistics_module() -> None:
    """No values give zeros, and one value gives itself."""
    assert report.percentiles([]) == (0.0, 0.0, 0.0)
    assert report.percentiles([2.0]) == (2.0, 2.0, 2.0)
    assert report.percentiles([float(number) for number in range(101)]) == (50.0, 95.0, 99.0)


def test_the_rate_of_the_second_half_leaves_cold_starts_out() -> None:
    """The second half has two more journeys, half a second apart."""
    assert report.rates(LOAD) == (1.0, 2.0)


def test_the_report_has_what_was_measured() -> None:
    """The report has the command, the account, the steps and the CPU time by part."""
    text = report.markdown(LOAD, None, "make load FLOWS=2")
    assert "make load FLOWS=2" in text
    assert "every flow is accounted for" in text
    assert "2 connected rows = 2 events for connections = 2 secrets" in text
    assert "- 3 × callback try_again aws_unreachable" in text
    assert "Faults: 5 of 100 AWS calls" in text
    assert "| from the callback to the receipt | 4 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 |" in text
    assert "| function callback | 1.0 | 500.0 | 25% | 3 |" in text


@pytest.mark.parametrize(
    ("machine", "emulator", "browsers", "limit"),
    [
        (400.0, 2.0, 1.0, "this machine's processors"),
        (1.0, 3.9, 1.0, "the emulator, one Python process"),
        (1.0, 1.0, 3.9, "the process of API gateway, simulator and browsers"),
        (1.0, 1.0, 1.0, "not a processor"),
    ],
)
def test_the_limit_follows_from_the_measurement(machine: float, emulator: float, browsers: float, limit: str) -> None:
    """The report names the part that was busy, according to the measurement."""
    parts = {cpu.EMULATOR: emulator, cpu.BROWSERS: browsers}
    text = report.markdown(replace(LOAD, cpu_seconds=parts, machine_seconds=machine), None, "make load")
    assert f"The limit was {limit}" in text


def test_the_report_lists_the_problems() -> None:
    """Problems of flows and of overdue rows are counted and listed."""
    load = replace(LOAD, account=replace(ACCOUNT, problems=["flow x is still claimed"]))
    text = report.markdown(load, Swept(10, 1.0, [{"published": 9}], ["row y (left) has 0 events"]), "make load")
    assert ": 1 problem.**" in text
    assert "- flow x is still claimed" in text
    assert "- row y (left) has 0 events" in text


def test_the_report_of_a_run_that_ended_early_has_the_missing_flows() -> None:
    """The report counts the flows that were not started."""
    assert "7 of 9 flows were not started" in report.markdown(replace(LOAD, plan=replace(LOAD.plan, flows=9)), None, "")


def test_there_is_a_report_without_proc() -> None:
    """On macOS the report has no CPU times, and is complete otherwise."""
    assert "The CPU time by part is unknown" in report.markdown(replace(LOAD, cpu_seconds={}), None, "make load")


def test_the_report_is_written_between_its_markers(tmp_path: Path) -> None:
    """The text around the markers stays, and a document without markers is not changed."""
    document = tmp_path / "reliability.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_between_markers(document, "new \\1")
    assert document.read_text() == f"before\n{report.BEGIN}\n\nnew \\1\n\n{report.END}\nafter\n"
    document.write_text("nothing")
    with pytest.raises(ValueError, match="no markers"):
        report.write_between_markers(document, "new")
    assert document.read_text() == "nothing"


def test_the_settings_are_checked() -> None:
    """A setting that cannot work is refused at the start, by name."""
    assert load_settings({"FLOWS": "50", "FAULTS": "5"}).faults == 0.05
    assert load_settings({}).record is False
    for wrong in ({"FLOWS": "0"}, {"BROWSERS": "many"}, {"FAULTS": "-1"}, {"MINUTES": "1.5"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            load_settings(wrong)
