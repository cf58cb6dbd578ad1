"""The report says what was measured, and lands where it belongs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.load import cpu, report
from benchmarks.load.accounting import Account
from benchmarks.load.overdue import Swept
from benchmarks.load.person import Customer, Intent, Journey, Shown
from benchmarks.load.run import Load
from benchmarks.load.users import Plan
from local.settings import SettingsError, load_settings

ACCOUNT = Account(
    begun=2,
    opened=2,
    shown={"connected": {"connected": 2}},
    rows={"connected": 2},
    reasons={},
    events={"Connection Established": 2},
    deliveries=3,
    secrets=2,
    granted=2,
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
    """And nothing, or one value, is no error."""
    assert report.percentiles([]) == (0.0, 0.0, 0.0)
    assert report.percentiles([2.0]) == (2.0, 2.0, 2.0)
    assert report.percentiles([float(number) for number in range(101)]) == (50.0, 95.0, 99.0)


def test_the_rate_of_the_second_half_leaves_cold_starts_out() -> None:
    """Two more in half a second each."""
    assert report.rates(LOAD) == (1.0, 2.0)


def test_the_report_has_what_was_measured() -> None:
    """Account, steps, CPU time by part."""
    text = report.markdown(LOAD, None, "make load FLOWS=2")
    assert "make load FLOWS=2" in text
    assert "every flow is accounted for" in text
    assert "2 connected rows = 2 events of a connection = 2 secrets" in text
    assert "- 3 × callback try_again aws_unreachable" in text
    assert "Broken: 5 of 100 AWS calls" in text
    assert "| comes back, until the receipt | 4 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 | 2.00 |" in text
    assert "| function callback | 1.0 | 500.0 | 25% | 3 |" in text


@pytest.mark.parametrize(
    ("machine", "emulator", "browsers", "said"),
    [
        (400.0, 2.0, 1.0, "this machine's processors"),
        (1.0, 3.9, 1.0, "the emulator, one Python process"),
        (1.0, 1.0, 3.9, "the process of API gateway, simulator and browsers"),
        (1.0, 1.0, 1.0, "no processor"),
    ],
)
def test_the_limit_follows_from_the_measurement(machine: float, emulator: float, browsers: float, said: str) -> None:
    """Nobody types it."""
    parts = {cpu.EMULATOR: emulator, cpu.BROWSERS: browsers}
    text = report.markdown(replace(LOAD, cpu_seconds=parts, machine_seconds=machine), None, "make load")
    assert f"The limit was {said}" in text


def test_what_does_not_fit_stands_in_the_report() -> None:
    """Of flows, and of overdue rows."""
    load = replace(LOAD, account=replace(ACCOUNT, problems=["flow x is still claimed"]))
    text = report.markdown(load, Swept(10, 1.0, [{"published": 9}], ["row y (left) has 0 events"]), "make load")
    assert "1 things do not fit" in text
    assert "- flow x is still claimed" in text
    assert "- row y (left) has 0 events" in text


def test_a_run_that_ended_early_says_so() -> None:
    """With what was not begun."""
    assert "Of 9 flows 7 were not begun" in report.markdown(replace(LOAD, plan=replace(LOAD.plan, flows=9)), None, "")


def test_without_proc_there_is_a_report_all_the_same() -> None:
    """On a Mac."""
    assert "Whose CPU time it was is not known" in report.markdown(replace(LOAD, cpu_seconds={}), None, "make load")


def test_the_report_is_written_between_its_markers(tmp_path: Path) -> None:
    """What stands around it stays; a document without a place for it is left alone."""
    document = tmp_path / "reliability.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_between_markers(document, "new \\1")
    assert document.read_text() == f"before\n{report.BEGIN}\n\nnew \\1\n\n{report.END}\nafter\n"
    document.write_text("nothing")
    with pytest.raises(ValueError, match="no place"):
        report.write_between_markers(document, "new")
    assert document.read_text() == "nothing"


def test_the_settings_are_checked() -> None:
    """A run of no flows, or of words, is a mistake to be told at once."""
    assert load_settings({"FLOWS": "50", "FAULTS": "5"}).faults == 0.05
    assert load_settings({}).record is False
    for wrong in ({"FLOWS": "0"}, {"BROWSERS": "many"}, {"FAULTS": "-1"}, {"MINUTES": "1.5"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            load_settings(wrong)
