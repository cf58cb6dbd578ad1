"""Row 33: after the whole suite, each secret is in the vault and nowhere else. These tests run last."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from local.browser import Page
from local.engine import RunningStack
from local.simulator import Simulator
from tests.canary import CANARIES, CLIENT_SECRET, CUSTOMER_EMAIL, CUSTOMER_NAME
from tests.conftest import Customer, Inbox, query_of

FUNCTIONS = ("ConnectFunction", "CallbackFunction", "RelayFunction", "SweeperFunction")


@pytest.fixture
def canaries(static_stack: RunningStack, session_stack: RunningStack) -> dict[str, set[str]]:
    """Return every secret value of the suite, by kind."""
    keys = {stack.link_key()[1] for stack in (static_stack, session_stack)}
    known = {
        "client secret": {CLIENT_SECRET},
        "link key": keys,
        "customer's name": {CUSTOMER_NAME},
        "customer's e-mail": {CUSTOMER_EMAIL},
    }
    return {kind: CANARIES.values.get(kind, set()) | known.get(kind, set()) for kind in CANARIES.values.keys() | known}


def found_in(text: str, values: Iterable[str]) -> list[str]:
    """Return the values that a text contains: plain, escaped as in JSON or a URL, or in base64."""
    spelled = ((value, (value, quote(value, safe=""), json.dumps(value)[1:-1], _base64(value))) for value in values)
    return [value for value, spellings in spelled if any(spelling in text for spelling in spellings)]


def _base64(value: str) -> str:
    """Return the part of a value's base64 that does not depend on the text after it."""
    return base64.b64encode(value.encode())[: len(value) // 3 * 4].decode()


def everything_stored(stack: RunningStack, inbox: Inbox) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of everything stored outside the vault: logs and metrics, rows, events, parameter names."""
    for function in FUNCTIONS:
        yield f"log of {function}", "\n".join(stack.logs(function))
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["TableName"])
    yield "rows", json.dumps([item for page in pages for item in page["Items"]], default=str, ensure_ascii=False)
    inbox.of(Customer(stack, Simulator()))
    yield "events", json.dumps(inbox.events, ensure_ascii=False)
    stored = stack.client("ssm").get_paginator("get_parameters_by_path").paginate(Path="/", Recursive=True)
    yield "names of parameters", json.dumps([one["Name"] for page in stored for one in page["Parameters"]])


def test_33_no_secret_is_in_a_log_a_metric_an_event_or_a_row(
    static_stack: RunningStack, inbox: Inbox, stack: RunningStack, canaries: dict[str, set[str]]
) -> None:
    """Covers codes, states, cookies, tokens, links, keys, the client secret, and the customer's name and e-mail."""
    assert len(canaries["code"]) > 1
    assert len(canaries["token"]) > 1
    stored = dict(everything_stored(stack, inbox))
    assert '"message":"started"' in stored["log of ConnectFunction"], "the logs are searched"
    assert '"_aws"' in stored["log of CallbackFunction"], "metrics are in the logs"
    assert "Connection Established" in stored["events"]
    assert "state_hash" in stored["rows"]
    leaks = {(kind, place) for place, text in stored.items() for kind in canaries if found_in(text, canaries[kind])}
    assert leaks == set()


def leaks_of(page: Page, canaries: dict[str, set[str]], finch_url: str) -> set[str]:
    """Return the kinds of secrets that an answer has where it must not.

    A cookie may be in Set-Cookie, a state in the redirect to Finch, and a link and the customer's name on the confirm
    page. A code, a token and a key may be nowhere.
    """
    location = page.location or ""
    may_be_in_body = {"link", "customer's name"} if "<form" in page.text else set()
    may_be_in_location = {"state"} if location.startswith(finch_url) else set()
    headers = "\n".join(
        f"{name}: {value}" for name, value in page.headers.items() if name.lower() not in {"set-cookie", "location"}
    )
    leaks = {kind for kind, values in canaries.items() if found_in(headers, values)}
    leaks |= {kind for kind, values in canaries.items() if kind not in may_be_in_body and found_in(page.text, values)}
    kinds = canaries.keys() - may_be_in_location
    leaks |= {kind for kind in kinds if found_in("\n".join(query_of(location).values()), canaries[kind])}
    return leaks


def test_33_no_secret_is_on_a_page_or_in_a_redirect(canaries: dict[str, set[str]], finch_server: Simulator) -> None:
    """Covers every answer of the stacks to the suite. Only the redirect to Finch has the state."""
    words = {value: kind for kind, values in canaries.items() for value in values}
    assert len(CANARIES.pages) > 1
    leaks: dict[str, set[str]] = {}
    for page in CANARIES.pages:
        text = "\n".join([page.text, page.location or "", repr(dict(page.headers))])
        present: dict[str, set[str]] = {}
        for word, kind in words.items():  # narrow down to the few that are in the answer, then check where they are
            if word in text or quote(word, safe="") in text:
                present.setdefault(kind, set()).add(word)
        if found := leaks_of(page, present, finch_server.url):
            leaks.setdefault(page.url.partition("?")[0], set()).update(found)
    assert leaks == {}


def test_33_tokens_are_in_the_vault_and_only_there(static_stack: RunningStack, canaries: dict[str, set[str]]) -> None:
    """Tokens are only in secrets under `connections/` or `quarantine/`, and those contain no other secret value."""
    client = static_stack.client("secretsmanager")
    listed = client.get_paginator("list_secrets").paginate()
    names = [one["Name"] for page in listed for one in page["SecretList"] if "DeletedDate" not in one]
    contents: dict[str, Any] = {name: client.get_secret_value(SecretId=name)["SecretString"] for name in names}
    with_token = {name for name, text in contents.items() if found_in(text, canaries["token"])}
    assert with_token
    assert {name.split("/")[2] for name in with_token} <= {"connections", "quarantine"}
    for name in with_token:
        others = {kind for kind in canaries.keys() - {"token"} if found_in(contents[name], canaries[kind])}
        assert others == set(), name
