"""The start of a flow: one flow for each link, open to its person and closed to everyone else."""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qs, urlsplit

import pytest

from finch_connect.domain.errors import LinkRefusedError, ServiceUnavailableError
from finch_connect.domain.flow import Status
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import digest, state_of
from finch_connect.flow.start import Confirm, NotStartable, Redirect, SessionUnavailable
from tests.unit.conftest import REDIRECT_URI, World


def parameters(redirect: Redirect) -> dict[str, list[str]]:
    return parse_qs(urlsplit(redirect.location).query, strict_parsing=True)


def test_the_authorize_url_has_each_of_the_eight_parameters_once(world: World) -> None:
    """Finch reads them by name. The products are separated by spaces, not by commas."""
    redirect = world.started(category="hris", payroll_provider="gusto", sandbox="true", manual=False)
    assert redirect.location.startswith("https://connect.example.com/authorize?")
    assert parameters(redirect) == {
        "client_id": ["client-1"],
        "redirect_uri": [REDIRECT_URI],
        "products": ["company directory"],
        "category": ["hris"],
        "state": [state_of(redirect.cookie, redirect.flow_id).reveal()],
        "payroll_provider": ["gusto"],
        "sandbox": ["true"],
        "manual": ["false"],
    }


def test_what_the_link_leaves_out_is_not_sent(world: World) -> None:
    """Finch's own defaults then apply."""
    assert parameters(world.started()).keys() == {"client_id", "redirect_uri", "products", "state"}


def test_values_in_the_authorize_url_are_escaped(world: World) -> None:
    """Parsing the URL returns each value as it was, and no additional parameter."""
    redirect = world.started(payroll_provider="a&state=b#c\u00e9%26")
    assert parameters(redirect)["payroll_provider"] == ["a&state=b#c\u00e9%26"]
    assert len(parameters(redirect)["state"]) == 1


def test_the_row_has_only_hashes_and_ids(world: World) -> None:
    """Nobody who reads the table can make a cookie or a state from it, or see the customer's name."""
    redirect = world.started(customer_name="Acme Inc", customer_email="hr@acme.example")
    state = state_of(redirect.cookie, redirect.flow_id)
    row = repr(world.row())
    assert world.row().state_hash == digest(state)
    for secret in (state.reveal(), redirect.cookie.reveal(), "Acme Inc", "hr@acme.example"):
        assert secret not in row


def test_the_same_browser_resumes_with_the_same_state(world: World) -> None:
    """A person may open the link again, for example in a second tab."""
    first = world.started()
    again = world.start(world.request(), cookie=first.cookie)
    assert isinstance(again, Redirect)
    assert again.cookie == first.cookie
    assert parameters(again)["state"] == parameters(first)["state"]


def test_another_browser_is_asked_for_confirmation_first(world: World) -> None:
    """Opening a link that is in use in another browser writes nothing. Only the confirmation takes the flow over."""
    world.started()
    before = world.row()
    assert isinstance(world.start(world.request()), Confirm)
    assert world.row() == before


def test_a_confirmation_takes_the_flow_over_and_ends_the_first_state(world: World) -> None:
    """The person has moved to another browser, where the flow now continues."""
    first = world.started()
    page = world.start(world.request())
    assert isinstance(page, Confirm)
    taken = world.confirm(world.request(), page.form_cookie, page.form_nonce)
    assert isinstance(taken, Redirect)
    assert world.row().state_hash == digest(state_of(taken.cookie, taken.flow_id))
    assert taken.cookie != first.cookie


def test_a_link_that_requires_confirmation_writes_nothing_before_it(world: World) -> None:
    """Mail scanners open links, so a GET of such a link must not start a flow."""
    assert isinstance(world.start(world.request(confirm=True)), Confirm)
    assert world.table.flows == {}


def test_the_form_of_another_site_is_refused(world: World) -> None:
    """The nonce is bound to a cookie that another site can neither read nor set."""
    page = world.start(world.request(confirm=True))
    assert isinstance(page, Confirm)
    other = Secret("A" * 43)
    with pytest.raises(LinkRefusedError, match="form_nonce_wrong"):
        world.confirm(world.request(), other, page.form_nonce)
    with pytest.raises(LinkRefusedError, match="form_nonce_wrong"):
        world.confirm(world.request(link="link-2"), page.form_cookie, page.form_nonce)
    assert world.table.flows == {}


@pytest.mark.parametrize("ending", [Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED])
def test_a_link_starts_its_flow_again_after_an_end_without_a_connection(world: World, ending: Status) -> None:
    """A person who denied access may change their mind. The new attempt has a new cookie and a new state."""
    first = world.started()
    world.table.flows[first.flow_id] = dataclasses.replace(world.row(), status=ending)
    again = world.start(world.request(), cookie=first.cookie)
    assert isinstance(again, Redirect)
    assert again.cookie != first.cookie
    assert world.row().status is Status.STARTED


@pytest.mark.parametrize("status", [Status.CLAIMED, Status.CONNECTED, Status.UNSTORED, Status.QUARANTINED])
def test_a_link_whose_flow_is_finished_or_being_finished_starts_nothing(world: World, status: Status) -> None:
    """A used link is used up, also for the browser that used it."""
    first = world.started()
    world.table.flows[first.flow_id] = dataclasses.replace(world.row(), status=status)
    before = world.row()
    assert world.start(world.request(), cookie=first.cookie) == NotStartable(status)
    assert world.row() == before


def test_a_state_never_outlives_its_link_by_more_than_an_hour(world: World) -> None:
    """The deadline is the end of the state's lifetime or one hour after the link's end, whichever is earlier."""
    started = int(world.clock().timestamp())
    world.started(expires_at=started + 600)
    assert world.row().deadline == (started + 600 + 3600) * 1000
    world.started(link="link-2", expires_at=started + 7 * 86400)
    assert world.row(link="link-2").deadline == (started + 86400) * 1000


def test_the_row_outlives_the_link(world: World) -> None:
    """TTL must not make a used link usable again."""
    request = world.request()
    world.start(request)
    assert world.row().expires > request.expires_at + 86400


def test_nothing_is_written_while_the_table_is_unavailable(world: World) -> None:
    """The same link works again a minute later."""
    world.table.down = True
    with pytest.raises(ServiceUnavailableError):
        world.start(world.request())
    world.table.down = False
    assert world.table.flows == {}
    assert isinstance(world.start(world.request()), Redirect)


def test_a_session_is_opened_and_its_url_has_the_state(session_world: World) -> None:
    """A session has no state of its own, so it is added to the URL, as Finch's own browser SDK does."""
    redirect = session_world.started(customer_name="Acme Inc")
    assert parameters(redirect) == {
        "session": ["5a8c"],
        "state": [state_of(redirect.cookie, redirect.flow_id).reveal()],
    }
    assert session_world.sessions.opened == [("new", "acme")]


def test_a_customer_who_is_already_connected_reauthenticates(session_world: World) -> None:
    """Finch refuses to open a session for a second connection. The connection that it names is renewed instead."""
    session_world.sessions.connected["acme"] = "connection-7"
    session_world.started(customer_name="Acme Inc")
    assert session_world.sessions.opened == [("reauthenticate", "connection-7")]


def test_a_link_that_names_a_connection_reauthenticates_it(session_world: World) -> None:
    """The team knows which connection has lost its access."""
    session_world.started(customer_name="Acme Inc", connection_id="connection-9")
    assert session_world.sessions.opened == [("reauthenticate", "connection-9")]


def test_without_a_session_the_browser_keeps_its_cookie_and_can_try_again(session_world: World) -> None:
    """The flow has started, so the same link in the same browser resumes it."""
    session_world.sessions.refuses = True
    refused = session_world.start(session_world.request(customer_name="Acme Inc"))
    assert isinstance(refused, SessionUnavailable)
    session_world.sessions.refuses = False
    again = session_world.start(session_world.request(customer_name="Acme Inc"), cookie=refused.cookie)
    assert isinstance(again, Redirect)


def test_a_session_url_of_another_origin_is_not_followed(session_world: World) -> None:
    """Whatever Finch's answer has, the browser is sent to Finch only."""
    session_world.sessions.url = "https://connect.example.com.evil.example/authorize?session=5a8c"
    answer = session_world.start(session_world.request(customer_name="Acme Inc"))
    assert isinstance(answer, SessionUnavailable)
