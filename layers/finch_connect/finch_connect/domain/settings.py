"""Rules for settings that are well-formed but can never work. Each returns what would work, or None if it is fine.

They run at start, and `make deploy` runs them before it creates anything. No sentence contains the setting's value.
"""

from __future__ import annotations

from collections.abc import Sequence

from finch_connect.domain.return_urls import MAX_LENGTH, is_allowed

PRODUCTS = frozenset(
    {
        *("benefits", "company", "deduction", "directory", "documents", "employment", "individual"),
        *("pay_statement", "payment", "plans", "plans_dependents", "plans_enrollments", "recordkeeping", "ssn"),
    }
)
"""Finch's products (Finch's SDKs have them as a closed enumeration)."""

CLIENT_TYPES = frozenset({"production", "development", "sandbox"})

LINK_LIFETIMES = range(60, 2_592_001)
STATE_LIFETIMES = range(600, 604_801)
"""Seconds, as in the template. A state's lifetime in minutes is also a Connect session's (Finch: 1 to 129,600)."""

REQUEST_BUDGET_MAX_SECONDS = 29.0
"""API Gateway ends a request after 30 seconds, and the answer needs a moment."""

RESERVED_CALLS = 5
"""The calls for which a callback reserves time around the exchange (docs/architecture.md, Time)."""

_LOCAL_HOSTS = ("http://localhost", "http://127.0.0.1")


def return_urls_problem(urls: Sequence[str]) -> str | None:
    """Return what is wrong with the first URL under which no link's return URL could be."""
    for number, url in enumerate(urls, 1):
        problem = _return_url_problem(url)
        if problem is not None:
            return f"entry {number}: {problem}"
    return None


def _return_url_problem(url: str) -> str | None:
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    causes = (
        ("," in host or ";" in host, "separate the URLs with spaces"),
        (not separator or not host, "write the whole URL, such as https://app.example.com/hr"),
        ("*" in url, "leave out the *: each URL allows every path under it, and each host needs its own URL"),
        ("#" in url, "leave out the fragment (# and what follows)"),
        ("?" in url, "leave out the query: only scheme, host, port and path are compared"),
        ("@" in host, "leave out the user name"),
        (scheme != scheme.lower() or host != host.lower(), "write scheme and host in lower case, as browsers do"),
        (not host.isascii(), "write the host in its ASCII form (xn--…)"),
        (scheme == "http" and not url.startswith(_LOCAL_HOSTS), "use https: http works on this machine only"),
        (scheme not in {"https", "http"}, "use https"),
        (slash and "//" in f"/{path}", "leave out the empty segment in the path"),
        (any(segment in {".", ".."} for segment in path.split("/")), "leave out . and .. in the path"),
        (len(url) > MAX_LENGTH, f"use at most {MAX_LENGTH} characters"),
        (not is_allowed(url, [url]), "use a plain URL such as https://app.example.com/hr"),
    )
    return next((fix for applies, fix in causes if applies), None)


def products_problem(products: Sequence[str]) -> str | None:
    """Return why no link could request these products, or why a link that requests all of them would fail."""
    if not set(products) <= PRODUCTS:
        return f"words separated by spaces, each one of {' '.join(sorted(PRODUCTS))}"
    if len(set(products)) != len(products):
        return "each product once"
    if {"benefits", "deduction"} <= set(products):
        return "benefits or deduction, not both: Finch treats them as the same product"
    return None


def client_types_problem(client_types: Sequence[str]) -> str | None:
    """Return why Finch would never name one of these types."""
    return None if set(client_types) <= CLIENT_TYPES else f"words of {' '.join(sorted(CLIENT_TYPES))}"


def budget_problem(request_budget: float, call_timeout: float) -> str | None:
    """Return why no code could ever be exchanged within this budget."""
    if request_budget > REQUEST_BUDGET_MAX_SECONDS:
        return f"at most {REQUEST_BUDGET_MAX_SECONDS:g}, because API Gateway ends a request after 30 seconds"
    if request_budget <= RESERVED_CALLS * call_timeout:
        return f"more than {RESERVED_CALLS} times CALL_TIMEOUT_SECONDS, or no time is left for the exchange"
    return None
