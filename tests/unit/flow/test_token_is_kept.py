"""No mistake in this code loses a token that Finch has already given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from finch_connect.domain.errors import TryAgainError
from finch_connect.domain.flow import Status
from finch_connect.flow.token_storage import grant_in
from tests.unit.conftest import GRANT, World


def fail_with(error: Exception) -> Callable[..., object]:
    def failing(*_: object, **__: object) -> object:
        raise error

    return failing


@pytest.mark.parametrize("error", [ValueError("a mistake"), TryAgainError("unforeseen")])
def test_an_error_during_introspection_keeps_the_token(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The token waits in the fallback, and the row says so, although the request fails."""
    world.finch.answers = [dataclasses.replace(GRANT, connection_id=None)]
    monkeypatch.setattr(world.finch, "introspect", fail_with(error))
    with pytest.raises(type(error)):
        world.finish(world.started())
    assert world.row().status is Status.UNSTORED
    assert grant_in(world.fallback.documents[world.row().attempt]).access_token == GRANT.access_token


def test_an_error_during_the_store_keeps_the_token(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same guard holds for the step after the check."""
    monkeypatch.setattr(world.vault, "put", fail_with(ValueError("a mistake")))
    with pytest.raises(ValueError, match="a mistake"):
        world.finish(world.started())
    assert world.row().status is Status.UNSTORED
