"""The documents name what is there."""

from __future__ import annotations

import re

import pytest

from tests.template import ROOT, load_template

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("events/*.md")])
NAMED = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]


@pytest.mark.parametrize("document", NAMED)
def test_links_lead_somewhere(document: str) -> None:
    """To files of this repository."""
    folder = (ROOT / document).parent
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / document).read_text())
    assert [target for target in targets if not (folder / target).exists()] == []


@pytest.mark.parametrize("document", NAMED)
def test_make_targets_exist(document: str) -> None:
    """What a reader is told to type."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = set(re.findall(r"(?:^|`)make ([a-z]+)\b", (ROOT / document).read_text(), re.MULTILINE))
    assert told <= targets


@pytest.mark.parametrize("document", NAMED)
def test_parameters_and_outputs_exist(document: str) -> None:
    """CamelCase words in backticks are the template's, or AWS's."""
    template = load_template()
    ours = {*template["Parameters"], *template["Outputs"], *template["Resources"]}
    words = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?:=[^`]*)?`", (ROOT / document).read_text()))
    assert words - ours <= {"ClientRequestToken", "UpdateSecretVersionStage"}


def test_each_event_is_documented() -> None:
    """In the architecture, and with a schema."""
    text = (ROOT / "docs/architecture.md").read_text()
    schemas = [path.name.removesuffix(".schema.json") for path in ROOT.glob("contracts/events/*.json")]
    assert all(name.replace("-", " ").title() in text for name in schemas)


def test_each_claim_is_documented() -> None:
    """As the code reads it."""
    code = (ROOT / "layers/finch_connect/finch_connect/claims.py").read_text()
    text = (ROOT / "docs/links.md").read_text()
    claims = set(re.findall(r'(?:text|required|matching|choice|integer|get)\("([a-z_]+)"', code))
    assert len(claims) > 10
    assert [claim for claim in sorted(claims) if f"`{claim}`" not in text] == []
