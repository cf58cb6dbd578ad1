"""A browser on another host is moved to the configured one, once: never a second time."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from finch_connect.config import read
from finch_connect.domain.flow import Status
from finch_connect.web import apigateway, pages
from tests.unit.conftest import ENVIRONMENT

CONFIG = read(ENVIRONMENT)
BEHIND_A_PROXY = "abc123.execute-api.eu-central-1.amazonaws.com"


def request(query: str, host: str = BEHIND_A_PROXY) -> apigateway.Request:
    """Return a request as API Gateway names its host."""
    context: dict[str, Any] = {"http": {"method": "GET"}, "domainName": host, "requestId": "r"}
    event = {"routeKey": "GET /connect", "rawQueryString": query, "headers": {}, "requestContext": context}
    return apigateway.read(event)


def test_a_browser_on_another_host_is_moved_with_its_link() -> None:
    """The link reaches the configured host unchanged, and the address says that it was moved."""
    first = request("link=a.b%2Bc&x=%26")
    assert apigateway.is_elsewhere(first, CONFIG)
    url = urlsplit(apigateway.moved(first, CONFIG))
    assert f"{url.scheme}://{url.netloc}{url.path}" == "https://connect.team.example.com/connect"
    assert parse_qs(url.query) == {"link": ["a.b+c"], "moved": ["1"]}


@pytest.mark.parametrize("marker", ["moved=1", "moved=https%3A%2F%2Fevil.example.com"])
def test_a_moved_request_is_served_whatever_host_it_names(marker: str) -> None:
    """A proxy that does not pass the host on would otherwise redirect for ever. The marker's value is not read."""
    assert not apigateway.is_elsewhere(request(f"link=a&{marker}"), CONFIG)


def test_following_the_redirect_ends() -> None:
    """Each redirect leads behind the same proxy again: one redirect, then an answer."""
    current, redirects = request("link=a"), 0
    while apigateway.is_elsewhere(current, CONFIG):
        current, redirects = request(urlsplit(apigateway.moved(current, CONFIG)).query), redirects + 1
    assert redirects == 1


def test_the_base_url_of_a_moved_request_is_the_configured_one() -> None:
    """So the redirect URI is the one that Finch knows, and the callback comes to the host that has the cookie."""
    assert apigateway.base_url(request("link=a&moved=1"), CONFIG) == "https://connect.team.example.com"


def test_a_page_does_not_offer_what_cannot_help() -> None:
    """For a failure that only an operator can fix."""
    offered, not_offered = (pages.outcome(Status.FAILED, retry=retry).body for retry in (True, False))
    assert "open your link again" in offered
    assert "open your link again" not in not_offered
    assert "can&#x27;t be fixed by trying again" in not_offered
