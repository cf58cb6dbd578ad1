"""The link key: rotated without an outage, never too short, and not thrown away because of a made-up key id."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator

import pytest

from cli.waiting import wait_for
from local.engine import RunningStack
from local.simulator import Simulator
from tests.attacks.conftest import nothing_happens, refused
from tests.attacks.test_links import by_hand, claims_of, open_link
from tests.canary import CANARIES, Visitor
from tests.conftest import Customer


@pytest.fixture
def rotate(static_stack: RunningStack, finch: Simulator) -> Iterator[Callable[..., None]]:
    """Put a new link key into the secret; the teardown makes the first one current again."""
    arn, client = static_stack.outputs["LinkKeySecretArn"], static_stack.client("secretsmanager")
    first = client.get_secret_value(SecretId=arn)["SecretString"]

    def put(kid: str, key: str | None = None) -> None:
        key = key or secrets.token_urlsafe(48)
        CANARIES.add("link key", key)
        client.put_secret_value(SecretId=arn, SecretString=json.dumps({"kid": kid, "key": key}))

    yield put
    client.put_secret_value(SecretId=arn, SecretString=first)
    wait_for(lambda: Visitor().get(Customer(static_stack, finch).link()).status == 303, timeout=45, interval=0.5)
    # Where the last read failed, an unknown `kid` gets 503 until the next read.
    customer = Customer(static_stack, finch)
    unknown = by_hand({"alg": "HS256", "kid": "unknown"}, claims_of(customer), "k" * 64)
    wait_for(lambda: open_link(customer, unknown).status == 400, timeout=45, interval=0.5)


def test_10_after_a_rotation_the_previous_key_works_and_older_ones_do_not(
    static_stack: RunningStack, finch: Simulator, rotate: Callable[..., None]
) -> None:
    """A link with an unknown `kid` makes the function read the secret again, at most every ten seconds."""
    a_link = Customer(static_stack, finch).link
    under_first = a_link()
    rotate("row-10-b")
    under_second = a_link()
    wait_for(lambda: Visitor().get(under_second).status == 303, timeout=45, interval=0.5)
    assert Visitor().get(under_first).status in {200, 303}, "the previous key works"
    rotate("row-10-c")
    under_third = Customer(static_stack, finch).link()
    wait_for(lambda: Visitor().get(under_third).status == 303, timeout=45, interval=0.5)
    wait_for(
        lambda: Visitor().get(under_first).status == 400,
        timeout=45,
        interval=0.5,
        problem="the key before the previous one still works",
    )
    assert Visitor().get(under_second).status in {200, 303}


def test_41_a_made_up_key_id_does_not_disturb_the_links_that_are_out(customer: Customer) -> None:
    """Anyone can send one, and the keys that are cached stay until a new read has worked."""
    _kid, key = customer.stack.link_key()
    for number in range(3):
        forged = by_hand({"alg": "HS256", "kid": f"made-up-{number}"}, claims_of(customer), key)
        assert refused(open_link(customer, forged))
    assert customer.connect()["status"] == "connected"


def test_41_a_short_link_key_is_not_used(
    static_stack: RunningStack, finch: Simulator, rotate: Callable[..., None]
) -> None:
    """Links under it could be forged by whoever has one of them. An operator gets the reason, a person a retry."""
    customer = Customer(static_stack, finch)
    under_good = customer.link()
    rotate("row-41-short", secrets.token_urlsafe(16))
    under_short = Customer(static_stack, finch).link()
    with nothing_happens(static_stack, finch):
        wait_for(lambda: Visitor().get(under_short).status == 503, timeout=45, interval=0.5)
    assert Visitor().get(under_good).status in {200, 303, 503}, "the cached key works until it expires"
