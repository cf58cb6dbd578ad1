"""The ids, cookies, states and nonces that bind a callback to the browser that started the flow."""

from __future__ import annotations

import pytest

from finch_connect.domain import states
from finch_connect.domain.secret import Secret

FLOW_ID = states.flow_id_of("acme", "link-1")
COOKIE = states.new_cookie(bytes(range(32)), FLOW_ID, Secret("k" * 64))


def test_each_link_of_each_customer_has_one_flow_id() -> None:
    """The id depends on the customer and the link alone, and their texts cannot be confused with each other."""
    assert states.flow_id_of("acme", "link-1") == FLOW_ID
    others = {states.flow_id_of(*names) for names in [("acmel", "ink-1"), ("acme", "link-2"), ("globex", "link-1")]}
    assert len(others - {FLOW_ID}) == 3


def test_a_state_names_its_flow_and_depends_on_the_cookie() -> None:
    """Only the browser with the cookie can have a flow's state (RFC 6749 section 10.12)."""
    state = states.state_of(COOKIE, FLOW_ID)
    assert states.flow_id_in(state.reveal()) == FLOW_ID
    assert state == states.state_of(COOKIE, FLOW_ID)
    assert state != states.state_of(Secret("B" * 43), FLOW_ID)


@pytest.mark.parametrize(
    "state", ["", FLOW_ID, f"{FLOW_ID}.{'A' * 42}", f"{FLOW_ID}.{'A' * 44}", f" {FLOW_ID}.{'A' * 43}"]
)
def test_a_malformed_state_names_no_flow(state: str) -> None:
    """So nothing is looked up for it."""
    assert states.flow_id_in(state) is None


def test_a_form_nonce_is_not_the_mac_of_a_state() -> None:
    """A nonce on the confirm page must not help anybody to make a state under the same cookie."""
    nonce = states.form_nonce_of(COOKIE, FLOW_ID, 1).reveal()
    assert nonce not in states.state_of(COOKIE, FLOW_ID).reveal()
    assert nonce != states.form_nonce_of(COOKIE, states.flow_id_of("acme", "link-2"), 1).reveal()


def test_only_a_flows_cookie_names_a_flow() -> None:
    """The confirm form's cookie belongs to the stack as well, but it is bound to the form's nonce alone."""
    flow, form = states.cookie_name(FLOW_ID), states.form_cookie_name(FLOW_ID)
    assert states.is_cookie_name(flow)
    assert states.is_cookie_name(form)
    assert not states.is_cookie_name(f"{flow}x")
    assert states.flow_id_of_cookie(flow) == FLOW_ID
    assert states.flow_id_of_cookie(form) is None
    assert states.flow_id_of_cookie(f"{flow}x") is None


def test_a_digest_is_sha_256_in_hex() -> None:
    """A row has states and codes in this form only (FIPS 180-4: the digest of `abc`)."""
    assert states.digest(Secret("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
