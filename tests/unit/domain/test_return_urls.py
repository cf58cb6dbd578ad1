"""Return URLs: a URL that is not plainly under an allowed URL is refused."""

from __future__ import annotations

import pytest

from finch_connect.domain.return_urls import is_allowed, with_receipt

ALLOWED = ("https://app.example.com/hr", "https://b.example.com:8443", "http://localhost:3000/connected")


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com/hr",
        "https://app.example.com/hr/",
        "https://app.example.com/hr/done?tab=2&x=%20y",
        "https://app.example.com:443/hr",
        "https://b.example.com:8443",
        "https://b.example.com:8443/any/path",
        "http://localhost:3000/connected/acme",
    ],
)
def test_a_url_under_an_allowed_url_is_allowed(url: str) -> None:
    """Scheme, host and port are equal, and the allowed path is a prefix that ends at a segment's boundary."""
    assert is_allowed(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/hr",
        "//evil.example/hr",
        "https:app.example.com/hr",
        "https:///app.example.com/hr",
        "https://evil.example/hr",
        "https://app.example.com.evil.example/hr",
        "https://evilapp.example.com/hr",
        "https://app.example.com@evil.example/hr",
        "https://app.example.com:443@evil.example/hr",
        "https://user@app.example.com/hr",
        "https://app.example.com:8443/hr",
        "https://b.example.com/",
        "http://app.example.com/hr",
        "HTTPS://app.example.com/hr",
        "https://APP.example.com/hr",
        "https://app.example.com/hrx",
        "https://app.example.com/",
        "https://app.example.com/hr/../admin",
        "https://app.example.com/hr/./x",
        "https://app.example.com/hr/%2e%2e/admin",
        "https://app.example.com/hr/..%2fadmin",
        "https://app.example.com/hr/%5c..%5cadmin",
        "https://app.example.com//evil.example",
        "https://app.example.com/hr//evil.example",
        "https://app.example.com\\hr",
        "https://app.example.com/hr\\x",
        "https://app.example.com/hr#fragment",
        "https://app.example.com/hr x",
        "https://app.example.com/hr\n",
        "https://app.example.com/hr\t",
        "\thttps://app.example.com/hr",
        "https://app.example.com/hr%0d%0aSet-Cookie:x",
        "https://app.example.com/hr%00",
        "https://app.example.com/hr%zz",
        "https://app.example.com/hr%",
        "https://\u0430pp.example.com/hr",
        "https://app.example.com\u3002evil.example/hr",
        "https://app.example.com./hr",
        "https://app..example.com/hr",
        "https://app.example.com:0443/hr",
        "https://b.example.com:99999/",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://[::1]/hr",
        "https://app.example.com/hr/" + "x" * 1100,
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    """It is refused and not interpreted, because two parsers may read an odd URL as two different hosts."""
    assert not is_allowed(url, ALLOWED)


def test_without_allowed_urls_every_url_is_refused() -> None:
    """A new stack has none by default."""
    assert not is_allowed("https://app.example.com/hr", ())


def test_an_ill_formed_allowed_url_allows_nothing() -> None:
    """An operator's mistake must not allow other hosts."""
    assert not is_allowed("https://app.example.com/hr", ("https://*.example.com", "http://app.example.com/hr"))


def test_the_receipt_is_appended_to_the_query() -> None:
    """The URL may have a query already."""
    assert with_receipt("https://app.example.com/hr", "a.b.c") == "https://app.example.com/hr?finch_receipt=a.b.c"
    assert (
        with_receipt("https://app.example.com/hr?x=1", "a.b.c") == "https://app.example.com/hr?x=1&finch_receipt=a.b.c"
    )
