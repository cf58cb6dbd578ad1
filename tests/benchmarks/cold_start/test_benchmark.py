"""The benchmark: its record is what the documents show, and what it undoes is there to be undone."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest

from benchmarks.cold_start import report
from benchmarks.cold_start.__main__ import CHART, DOCUMENTS, RESULT
from benchmarks.cold_start.fake_services import fake_services
from benchmarks.cold_start.measure import NotDoneError, _check
from benchmarks.cold_start.runtime_api import RuntimeApi
from benchmarks.cold_start.subjects import FOLDER, PEERS, Subject
from benchmarks.cold_start.tricks import TRICKS
from tests.template import ROOT

RECORD = json.loads((FOLDER / RESULT).read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_documents_show_the_recorded_result(document: Path) -> None:
    """`make bench RECORD=1` writes them; nobody types a figure."""
    text = document.read_text()
    assert text.count("<!-- bench: ") == text.count("<!-- bench end -->") > 0
    assert report.documented(text, RECORD) == text


def test_the_chart_is_of_the_recorded_result() -> None:
    """And the performance page shows it."""
    assert (FOLDER / CHART).read_text() == report.chart(RECORD)
    assert f"(../benchmarks/cold_start/{CHART})" in (ROOT / "docs" / "performance.md").read_text()


def test_the_record_is_of_every_subject_and_every_trick() -> None:
    """Not of a small run."""
    assert list(RECORD["subjects"]) == ["C", "connect", "callback", "U", "L", "M", "floor"]
    assert set(RECORD["tricks"]) == {trick.title for trick in TRICKS}
    assert RECORD["machine"]["rounds"] >= 20


def test_what_became_slower_is_told_and_what_did_not_is_not() -> None:
    """By more than 5 %, as a ratio to C of the same run."""
    now = copy.deepcopy(RECORD)
    assert report.regressions(now, RECORD) == []
    now["subjects"]["callback"]["ttfr_cpu"] *= 1.04
    assert report.regressions(now, RECORD) == []
    now["subjects"]["callback"]["ttfr_cpu"] *= 1.04
    assert [line.split(":")[0] for line in report.regressions(now, RECORD)] == ["callback ttfr_cpu"]
    now["subjects"]["C"]["ttfr_cpu"] *= 1.1
    assert report.regressions(now, RECORD) == [], "the machine was slower, not we"


@pytest.mark.parametrize("trick", [trick for trick in TRICKS if trick.edits], ids=lambda trick: trick.title)
def test_what_a_trick_is_made_of_is_still_there(trick: object) -> None:
    """Or the benchmark would measure something else under its name."""
    for module, old, _ in trick.edits:  # type: ignore[attr-defined]
        assert (ROOT / "layers/finch_connect/finch_connect" / module).read_text().count(old) == 1, old


def test_each_figure_in_a_comment_is_explained_in_the_performance_page() -> None:
    """A comment that names the page has its trick in it."""
    sources = [*ROOT.glob("layers/finch_connect/**/*.py"), ROOT / "template.yaml"]
    naming = {path.name for path in sources if "docs/performance.md" in path.read_text()}
    page = (ROOT / "docs" / "performance.md").read_text()
    assert naming
    assert [name for name in sorted(naming) if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    ("calls", "answer"),
    [
        (["PutItem", "GetSecretValue"], {"statusCode": 200}),
        (["GetSecretValue"], {"statusCode": 303}),
        (["PutItem"], {"statusCode": 303}),
        (["PutItem", "PutItem", "GetSecretValue"], {"statusCode": 303}),
    ],
)
def test_a_subject_that_does_not_do_its_work_is_not_measured(
    tmp_path: Path, calls: list[str], answer: dict[str, int]
) -> None:
    """No redirect, a call too few, a secret not read, a call too many: each ends the benchmark."""
    subject = Subject("one", "made up", (tmp_path,), dict, ("PutItem",), 1)
    api = RuntimeApi([{}], lambda: None)
    try:
        with fake_services(tmp_path) as server:
            server.calls += ["GetSecretValue", "PutItem"]
            api.answers.append({"statusCode": 303})
            _check(subject, api, server, 1)
            server.calls[:], api.answers[:] = calls, [answer]
            with pytest.raises(NotDoneError):
                _check(subject, api, server, 1)
    finally:
        api.close()


def test_every_peer_is_pinned_to_the_layers_botocore() -> None:
    """So that the difference is in what is written, and not in a library's version."""
    (layers,) = re.findall(
        r"^botocore==(\S+)", (ROOT / "layers/finch_connect/requirements.txt").read_text(), re.MULTILINE
    )
    for requirements in sorted(PEERS.glob("*/requirements.txt")):
        assert f"botocore=={layers} " in requirements.read_text()
