"""Session mode, a callback without a state: any page can lead the browser here, so nothing may change without proof."""

from __future__ import annotations

import dataclasses
import json

import pytest

from finch_connect.domain.errors import CallbackRefusedError, ServiceUnavailableError
from finch_connect.domain.flow import Status
from finch_connect.domain.grant import Declined, Unclear
from finch_connect.flow.callback import Unproven
from finch_connect.flow.start import Redirect
from tests.unit.conftest import GRANT, SECRET_NAME, World

OTHER = dataclasses.replace(GRANT, customer_id="mallory", connection_id="3f0c9f3e-0000-4000-8000-00000000dead")
OWN = dataclasses.replace(GRANT, customer_id="acme")


@pytest.fixture
def redirect(session_world: World) -> Redirect:
    """A flow that waits for the person at Finch."""
    return session_world.started(customer_name="Acme Inc")


def without_state(world: World, redirect: Redirect, code: str | None = "code-1", error: str | None = None) -> Unproven:
    request = dataclasses.replace(world.callback_request(redirect, code=code, error=error), state=None)
    answer = world.callback(request)
    assert isinstance(answer, Unproven)
    return answer


def connects(world: World, redirect: Redirect) -> bool:
    """Let the real callback arrive, with its state."""
    world.finch.answers = [OWN]
    return world.finish(redirect, code="its-own-code").status is Status.CONNECTED


@pytest.mark.parametrize(("code", "error"), [(None, "access_denied"), (None, None), ("code-1", "access_denied")])
def test_an_error_or_nothing_settles_nothing(
    session_world: World, redirect: Redirect, code: str | None, error: str | None
) -> None:
    """The flow is neither denied nor failed, no event follows, and the real callback still connects."""
    before = session_world.row()
    answer = without_state(session_world, redirect, code, error)
    assert (answer.reason, answer.code) == ("state_missing", False)
    assert session_world.row() == before
    assert session_world.finch.exchanges == []
    assert connects(session_world, redirect)


@pytest.mark.parametrize(
    ("grant", "reason"),
    [(OTHER, "customer_mismatch"), (dataclasses.replace(OTHER, customer_id=None), "customer_unknown")],
)
def test_a_code_of_another_customer_is_quarantined_under_an_id_of_its_own(
    session_world: World, redirect: Redirect, grant: object, reason: str
) -> None:
    """The flow stays started, so the link is not dead and the real callback still connects."""
    session_world.finch.answers = [grant]  # type: ignore[list-item]
    answer = without_state(session_world, redirect)
    assert (answer.reason, answer.code) == (reason, True)
    assert answer.quarantine_id not in {None, redirect.flow_id}
    assert session_world.row().status is Status.STARTED
    (name,) = session_world.vault.secrets
    assert name == f"finch/dev/quarantine/{answer.quarantine_id}"
    (text,) = session_world.vault.secrets[name].values()
    assert json.loads(text.reveal())["flow_id"] == answer.quarantine_id
    assert connects(session_world, redirect)
    assert SECRET_NAME in session_world.vault.secrets


@pytest.mark.parametrize(
    ("answer", "code"), [(Declined("invalid_grant", "r"), False), (Unclear("server_error", "r"), True)]
)
def test_a_code_that_finch_does_not_accept_leaves_the_flow_as_it_was(
    session_world: World, redirect: Redirect, answer: object, code: bool
) -> None:
    """A made-up code must not fail or orphan somebody's flow."""
    session_world.finch.answers = [answer]  # type: ignore[list-item]
    unproven = without_state(session_world, redirect)
    assert unproven.code is code
    assert session_world.row().status is Status.STARTED
    assert connects(session_world, redirect)


def test_a_token_of_another_customer_waits_in_the_fallback_while_the_vault_is_away(
    session_world: World, redirect: Redirect
) -> None:
    """It is never dropped, and the flow goes on."""
    session_world.finch.answers = [OTHER]
    session_world.vault.down = True
    answer = without_state(session_world, redirect)
    session_world.vault.down = False
    (attempt,) = session_world.fallback.documents
    assert attempt.startswith(f"{answer.quarantine_id}.")
    assert connects(session_world, redirect)


def test_with_vault_and_fallback_away_the_claim_stays_for_the_sweeper(session_world: World, redirect: Redirect) -> None:
    """The function could not keep the token, so the row must not look as if nothing had happened."""
    session_world.finch.answers = [OTHER]
    session_world.vault.down = session_world.fallback.down = True
    with pytest.raises(ServiceUnavailableError):
        without_state(session_world, redirect)
    assert session_world.row().status is Status.CLAIMED


def test_a_team_that_has_seen_the_state_echoed_can_switch_the_path_off(
    session_world: World, redirect: Redirect
) -> None:
    """Then a callback without a state is refused as in static mode."""
    session_world.config = dataclasses.replace(session_world.config, stateless_callbacks=False)
    request = dataclasses.replace(session_world.callback_request(redirect), state=None)
    with pytest.raises(CallbackRefusedError, match="state_missing"):
        session_world.callback(request)
