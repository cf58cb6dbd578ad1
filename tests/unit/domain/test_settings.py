"""Settings that can never work are refused at start, by name and with what would work."""

from __future__ import annotations

import re

import pytest

from finch_connect.config import read
from finch_connect.domain import settings
from finch_connect.domain.errors import ConfigurationError
from finch_connect.domain.return_urls import is_allowed
from tests.template import load_template
from tests.unit.conftest import ENVIRONMENT

PARAMETERS = load_template()["Parameters"]

DEAD_RETURN_URLS = {
    "https://App.Example.com/hr": "lower case",
    "HTTPS://app.example.com/hr": "lower case",
    "http://app.example.com/hr": "use https",
    "http://localhost.example.com/hr": "plain URL",
    "ftp://app.example.com/hr": "use https",
    "https://app.example.com/hr#done": "fragment",
    "https://app.example.com/hr?tab=1": "query",
    "https://*.example.com/hr": "leave out the *",
    "https://app.example.com/hr/*": "leave out the *",
    "https://me@app.example.com/hr": "user name",
    "https://b\u00fccher.example.com/hr": "xn--",
    "https://app.example.com/hr//done": "empty segment",
    "https://app.example.com/hr/../x": ". and ..",
    "https://app.example.com/" + "x" * 1024: "1024",
    "https://app.example.com./hr": "plain URL",
    "https://app..example.com/hr": "plain URL",
    "https://app.example.com:99999/hr": "plain URL",
    "https://app.example.com:0443/hr": "plain URL",
    "https://app.example.com\\hr": "plain URL",
    "https://app.example.com/%2e%2e/x": "plain URL",
    "https://[::1]/hr": "plain URL",
    "https://a.example.com,https://b.example.com": "spaces",
    "hr.example.com/app": "whole URL",
    "https:///hr": "whole URL",
}
LIVE_RETURN_URLS = (
    "https://app.example.com",
    "https://app.example.com/",
    "https://app.example.com/hr",
    "https://app.example.com/hr/",
    "https://app.example.com:8443/hr",
    "https://xn--bcher-kva.example.com/a~b/c_d",
    "http://localhost:3000/connected",
    "http://127.0.0.1/x",
)


def refusal(**changed: str) -> str:
    """Return why this configuration is refused at start."""
    with pytest.raises(ConfigurationError) as caught:
        read(ENVIRONMENT | changed)
    return caught.value.reason


@pytest.mark.parametrize("url", DEAD_RETURN_URLS)
def test_a_return_url_under_which_no_link_could_be_is_refused_at_start(url: str) -> None:
    """The refusal has the variable, the entry's number and what would work, and never the entry itself."""
    reason = refusal(ALLOWED_RETURN_URLS=f"https://fine.example.com/hr {url}")
    assert "ALLOWED_RETURN_URLS (entry 2: " in reason
    assert DEAD_RETURN_URLS[url] in reason
    assert url not in reason


@pytest.mark.parametrize("url", LIVE_RETURN_URLS)
def test_a_return_url_under_which_links_can_be_is_accepted(url: str) -> None:
    """A link to exactly this URL passes, and so does the template's pattern."""
    assert read(ENVIRONMENT | {"ALLOWED_RETURN_URLS": url}).allowed_return_urls == (url,)
    assert is_allowed(url, [url])
    assert fits("AllowedReturnUrls", f"{url} {url}")


@pytest.mark.parametrize(
    ("variable", "value", "instead"),
    [
        ("ALLOWED_PRODUCTS", "company,directory", "words separated by spaces"),
        ("ALLOWED_PRODUCTS", "company payrol", "pay_statement"),
        ("ALLOWED_PRODUCTS", "Company", "company"),
        ("ALLOWED_PRODUCTS", "company company", "once"),
        ("ALLOWED_PRODUCTS", "deduction benefits", "not both"),
        ("ALLOWED_CLIENT_TYPES", "live", "development production sandbox"),
        ("ALLOWED_CLIENT_TYPES", "Production", "development production sandbox"),
        ("PUBLIC_URL", "https://Connect.example.com", "lower case"),
        ("PUBLIC_URL", "https://connect.example.com/", "no slash at the end"),
        ("PUBLIC_URL", "https://connect.example.com/hr", "no path"),
        ("PUBLIC_URL", "http://connect.example.com", "https://"),
        ("PUBLIC_URL", "connect.example.com", "https://"),
        ("PUBLIC_URL", "https://connect..example.com", "host"),
        ("PUBLIC_URL", "https://connect.example.com:70000", "host"),
        ("FINCH_API_URL", "https://api.example.com/v1", "no path"),
        ("FINCH_CONNECT_URL", "https://connect.example.com/authorize", "no path"),
        ("LINK_MAX_LIFETIME_SECONDS", "59", "60 to 2592000"),
        ("LINK_MAX_LIFETIME_SECONDS", "2592001", "60 to 2592000"),
        ("STATE_LIFETIME_SECONDS", "599", "600 to 604800"),
        ("STATE_LIFETIME_SECONDS", "6048000000000", "600 to 604800"),
        ("REQUEST_BUDGET_SECONDS", "15", "CALL_TIMEOUT_SECONDS"),
        ("REQUEST_BUDGET_SECONDS", "30", "at most 29"),
        ("CALL_TIMEOUT_SECONDS", "6", "CALL_TIMEOUT_SECONDS"),
        ("CALL_TIMEOUT_SECONDS", "-1", "seconds"),
        ("CONNECT_MODE", "sessions", "static or session"),
        ("FINCH_API_VERSION", "2020", "YYYY-MM-DD"),
    ],
)
def test_a_setting_that_can_never_work_is_refused_with_what_would_work(variable: str, value: str, instead: str) -> None:
    """A function that starts with such a setting would refuse or fail every request, in silence."""
    reason = refusal(**{variable: value})
    assert variable in reason or variable == "CALL_TIMEOUT_SECONDS"
    assert instead in reason


def fits(parameter: str, value: str) -> bool:
    """Return whether CloudFormation accepts a parameter's value: the pattern has to match all of it."""
    return re.fullmatch(PARAMETERS[parameter]["AllowedPattern"], value) is not None


@pytest.mark.parametrize("url", [url for url in DEAD_RETURN_URLS if "99999" not in url and "/x" not in url])
def test_the_template_refuses_a_dead_return_url_before_a_deployment(url: str) -> None:
    """A pattern cannot express all rules: `make deploy` checks the others (dots, ports, length)."""
    assert fits("AllowedReturnUrls", url) == (".." in url or len(url) > 1024)


def test_the_template_and_the_configuration_have_the_same_bounds() -> None:
    """A rule stands once; the template's copy is compared here."""
    for parameter, bounds in {
        "LinkMaxLifetimeSeconds": settings.LINK_LIFETIMES,
        "StateLifetimeSeconds": settings.STATE_LIFETIMES,
    }.items():
        assert (PARAMETERS[parameter]["MinValue"], PARAMETERS[parameter]["MaxValue"]) == (bounds[0], bounds[-1])
    assert settings.STATE_LIFETIMES[0] // 60 >= 1
    assert settings.STATE_LIFETIMES[-1] // 60 <= 129_600, "the most minutes of a Connect session"


def test_the_template_and_the_configuration_have_the_same_words() -> None:
    """Each of Finch's products and client types passes both, and an unknown one neither."""
    for product in settings.PRODUCTS:
        assert fits("AllowedProducts", f"company {product}")
    for client_type in settings.CLIENT_TYPES:
        assert fits("AllowedClientTypes", client_type)
    assert not fits("AllowedProducts", "payrol")
    assert not fits("AllowedClientTypes", "live")
    assert settings.products_problem(PARAMETERS["AllowedProducts"]["Default"].split()) is None
