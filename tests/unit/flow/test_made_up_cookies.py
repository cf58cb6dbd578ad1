"""Cookies that this stack did not make are refused before the table is asked."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.domain.errors import CallbackRefusedError
from finch_connect.domain.flow import ConnectMode, Flow, NotWritten, Status, Written, epoch_ms
from finch_connect.domain.jws import LinkKey
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import new_cookie, state_of
from finch_connect.flow.binding import CallbackRequest
from tests.fakes import FakeFlowTable
from tests.unit.conftest import World

FLOW_ID = "M" * 22


class CountingTable(FakeFlowTable):
    """A table that counts what a callback asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def claim(
        self, flow_id: str, *, state_hash: str, claim_id: str, code_hash: str | None, now: int
    ) -> Written | NotWritten:
        self.asked += 1
        return super().claim(flow_id, state_hash=state_hash, claim_id=claim_id, code_hash=code_hash, now=now)

    def get(self, flow_id: str) -> Flow | None:
        self.asked += 1
        return super().get(flow_id)


@pytest.fixture
def table(world: World) -> CountingTable:
    """The world's table."""
    world.table = CountingTable()
    return world.table


def made_up(*, with_state: bool = True) -> CallbackRequest:
    """Return a cookie and a state that fit each other, under a key that is not the stack's."""
    cookie = new_cookie(b"x" * 32, FLOW_ID, Secret("a key of mine"))
    state = state_of(cookie, FLOW_ID) if with_state else None
    return CallbackRequest(state, Secret("code-1"), None, {FLOW_ID: cookie})


def reason(world: World, request: CallbackRequest) -> str:
    """Return the reason with which a callback is refused."""
    with pytest.raises(CallbackRefusedError) as caught:
        world.callback(request)
    return caught.value.reason


def test_only_the_first_made_up_cookie_asks_the_table(world: World, table: CountingTable) -> None:
    """It makes the function read both keys, and then the tag alone decides."""
    world.keys.current()
    assert reason(world, made_up()) == "state_unknown"
    assert [reason(world, made_up()) for _ in range(9)] == ["cookie_made_up"] * 9
    assert table.asked == 1


def test_without_cached_keys_the_table_decides(world: World, table: CountingTable) -> None:
    """A cold function reads only the key that it needs, and nothing else first."""
    assert [reason(world, made_up()) for _ in range(2)] == ["state_unknown"] * 2
    assert table.asked == 2
    assert reason(world, made_up()) == "cookie_made_up"


def test_without_a_state_made_up_cookies_are_not_looked_up(world: World, table: CountingTable) -> None:
    """Each would cost a read."""
    world.config = dataclasses.replace(world.config, connect_mode=ConnectMode.SESSION)
    world.keys.refresh()
    assert reason(world, made_up(with_state=False)) == "state_missing"
    assert table.asked == 0


def test_a_genuine_cookie_is_accepted_while_others_are_refused(world: World) -> None:
    """That is what the tag is for."""
    redirect = world.started()
    world.keys.refresh()
    assert reason(world, made_up()) == "cookie_made_up"
    assert world.finish(redirect).status is Status.CONNECTED


@pytest.mark.parametrize("refreshed", [False, True])
@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_no_rotation_refuses_a_genuine_cookie(world: World, rotations: int, *, refreshed: bool) -> None:
    """A key from before the previous one may have made it, as long as its flow may come back."""
    redirect = world.started(expires_at=int(world.clock().timestamp()) + 7 * 86_400)
    for number in range(rotations):
        world.keys.created = epoch_ms(world.clock())
        world.keys.keys.append(LinkKey(str(number + 2), Secret(str(number) * 64)))
    if refreshed:
        world.keys.refresh()
        world.clock.forward(hours=23)
    assert world.finish(redirect).status is Status.CONNECTED


def test_after_two_rotations_made_up_cookies_are_refused_again_once_no_older_key_counts(
    world: World, table: CountingTable
) -> None:
    """A day and an hour after the previous key was made, no cookie under an older one can come back."""
    for number in range(2):
        world.keys.created = epoch_ms(world.clock())
        world.keys.keys.append(LinkKey(str(number + 2), Secret(str(number) * 64)))
    world.keys.refresh()
    assert reason(world, made_up()) == "state_unknown"
    world.clock.forward(hours=26)
    assert reason(world, made_up()) == "cookie_made_up"
    assert table.asked == 1
