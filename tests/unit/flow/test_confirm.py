"""The confirm page: pressed twice, pressed late, pressed again."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.domain.errors import LinkRefusedError
from finch_connect.domain.flow import ConnectMode, Status
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import form_nonce_of, has_tag_of, new_form_cookie, state_of
from finch_connect.flow.start import Browser, Confirm, Redirect, SessionUnavailable, start
from tests.unit.conftest import REDIRECT_URI, World


def asked(world: World) -> Confirm:
    """Open a link that asks first."""
    answer = world.start(world.request(confirm=True))
    assert isinstance(answer, Confirm)
    world.clock.forward(seconds=1)
    return answer


def press(world: World, page: Confirm, cookie: Secret | None = None) -> Redirect:
    """Press the page's button in a browser that has this flow cookie."""
    answer = world.confirm(world.request(), page.form_cookie, page.form_nonce, cookie)
    assert isinstance(answer, Redirect)
    return answer


def test_two_presses_are_one_attempt(world: World) -> None:
    """Whichever answer the browser keeps, its state is the one in the row."""
    page = asked(world)
    first, second = press(world, page), press(world, page)
    assert first.cookie == second.cookie
    assert world.finish(first).status is Status.CONNECTED


def test_two_presses_are_one_attempt_with_an_earlier_cookie_too(world: World) -> None:
    """The browser sends the cookie of an attempt that another browser took over."""
    earlier = world.started()
    world.clock.forward(seconds=1)
    press(world, asked(world))
    page = asked(world)
    first = press(world, page, earlier.cookie)
    for cookie in (earlier.cookie, first.cookie, None):
        assert press(world, page, cookie).cookie == first.cookie


def test_two_presses_are_one_attempt_during_a_rotation(world: World) -> None:
    """The second function already knows the new key: the tag differs, and the state does not."""
    page = asked(world)
    first = press(world, page)
    world.keys.keys.append(LinkKey("2", Secret("q" * 64)))
    second = press(world, page)
    assert state_of(first.cookie, first.flow_id) == state_of(second.cookie, second.flow_id)
    assert world.finish(first).status is Status.CONNECTED


@pytest.mark.parametrize("ending", [Status.DENIED, Status.FAILED, Status.ABANDONED, Status.ORPHANED])
def test_a_page_from_before_an_ending_is_shown_again(world: World, ending: Status) -> None:
    """Its cookie is used up. The new page starts a new attempt with one press more."""
    page = asked(world)
    first = press(world, page)
    world.table.flows[first.flow_id] = dataclasses.replace(world.row(), status=ending)
    before = world.row()
    for cookie in (first.cookie, None):
        again = world.confirm(world.request(), page.form_cookie, page.form_nonce, cookie)
        assert isinstance(again, Confirm)
        assert world.row() == before
        page_again = again
    world.clock.forward(seconds=1)
    new = press(world, page_again, first.cookie)
    assert state_of(new.cookie, new.flow_id) != state_of(first.cookie, first.flow_id)


def test_a_page_from_before_a_newer_attempt_is_shown_again(world: World) -> None:
    """It must not bring back its own attempt, which ended before the newer one."""
    old = asked(world)
    press(world, old)
    newer = press(world, asked(world))
    assert isinstance(world.confirm(world.request(), old.form_cookie, old.form_nonce), Confirm)
    assert world.finish(newer).status is Status.CONNECTED


def test_a_page_made_by_a_fast_clock_is_used_up_as_well(world: World) -> None:
    """The clocks of two functions differ a little, and the row is later than its page all the same."""
    page = asked(world)
    world.clock.forward(seconds=-2)
    first = press(world, page)
    world.finish(first, code=None, error="access_denied")
    assert isinstance(world.confirm(world.request(), page.form_cookie, page.form_nonce), Confirm)


def test_a_page_that_outlived_its_cookie_is_shown_again(world: World) -> None:
    """The link lives for days, the cookie for an hour. Nothing is written."""
    page = asked(world)
    browser = Browser(cookie=None, form_cookie=None, form_nonce=page.form_nonce, confirmed=True)
    again = start(world.request(), browser, REDIRECT_URI, world.connect_ports, world.config)
    assert isinstance(again, Confirm)
    assert world.table.flows == {}
    press(world, again)


def test_a_page_whose_cookie_was_replaced_after_an_hour_is_shown_again(world: World) -> None:
    """Another tab got a new cookie. Within the hour the same nonce would be another site's guess."""
    page = asked(world)
    other = new_form_cookie(bytes(32))
    with pytest.raises(LinkRefusedError, match="form_nonce_wrong"):
        world.confirm(world.request(), other, page.form_nonce)
    world.clock.forward(seconds=3600)
    assert isinstance(world.confirm(world.request(), other, page.form_nonce), Confirm)
    assert world.table.flows == {}


def test_a_page_from_the_future_is_refused(world: World) -> None:
    """With its own cookie anyone can make one, and its row would be later than every honest page."""
    page = asked(world)
    tomorrow = int(world.clock().timestamp() * 1000) + 86_400_000
    nonce = form_nonce_of(page.form_cookie, page.flow_id, tomorrow)
    with pytest.raises(LinkRefusedError, match="form_nonce_wrong"):
        world.confirm(world.request(), page.form_cookie, nonce)


def test_a_press_after_finch_opened_no_session_is_the_same_attempt(world: World) -> None:
    """`Try again` posts the same form."""
    world.config = dataclasses.replace(world.config, connect_mode=ConnectMode.SESSION)
    page = asked(world)
    world.sessions.refuses = True
    refused = world.confirm(world.request(), page.form_cookie, page.form_nonce)
    assert isinstance(refused, SessionUnavailable)
    world.sessions.refuses = False
    assert press(world, page, refused.cookie).cookie == press(world, page).cookie == refused.cookie


def test_a_resumed_flow_has_a_tag_of_the_current_key(world: World) -> None:
    """So a long flow survives rotations."""
    first = world.started()
    world.keys.keys.append(LinkKey("2", Secret("q" * 64)))
    again = world.start(world.request(), cookie=first.cookie)
    assert isinstance(again, Redirect)
    assert has_tag_of(first.cookie, first.flow_id, world.keys.keys[0].key)
    assert has_tag_of(again.cookie, again.flow_id, world.keys.keys[1].key)
