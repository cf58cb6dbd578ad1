"""The start of a flow: one link, one flow; humane to the person, closed to everyone else."""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qs, urlsplit

import pytest

from finch_connect.domain.errors import LinkRefusedError, ServiceUnavailableError
from finch_connect.domain.flow import ConnectMode, Status
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import digest, state_of
from finch_connect.flow.start import Confirm, NotStartable, Redirect, SessionUnavailable
from tests.unit.conftest import REDIRECT_URI, World


def parameters(redirect: Redirect) -> dict[str, list[str]]:
    return parse_qs(urlsplit(redirect.location).query, strict_parsing=True)


def test_the_authorize_url_has_each_of_the_eight_parameters_once(world: World) -> None:
    """Finch reads them by name; the products are separated by spaces, not by commas."""
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
    """Finch's own defaults hold then."""
    assert parameters(world.started()).keys() == {"client_id", "redirect_uri", "products", "state"}


def test_what_goes_into_the_url_comes_out_of_it(world: World) -> None:
    """Whatever a value holds, parsing the URL gives it back and no parameter more."""
    redirect = world.started(payroll_provider="a&state=b#c\u00e9%26")
    assert parameters(redirect)["payroll_provider"] == ["a&state=b#c\u00e9%26"]
    assert len(parameters(redirect)["state"]) == 1


def test_the_row_keeps_hashes_and_ids_only(world: World) -> None:
    """Whoever reads the table can make neither a cookie nor a state from it, nor learn the customer's name."""
    redirect = world.started(customer_name="Acme Inc", customer_email="hr@acme.example")
    state = state_of(redirect.cookie, redirect.flow_id)
    row = repr(world.row())
    assert world.row().state_hash == digest(state)
    for secret in (state.reveal(), redirect.cookie.reveal(), "Acme Inc", "hr@acme.example"):
        assert secret not in row


def test_the_same_browser_goes_on_with_the_same_state(world: World) -> None:
    """A person who opens the link again, in a second tab say, spoils nothing."""
    first = world.started()
    again = world.start(world.request(), cookie=first.cookie)
    assert isinstance(again, Redirect)
    assert again.cookie == first.cookie
    assert parameters(again)["state"] == parameters(first)["state"]


def test_another_browser_is_asked_first_and_changes_nothing(world: World) -> None:
    """Opening a link that is in use elsewhere writes nothing: only the button takes over."""
    world.started()
    before = world.row()
    assert isinstance(world.start(world.request()), Confirm)
    assert world.row() == before


def test_the_button_takes_the_flow_over_and_the_first_state_dies(world: World) -> None:
    """The person has moved to another browser: the flow is there now."""
    first = world.started()
    page = world.start(world.request())
    assert isinstance(page, Confirm)
    taken = world.confirm(world.request(), page.form_cookie, page.form_nonce)
    assert isinstance(taken, Redirect)
    assert world.row().state_hash == digest(state_of(taken.cookie, taken.flow_id))
    assert taken.cookie != first.cookie


def test_a_link_that_asks_for_it_is_confirmed_first(world: World) -> None:
    """Mail scanners open links: a GET of such a link writes nothing."""
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
def test_after_an_ending_without_a_connection_the_link_starts_anew(world: World, ending: Status) -> None:
    """A person who said no may change their mind; the new attempt has a new cookie and a new state."""
    first = world.started()
    world.table.flows[first.flow_id] = dataclasses.replace(world.row(), status=ending)
    again = world.start(world.request(), cookie=first.cookie)
    assert isinstance(again, Redirect)
    assert again.cookie != first.cookie
    assert world.row().status is Status.STARTED


@pytest.mark.parametrize("standing", [Status.CLAIMED, Status.CONNECTED, Status.UNSTORED, Status.QUARANTINED])
def test_a_link_whose_flow_is_finished_or_being_finished_says_so(world: World, standing: Status) -> None:
    """A used link is used up, also for the browser that used it."""
    first = world.started()
    world.table.flows[first.flow_id] = dataclasses.replace(world.row(), status=standing)
    before = world.row()
    assert world.start(world.request(), cookie=first.cookie) == NotStartable(standing)
    assert world.row() == before


def test_a_state_never_outlives_its_link_by_more_than_an_hour(world: World) -> None:
    """The deadline is the smaller of the state's lifetime and the link's end plus an hour."""
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


def test_a_table_that_is_down_is_said_and_nothing_is_written(world: World) -> None:
    """The same link works again a minute later."""
    world.table.down = True
    with pytest.raises(ServiceUnavailableError):
        world.start(world.request())


@pytest.fixture
def session_world(world: World) -> World:
    """A stack in session mode."""
    world.config = dataclasses.replace(world.config, connect_mode=ConnectMode.SESSION)
    return world


def test_a_session_is_opened_and_carries_the_state(session_world: World) -> None:
    """The state is not in the session: it is added to its URL, as Finch's own browser SDK does."""
    redirect = session_world.started(customer_name="Acme Inc")
    assert parameters(redirect) == {
        "session": ["5a8c"],
        "state": [state_of(redirect.cookie, redirect.flow_id).reveal()],
    }
    assert session_world.sessions.opened == [("new", "acme")]


def test_a_customer_who_is_connected_already_reauthenticates(session_world: World) -> None:
    """Finch refuses a second session for a customer: the connection it names is renewed instead."""
    session_world.sessions.connected["acme"] = "connection-7"
    session_world.started(customer_name="Acme Inc")
    assert session_world.sessions.opened == [("reauthenticate", "connection-7")]


def test_a_link_that_names_a_connection_reauthenticates_it(session_world: World) -> None:
    """The team knows which connection has lost its access."""
    session_world.started(customer_name="Acme Inc", connection_id="connection-9")
    assert session_world.sessions.opened == [("reauthenticate", "connection-9")]


def test_without_a_session_the_browser_keeps_its_cookie_and_may_try_again(session_world: World) -> None:
    """The flow stands: the same link in the same browser goes on where it was."""
    session_world.sessions.refuses = True
    refused = session_world.start(session_world.request(customer_name="Acme Inc"))
    assert isinstance(refused, SessionUnavailable)
    session_world.sessions.refuses = False
    again = session_world.start(session_world.request(customer_name="Acme Inc"), cookie=refused.cookie)
    assert isinstance(again, Redirect)


def test_a_session_url_of_another_origin_is_not_followed(session_world: World) -> None:
    """The browser goes to Finch and nowhere else, whatever an answer says."""
    session_world.sessions.url = "https://connect.example.com.evil.example/authorize?session=5a8c"
    answer = session_world.start(session_world.request(customer_name="Acme Inc"))
    assert isinstance(answer, SessionUnavailable)
