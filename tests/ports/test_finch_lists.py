"""The lists in Finch's answer: what is long or cannot be read is neither dropped silently nor taken as allowed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from finch_connect.adapters.finch import FinchApi
from finch_connect.domain.grant import Grant
from finch_connect.domain.secret import Secret
from local.server import Server, StartResponse
from tests.fakes import FakeDeadline


class Answering(Server):
    """A Finch that gives one answer to every exchange and introspection."""

    def __init__(self) -> None:
        super().__init__("answering", 0, self._wsgi)
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.answers: dict[str, Any] = {}

    def _wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body = json.dumps(self.answers[environ["PATH_INFO"]]).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """The server that answers as a test says."""
    with Answering() as server:
        yield server


def granted(answering: Answering, **facts: Any) -> Grant:
    answering.answers["/auth/token"] = {"access_token": "t", "connection_id": "c-1", **facts}
    api = FinchApi(answering.url, "client-1", "2020-09-17")
    given = {"code": Secret("code"), "redirect_uri": "http://localhost", "client_secret": Secret("s")}
    answer = api.exchange(**given, deadline=FakeDeadline())  # type: ignore[arg-type]
    assert isinstance(answer, Grant)
    return answer


def test_more_than_a_hundred_entities_are_no_empty_list(answering: Answering) -> None:
    """An accountant's connection may have a thousand."""
    ids = [f"entity-{number}" for number in range(1_000)]
    grant = granted(answering, entity_ids=ids)
    assert (grant.entity_ids, grant.entity_count) == (tuple(ids), None)


def test_an_entity_that_cannot_be_read_is_counted(answering: Answering) -> None:
    """The others are kept, and the document says that one is missing. An introspection does not change that."""
    grant = granted(answering, entity_ids=["e-1", 2, "e-3"])
    assert (grant.entity_ids, grant.entity_count) == (("e-1", "e-3"), 3)
    answering.answers["/introspect"] = {"entity_ids": ["e-9"], "provider_id": "gusto"}
    complete = FinchApi(answering.url, "client-1", "2020-09-17").introspect(grant, deadline=FakeDeadline())
    assert (complete.entity_ids, complete.entity_count, complete.provider_id) == (("e-1", "e-3"), 3, "gusto")


@pytest.mark.parametrize("entity_ids", [None, "e-1", {"e-1": 1}])
def test_entities_of_another_type_are_absent(answering: Answering, entity_ids: Any) -> None:
    """A field of another type than documented counts as absent."""
    grant = granted(answering, entity_ids=entity_ids)
    assert (grant.entity_ids, grant.entity_count) == ((), None)


def test_a_long_list_of_products_is_not_taken_as_unknown(answering: Answering) -> None:
    """Unknown products are not held against an answer, so a long list must stay a list."""
    grant = granted(answering, products=["company"] * 500 + [f"product-{number}" for number in range(500)])
    assert grant.products is not None
    assert grant.products[:2] == ("company", "product-0")
    assert len(grant.products) == 100


def test_a_product_that_cannot_be_read_is_not_allowed(answering: Answering) -> None:
    """It keeps its place, under a name that no stack allows."""
    assert granted(answering, products=["company", 5, "ssn\n"]).products == ("company", "unreadable")
