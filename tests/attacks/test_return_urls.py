"""Row 15 in depth: an accepted URL is always under an allowed one, as Python's parsers and Chromium read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote, urlsplit

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings
from playwright.sync_api import Browser, Page
from urllib3.util import parse_url

from finch_connect.domain.return_urls import is_allowed, with_receipt

ALLOWED = "https://app.example.com/hr"
CORPUS = [
    json.loads(line)
    for line in (Path(__file__).parent / "return_urls.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
GOOD = [
    ALLOWED,
    f"{ALLOWED}/",
    f"{ALLOWED}/done",
    f"{ALLOWED}/done/",
    f"{ALLOWED}/a/b/c.html",
    f"{ALLOWED}?tab=2",
    f"{ALLOWED}/done?tab=2&customer=acme",
    f"{ALLOWED}?next=/inside",
    f"{ALLOWED}?next=https://app.example.com/",
    f"{ALLOWED}?empty=",
    f"{ALLOWED}?",
    f"{ALLOWED}/a%20b",
    f"{ALLOWED}/a~b_c-d.e",
    f"{ALLOWED}/a;v=1,2",
    f"{ALLOWED}/@team",
    f"{ALLOWED}/...",
    f"{ALLOWED}/..x",
    "https://app.example.com:443/hr/done",
    f"{ALLOWED}?next=%2Fsettings",
    f"{ALLOWED}?next=https%3A%2F%2Fapp.example.com%2Fhr%3Ftab%3D2%23top",
    f"{ALLOWED}?file=a%2Eb&path=..%2F..%2Fx&share=%5C%5Cserver",
    f"{ALLOWED}?name=J%C3%BCrgen&sum=100%25&twice=%252e",
    f"{ALLOWED}?x=finch_receipt",
    f"{ALLOWED}?finch_receipts=1&my_finch_receipt=2",
    f"{ALLOWED}/100%25/done",
]
WITH_AN_OLD_RECEIPT = [
    "finch_receipt=forged",
    "finch_receipt",
    "finch_receipt=a&finch_receipt=b",
    "%66inch_receipt=forged",
    "finch%5freceipt=forged",
    "finch%5Freceipt=forged",
    "finch%255freceipt=forged",
    "%66%69%6e%63%68%5f%72%65%63%65%69%70%74=forged",
    "finch+receipt=1&finch_receipt=2",
    "finch.receipt=1",
    "FINCH_RECEIPT=1",
    "finch_receipt%5B%5D=1&finch_receipt%5bx%5d=2",
    "%20finch_receipt=1",
    "finch_receipt=" + "x" * 1200,
]
"""Queries whose receipt is that of an earlier flow, or forged, in every spelling that some framework accepts."""
PIECES = [
    *("https:", "http:", "HTTPS:", "javascript:", "//", "/", "\\", "///", ":", "@", "?", "#", "%", "..", ".", ";", "&"),
    *("app.example.com", "evil.example.net", "app.example.com.", "/hr", "/hr/", "hr", ":443", ":8443", "%2e", "%2f"),
    *(
        "%5c",
        "%00",
        "%0a",
        "%40",
        "%23",
        "\t",
        "\n",
        "\r",
        " ",
        "\x00",
        "\u3002",
        "\uff0f",
        "\u202e",
        "\u200b",
        "\ud800",
    ),
    *(
        "finch_receipt=x",
        "&finch_receipt=x",
        "a=b",
        "..;",
        "%252e",
        "%252f",
        "%3b",
        "[::1]",
        "127.0.0.1",
        "0x7f.1",
        "xn--",
        "\u0430",
        "user:pass@",
        "~",
        "'",
        "(",
        "*",
    ),
]
MADE = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
UNDER_ALLOWED = st.builds(
    "".join, st.tuples(st.just(ALLOWED), st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
)
CANDIDATES = st.one_of(MADE, UNDER_ALLOWED, st.sampled_from(CORPUS), st.sampled_from(GOOD), st.text(max_size=40))


def test_15_the_corpus_is_large_and_has_no_line_twice() -> None:
    """It has at least three hundred different hostile URLs."""
    assert len(CORPUS) >= 300
    assert len(CORPUS) == len(set(CORPUS))


@pytest.mark.parametrize("url", CORPUS, ids=lambda url: ascii(url)[1:61])
def test_15_a_hostile_return_url_does_not_pass(url: str) -> None:
    """Each line of the corpus is refused."""
    assert not is_allowed(url, [ALLOWED])


@pytest.mark.parametrize("url", GOOD)
def test_15_a_valid_return_url_passes(url: str) -> None:
    """The check must not refuse everything."""
    assert is_allowed(url, [ALLOWED])


@pytest.mark.parametrize("old", WITH_AN_OLD_RECEIPT, ids=lambda old: old[:40])
@pytest.mark.parametrize("query", ["{}", "tab=2&{}", "{}&tab=2", "a=1&{}&b=%26"])
def test_15_an_old_or_forged_receipt_is_replaced(old: str, query: str) -> None:
    """A person comes back from a page that still has the last receipt. Only the new one remains."""
    url = f"{ALLOWED}?{query.format(old)}"
    assert is_allowed(url, [ALLOWED])
    final = with_receipt(url, "e30.e30.x")
    assert final.endswith("finch_receipt=e30.e30.x")
    assert "=forged" not in final
    kept = [pair for pair in query.split("&") if pair != "{}"]
    assert final.partition("?")[2].split("&") == [*kept, "finch_receipt=e30.e30.x"]


@settings(max_examples=3000, deadline=None, derandomize=True)
@given(CANDIDATES)
@example("https://app.example.com/hr?%66inch_receipt=forged")
def test_15_python_parsers_read_an_accepted_url_as_the_allowed_host(url: str) -> None:
    """The standard library and the parser of `requests` agree, with and without the receipt."""
    if not is_allowed(url, [ALLOWED]):
        return
    for final in (url, with_receipt(url, "e30.e30.x")):
        parts = urlsplit(final)
        assert (parts.scheme, parts.hostname, parts.port or 443) == ("https", "app.example.com", 443)
        assert (parts.username, parts.password, parts.fragment) == (None, None, "")
        other = parse_url(final)
        assert (other.scheme, other.host, other.port or 443, other.auth) == ("https", "app.example.com", 443, None)
        for path in (parts.path, other.path):
            assert path == "/hr" or (path or "").startswith("/hr/")


@settings(max_examples=3000, deadline=None, derandomize=True)
@given(CANDIDATES)
@example("https://app.example.com/hr/%252e%252e%253bx/other")
def test_15_a_server_that_decodes_again_stays_under_the_allowed_path(url: str) -> None:
    """That also holds if it drops path parameters, as Tomcat does, before it resolves dots."""
    if not is_allowed(url, [ALLOWED]):
        return
    path = urlsplit(url).path
    for _ in range(4):
        plain = "/".join(segment.partition(";")[0].strip() for segment in path.split("/"))
        resolved = normpath(plain.replace("\\", "/"))
        assert resolved == "/hr" or resolved.startswith("/hr/"), url
        path = unquote(path)


@pytest.fixture
def window(chromium: Browser) -> Iterator[Page]:
    """Open an empty page, for its URL parser."""
    page = chromium.new_page()
    yield page
    page.close()


READ = """urls => urls.map(text => {
  try { const url = new URL(text, "https://connect.team.example.com/callback");
        return [url.origin, url.pathname, url.username + url.password, url.hash,
                url.searchParams.getAll("finch_receipt").length]; }
  catch { return null; } })"""


def test_15_chromium_reads_an_accepted_url_as_the_allowed_host(window: Page) -> None:
    """Chromium parses thousands of generated URLs as it would when it follows a Location header."""
    made: list[str] = [*GOOD, *(f"{ALLOWED}?a=1&{old}" for old in WITH_AN_OLD_RECEIPT)]

    @settings(max_examples=6000, deadline=None, derandomize=True)
    @given(CANDIDATES)
    def collect(url: str) -> None:
        if is_allowed(url, [ALLOWED]):
            made.append(url)

    collect()
    passed = [with_receipt(url, "e30.e30.x") for url in dict.fromkeys(made)]
    assert len(passed) > 2 * len(GOOD), "hypothesis also generated URLs that pass"
    for final, read in zip(passed, window.evaluate(READ, passed), strict=True):
        assert read is not None, final
        origin, path, userinfo, fragment, receipts = read
        assert (origin, userinfo, fragment, receipts) == ("https://app.example.com", "", "", 1), final
        assert path == "/hr" or path.startswith("/hr/"), final


def test_15_chromium_reads_much_of_the_corpus_as_another_origin(window: Page) -> None:
    """The corpus is not harmless nonsense: more than 120 lines would lead a browser to another origin."""
    writable = [url for url in CORPUS if url.isprintable() or max(url, default="") < "\ud800"]
    read = [found for found in window.evaluate(READ, writable) if found is not None]
    elsewhere = [found for found in read if found[0] != "https://app.example.com"]
    assert len(elsewhere) > 120
