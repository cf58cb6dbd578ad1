"""Parameters: what is read must be plain and occur once, blank is absent, and what nobody reads may be anything."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from finch_connect.config import read
from finch_connect.web import apigateway
from finch_connect.web.apigateway import BadRequestError, Parameters
from tests.unit.conftest import ENVIRONMENT

CONFIG = read(ENVIRONMENT)
UNREAD = [
    "utm_source=a&utm_source=b",
    "utm_source=%ff",
    "%ff=1&%ff=2",
    "=1&=2&&",
    "gclid=%zz%",
    "a%00=b%0d%0a",
    "&".join(f"p{number}=1" for number in range(200)),
]


def event(query: str, **changed: Any) -> dict[str, Any]:
    context = {"http": {"method": "GET"}, "domainName": "connect.team.example.com"}
    return {"routeKey": "GET /connect", "rawQueryString": query, "requestContext": context, **changed}


@pytest.mark.parametrize("unread", UNREAD, ids=lambda text: text[:30])
def test_parameters_that_nobody_reads_may_be_anything(unread: str) -> None:
    """Mail tools and trackers add their own, and a link must survive that."""
    for query in (f"link=a.b.c&{unread}", f"{unread}&link=a.b.c"):
        assert apigateway.read(event(query)).query.get("link") == "a.b.c"


@pytest.mark.parametrize(
    "query",
    [
        "link=a&link=b",
        "link=a&link=a",
        "link=a&link=",
        "link=&link=a",
        "link=a&%6Cink=b",
        "link=%ff",
        "link=a%c3",
        "link=\ud800",
    ],
)
def test_a_parameter_that_is_read_must_be_plain_and_occur_once(query: str) -> None:
    """Another reader might take the other value, also if its name is escaped."""
    request = apigateway.read(event(query))
    with pytest.raises(BadRequestError):
        request.query.get("link")
    with pytest.raises(BadRequestError):
        request.secret("link")


@pytest.mark.parametrize("blank", ["error=", "error", "error=+", "error=%20%09", "error=%C2%A0"])
def test_a_blank_parameter_is_absent(blank: str) -> None:
    """Some servers send every parameter they know, and leave empty what does not apply."""
    query = apigateway.read(event(f"code=c&state=s&{blank}")).query
    assert query.get("error") is None
    assert "error" not in query
    assert dict(query) == {"code": "c", "state": "s"}
    assert len(query) == 2


def test_the_same_rules_hold_for_a_form() -> None:
    """The confirm page's form is read as a query is."""
    form = apigateway.read(event("", body="link=a&form_nonce=&x=1&x=%ff")).form
    assert (form.get("link"), form.get("form_nonce")) == ("a", None)
    assert Parameters("x=1&x=2").get("y") is None


def test_a_browser_on_another_host_takes_along_only_what_is_read() -> None:
    """A tracker's parameters stay behind, and a repeated link is refused here already."""
    elsewhere = {"http": {"method": "GET"}, "domainName": "abc.execute-api.example.com"}
    request = apigateway.read(event("utm=1&utm=2&link=a.b.c&customer_id=x", requestContext=elsewhere))
    assert apigateway.moved(request, CONFIG) == "https://connect.team.example.com/connect?link=a.b.c&moved=1"
    open_links = dataclasses.replace(CONFIG, open_links=True)
    request = apigateway.read(event("utm=1&utm=2&customer_id=x&products=company+directory"))
    assert apigateway.moved(request, open_links).endswith("/connect?customer_id=x&products=company+directory&moved=1")
    with pytest.raises(BadRequestError):
        apigateway.moved(apigateway.read(event("link=a&link=b")), CONFIG)
