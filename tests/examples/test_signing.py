"""The signing examples, each run in its own language."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.cli.account import KEY, taken
from tests.template import ROOT

EXAMPLES = {
    "python": [sys.executable, "sign_link.py"],
    "node": ["node", "sign_link.mjs"],
    "openssl": ["bash", "sign_link.sh"],
}


@pytest.mark.parametrize("language", EXAMPLES)
@pytest.mark.parametrize("return_url", [None, "https://app.example.com/hr/done"])
def test_the_examples_sign_links_that_the_stack_accepts(language: str, return_url: str | None) -> None:
    """One example per language of a backend. node and openssl must be installed on this machine."""
    program = shutil.which(EXAMPLES[language][0])
    assert program is not None, f"{EXAMPLES[language][0]} is needed to test examples/signing: please install it"
    ran = subprocess.run(
        [program, *EXAMPLES[language][1:], "acme", *([return_url] if return_url else [])],
        cwd=ROOT / "examples/signing",
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "FINCH_LINK_KID": "1",
            "FINCH_LINK_KEY": KEY,
            "CONNECT_URL": "https://connect.example.com/connect",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    request = taken(ran.stdout.strip())
    assert (request.customer_id, request.return_url) == ("acme", return_url)


@pytest.mark.parametrize("language", EXAMPLES)
@pytest.mark.parametrize("missing", ["FINCH_LINK_KID", "FINCH_LINK_KEY", "CONNECT_URL", "CUSTOMER"])
def test_the_examples_sign_nothing_when_something_is_missing(language: str, missing: str) -> None:
    """An empty key would sign without an error. The example names the variable to set."""
    program = shutil.which(EXAMPLES[language][0])
    assert program is not None, f"{EXAMPLES[language][0]} is needed to test examples/signing: please install it"
    given = {"FINCH_LINK_KID": "1", "FINCH_LINK_KEY": KEY, "CONNECT_URL": "https://c", "CUSTOMER": "acme"} | {
        missing: ""
    }
    customer = given.pop("CUSTOMER")
    ran = subprocess.run(
        [program, *EXAMPLES[language][1:], *([customer] if customer else [])],
        cwd=ROOT / "examples/signing",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert missing in ran.stderr
    assert KEY not in ran.stderr


@pytest.mark.parametrize("language", EXAMPLES)
def test_the_examples_sign_nothing_with_a_short_key(language: str) -> None:
    """The stack refuses such a key (RFC 7518 section 3.2), and the developer should see that first."""
    program = shutil.which(EXAMPLES[language][0])
    assert program is not None, f"{EXAMPLES[language][0]} is needed to test examples/signing: please install it"
    ran = subprocess.run(
        [program, *EXAMPLES[language][1:], "acme"],
        cwd=ROOT / "examples/signing",
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "FINCH_LINK_KID": "1",
            "FINCH_LINK_KEY": KEY[:31],
            "CONNECT_URL": "https://c",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "at least 32 bytes" in ran.stderr
    assert KEY[:31] not in ran.stderr


def test_the_shell_example_refuses_a_customer_id_that_would_break_its_json() -> None:
    """A quote in the customer's id could add a claim."""
    ran = subprocess.run(
        ["/bin/bash", "sign_link.sh", 'acme","sub":"globex'],
        cwd=ROOT / "examples/signing",
        env={"PATH": "/usr/bin:/bin", "FINCH_LINK_KID": "1", "FINCH_LINK_KEY": KEY, "CONNECT_URL": "https://c"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
