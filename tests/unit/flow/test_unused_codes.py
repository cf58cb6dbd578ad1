"""A code that is not used leaves a trace, and the person gets an honest answer."""

from __future__ import annotations

import pytest

from finch_connect.domain.errors import CallbackRefusedError, CodeUnusedError
from finch_connect.domain.flow import Status
from finch_connect.flow.callback import Outcome
from finch_connect.flow.start import Confirm, Redirect
from tests.unit.conftest import World


def test_a_code_after_a_denial_is_reported_as_unused(world: World) -> None:
    """The person denied in one tab and approved in another: the first answer holds, and the second is not hidden."""
    redirect = world.started()
    world.finish(redirect, code=None, error="access_denied")
    answer = world.callback(world.callback_request(redirect, code="code-2"))
    assert isinstance(answer, Outcome)
    assert (answer.flow.status, answer.fresh, answer.unused_code) == (Status.DENIED, False, True)
    assert world.finch.exchanges == []


def test_a_second_login_for_a_connected_link_is_reported_as_unused(world: World) -> None:
    """The same code again is a repetition; another code is not."""
    redirect = world.started()
    world.finish(redirect, code="code-1")
    repeated = world.callback(world.callback_request(redirect, code="code-1"))
    second = world.callback(world.callback_request(redirect, code="code-2"))
    assert isinstance(repeated, Outcome)
    assert isinstance(second, Outcome)
    assert (repeated.unused_code, second.unused_code) == (False, True)
    assert len(world.finch.exchanges) == 1


def test_a_taken_over_browser_that_brings_a_code_is_counted(world: World) -> None:
    """It gets the same refusal as everyone, but the error's type makes the stack count it, with the flow's id."""
    first = world.started()
    asked = world.start(world.request())
    assert isinstance(asked, Confirm)
    assert isinstance(world.confirm(world.request(), asked.form_cookie, asked.form_nonce), Redirect)
    with pytest.raises(CodeUnusedError) as caught:
        world.callback(world.callback_request(first))
    assert (caught.value.reason, caught.value.fields) == ("state_of_another_attempt", {"flow_id": first.flow_id})
    assert caught.value.sentence == CallbackRefusedError.sentence
    with pytest.raises(CallbackRefusedError) as without_code:
        world.callback(world.callback_request(first, code=None, error="access_denied"))
    assert not isinstance(without_code.value, CodeUnusedError)


def test_a_late_browser_that_brings_a_code_is_counted(world: World) -> None:
    """The deadline has passed, so the code is not exchanged."""
    redirect = world.started()
    world.clock.forward(hours=25)
    with pytest.raises(CodeUnusedError, match="state_expired"):
        world.callback(world.callback_request(redirect))
