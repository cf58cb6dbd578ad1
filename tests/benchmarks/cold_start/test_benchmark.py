"""The documents show the benchmark's record, and every trick that it undoes still exists."""

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
    """`make bench RECORD=1` writes the figures, and nobody edits them by hand."""
    text = document.read_text()
    assert text.count("<!-- bench: ") == text.count("<!-- bench end -->") > 0
    assert report.update_document(text, RECORD) == text


def test_the_chart_shows_the_recorded_result() -> None:
    """The chart is generated from the record, and the performance page embeds it."""
    assert (FOLDER / CHART).read_text() == report.chart(RECORD)
    assert f"(../benchmarks/cold_start/{CHART})" in (ROOT / "docs" / "performance.md").read_text()


def test_the_record_covers_every_subject_and_trick() -> None:
    """The record comes from a full run."""
    assert list(RECORD["subjects"]) == ["C", "connect", "callback", "U", "L", "M", "floor"]
    assert set(RECORD["tricks"]) == {trick.title for trick in TRICKS}
    assert RECORD["machine"]["rounds"] >= 20


def test_only_regressions_are_reported() -> None:
    """A regression is more than 5 % slower, as a ratio to C of the same run."""
    now = copy.deepcopy(RECORD)
    assert report.regressions(now, RECORD) == []
    now["subjects"]["callback"]["ttfr_cpu"] *= 1.04
    assert report.regressions(now, RECORD) == []
    now["subjects"]["callback"]["ttfr_cpu"] *= 1.04
    assert [line.split(":")[0] for line in report.regressions(now, RECORD)] == ["callback ttfr_cpu"]
    now["subjects"]["C"]["ttfr_cpu"] *= 1.1
    assert report.regressions(now, RECORD) == [], "the machine was slower, not our function"


@pytest.mark.parametrize("trick", [trick for trick in TRICKS if trick.edits], ids=lambda trick: trick.title)
def test_the_text_of_a_trick_still_exists(trick: object) -> None:
    """Otherwise the benchmark would measure something else under the trick's title."""
    for module, old, _ in trick.edits:  # type: ignore[attr-defined]
        assert (ROOT / "layers/finch_connect/finch_connect" / module).read_text().count(old) == 1, old


def test_the_performance_page_names_each_file_that_refers_to_it() -> None:
    """A figure in a comment that cites the page is explained there."""
    sources = [*ROOT.glob("layers/finch_connect/**/*.py"), ROOT / "template.yaml"]
    citing = {path.name for path in sources if "docs/performance.md" in path.read_text()}
    page = (ROOT / "docs" / "performance.md").read_text()
    assert citing
    assert [name for name in sorted(citing) if f"`{name}`" not in page] == []


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
    """A missing redirect, a missing or extra call, or an unread secret ends the benchmark."""
    subject = Subject("one", "an example", (tmp_path,), dict, ("PutItem",), 1)
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
    """Differences come from the code, not from a library's version."""
    (version,) = re.findall(
        r"^botocore==(\S+)", (ROOT / "layers/finch_connect/requirements.txt").read_text(), re.MULTILINE
    )
    pinned = {path.parent.name: path.read_text() for path in PEERS.glob("*/requirements.txt")}
    assert pinned.keys() == {"c", "u", "l", "m"}
    assert [peer for peer, text in pinned.items() if f"botocore=={version} " not in text] == []
