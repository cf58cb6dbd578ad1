"""The sweeper moves on everything that is overdue, because a function died or a service was unavailable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import pytest

from finch_connect.domain.flow import Flow, NotPublished, Status
from finch_connect.domain.secret import Secret
from finch_connect.flow.sweep import sweep
from tests.unit.conftest import CONNECTION, GRANT, SECRET_NAME, World


class DiedError(BaseException):
    """The function's process ends here, and none of its later steps run."""


def dying_at(step: Callable[..., object], *, done: bool) -> Callable[..., object]:
    """Return a step whose process dies: right after the step if it is `done`, else right before it."""

    def dies(*arguments: object, **named: object) -> object:
        if done:
            step(*arguments, **named)
        raise DiedError

    return dies


def died_at(world: World, part: object, step: str, *, done: bool) -> None:
    """Start a flow, and let the process of its callback die at a step."""
    redirect = world.started()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(part, step, dying_at(getattr(part, step), done=done))
        with pytest.raises(DiedError):
            world.finish(redirect)
    assert world.row().status is Status.CLAIMED


def test_a_flow_without_a_callback_is_abandoned(world: World) -> None:
    """A closed tab never calls back, so the flow ends at its deadline. Its link can then start it again."""
    world.started()
    world.clock.forward(hours=25)
    assert world.sweep() == {"abandoned": 1}
    assert (world.row().status, world.row().reason) == (Status.ABANDONED, "deadline_passed")
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 1}


def orphaned_after_two_sweeps(world: World) -> bool:
    """Return whether the first sweep reports nothing, and the next one reports the flow as orphaned."""
    before = world.row().status
    first = world.sweep()
    assert ("orphaned" not in first, world.row().status) == (True, before), "one empty search decides nothing"
    world.clock.forward(minutes=5)
    return world.sweep().get("orphaned") == 1


def test_a_claim_that_was_not_finished_is_orphaned(world: World) -> None:
    """The function died somewhere after the claim, so Finch may have a connection."""
    redirect = world.started()
    now = int(world.clock().timestamp() * 1000)
    world.table.claim(redirect.flow_id, state_hash=world.row().state_hash, claim_id="c-1", code_hash=None, now=now)
    assert world.sweep() == {}, "it may still be running"
    world.clock.forward(minutes=3)
    assert orphaned_after_two_sweeps(world)
    assert (world.row().status, world.row().reason) == (Status.ORPHANED, "interrupted")


def test_a_callback_that_died_after_it_stored_is_connected(world: World) -> None:
    """The token is in the vault, so the row and the event are the same as if the function had not died."""
    died_at(world, world.table, "settle", done=False)
    world.clock.forward(minutes=3)
    assert world.sweep() == {"connected": 1, "recovered": 1}
    row = world.row()
    assert (row.connection_id, row.provider_id, row.granted_products) == (CONNECTION, "gusto", GRANT.products)
    assert (row.client_type, row.finch_request_id, row.reauthorized) == ("sandbox", "request-1", False)
    assert row.secret_arn is not None
    world.publish(row)
    assert world.table.connections[CONNECTION].leased_until is None


@pytest.mark.parametrize(("step", "done"), [("acquire_lease", False), ("acquire_lease", True)])
def test_a_callback_that_died_before_it_stored_is_orphaned(world: World, step: str, done: bool) -> None:
    """Finch has a connection for which the stack has no token. The connection's next claim can store one."""
    died_at(world, world.table, step, done=done)
    world.clock.forward(minutes=3)
    assert orphaned_after_two_sweeps(world)
    assert (world.row().status, world.row().reason) == (Status.ORPHANED, "interrupted")
    world.sweep()
    assert world.finish(world.started(link="link-2")).status is Status.CONNECTED


def test_a_callback_that_died_after_it_used_the_fallback_is_connected(world: World) -> None:
    """The row is claimed, but the token waits. The sweeper looks for it before it calls a flow orphaned."""
    world.vault.down = True
    died_at(world, world.fallback, "put", done=True)
    world.vault.down = False
    world.clock.forward(minutes=3)
    assert world.sweep() == {"connected": 1, "stored": 1}
    assert world.fallback.documents == {}


def test_a_callback_that_died_after_it_quarantined_a_token_is_quarantined(world: World) -> None:
    """The flow is not orphaned, because its token waits for a decision."""
    world.finch.answers = [dataclasses.replace(GRANT, client_type="development")]
    died_at(world, world.table, "settle", done=False)
    world.clock.forward(minutes=3)
    assert world.sweep() == {"quarantined": 1, "recovered": 1}
    assert (world.row().reason, world.row().secret_arn is not None) == ("interrupted", True)


@pytest.mark.parametrize("away", ["vault", "fallback"])
def test_a_flow_is_not_orphaned_while_its_token_cannot_be_looked_for(world: World, away: str) -> None:
    """It stays overdue until the vault or the fallback is available again."""
    died_at(world, world.table, "settle", done=False)
    getattr(world, away).down = True
    world.clock.forward(minutes=3)
    assert world.sweep() == {"stuck": [world.row().flow_id]}
    assert world.row().status is Status.CLAIMED
    getattr(world, away).down = False
    assert world.sweep() == {"connected": 1, "recovered": 1}


@pytest.mark.parametrize(("part", "step"), [("table", "settle"), ("fallback", "delete")])
@pytest.mark.parametrize("done", [False, True])
def test_a_sweeper_that_died_while_it_moved_a_token_is_followed_by_one_that_finishes(
    world: World, part: str, step: str, done: bool
) -> None:
    """Whatever the step, nothing stays in the fallback, one version is stored, and one event is published."""
    world.vault.down = True
    world.finish(world.started())
    world.vault.down = False
    with pytest.MonkeyPatch.context() as patched:
        service = getattr(world, part)
        patched.setattr(service, step, dying_at(getattr(service, step), done=done))
        with pytest.raises(DiedError):
            world.sweep()
    for _ in range(3):
        world.clock.forward(minutes=5)
        world.sweep()
    assert world.row().status is Status.CONNECTED
    assert world.fallback.documents == {}
    assert len(world.vault.secrets[SECRET_NAME]) == 1
    assert [flow.event_id for flow in world.bus.published] == [world.row().event_id]


def test_a_token_of_an_earlier_attempt_in_the_fallback_is_not_used(world: World) -> None:
    """It may be another person's consent, so only the token of the row's own attempt is stored."""
    world.vault.down = True
    died_at(world, world.fallback, "put", done=True)
    early = world.row()
    world.table.flows[early.flow_id] = dataclasses.replace(
        early.settled(Status.ORPHANED, at=world.clock()), due_at=None, published_at=1
    )
    world.vault.down = False
    died_at(world, world.finch, "exchange", done=False)
    world.clock.forward(minutes=3)
    assert orphaned_after_two_sweeps(world)


def test_an_outcome_that_cannot_be_published_does_not_hold_up_its_batch(world: World) -> None:
    """The code has a mistake that concerns one flow. That flow is logged as stuck, and the others are published."""
    flows = [world.finish(world.started(f"customer-{n}"), code=None, error="access_denied") for n in range(3)]
    bus_publish = world.bus.publish

    def fails_for_one_flow(batch: Sequence[Flow]) -> Sequence[NotPublished]:
        if flows[1].flow_id in {flow.flow_id for flow in batch}:
            raise TypeError("a mistake in the code")
        return bus_publish(batch)

    world.clock.forward(minutes=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.bus, "publish", fails_for_one_flow)
        done = sweep(world.sweeper_ports, world.config)
    assert (done.published, done.stuck) == (2, [flows[1].flow_id])
    assert [type(error) for error in done.unexpected] == [TypeError]


@pytest.mark.parametrize("of", ["due", "leases"])
def test_a_row_that_cannot_be_read_does_not_hold_up_the_others(world: World, of: str) -> None:
    """Each sweep logs it and moves on the rows after it."""
    world.started()
    world.clock.forward(hours=25)
    rows_of = getattr(world.table, of)

    def with_an_unreadable_row(now: int) -> Iterator[object]:
        def read(row: object) -> object:
            if row is None:
                raise KeyError("state_hash")
            return row

        return map(read, [None, *rows_of(now)])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.table, of, with_an_unreadable_row)
        done = sweep(world.sweeper_ports, world.config)
    assert [type(error) for error in done.unexpected] == [KeyError]
    assert world.row().status is Status.ABANDONED


def test_unpublished_outcomes_are_published_ten_at_a_time(world: World) -> None:
    """The bus takes ten in one call. The rest is published as well, each outcome once."""
    for number in range(25):
        world.finish(world.started(f"customer-{number}"), code=None, error="access_denied")
    calls: list[int] = []
    bus_publish = world.bus.publish

    def recorded(flows: Sequence[Flow]) -> Sequence[NotPublished]:
        calls.append(len(flows))
        return bus_publish(flows)

    world.clock.forward(minutes=3)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.bus, "publish", recorded)
        assert world.sweep() == {"published": 25}
    assert calls == [10, 10, 5]
    assert len({flow.event_id for flow in world.bus.published}) == 25


def test_a_waiting_token_is_moved_into_the_vault(world: World) -> None:
    """The event follows, and the fallback is empty again."""
    world.vault.down = True
    world.finish(world.started())
    assert world.bus.published == []
    assert world.sweep() == {"stuck": [world.row().flow_id]}
    world.vault.down = False
    assert world.sweep() == {"connected": 1, "stored": 1}
    assert world.row().status is Status.CONNECTED
    assert world.row().secret_arn is not None
    assert world.fallback.documents == {}
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 1}


def test_a_token_that_was_moved_before_its_row_was_settled_is_moved_again(world: World) -> None:
    """The repetition stores no second version, and the row is the same as without it."""
    world.vault.down = True
    redirect = world.started()
    world.finish(redirect)
    world.vault.down = False
    documents = dict(world.fallback.documents)
    world.sweep()
    world.fallback.documents = documents
    world.table.flows[redirect.flow_id] = dataclasses.replace(world.row(), status=Status.UNSTORED, due_at=0)
    assert world.sweep() == {"connected": 1, "stored": 1}
    assert len(world.vault.secrets[SECRET_NAME]) == 1
    assert world.row().reauthorized is False


def test_a_waiting_token_does_not_replace_a_newer_one(world: World) -> None:
    """The customer has signed in again since."""
    world.vault.down = True
    world.finish(world.started())
    world.vault.down = False
    world.clock.forward(minutes=1)
    world.table.end_lease(CONNECTION, flow_id=world.row().flow_id, claimed_at=world.row().claimed_at or 0, stored=False)
    world.publish(world.finish(world.started(link="link-2")))
    assert world.sweep() == {"connected": 1, "stored": 1}
    assert (world.row().status, world.row().reason) == (Status.CONNECTED, "superseded")
    assert len(world.vault.secrets[SECRET_NAME]) == 1


def test_a_waiting_token_that_is_gone_is_reported_as_lost(world: World) -> None:
    """Somebody deleted the parameter, and an operator has to know."""
    world.vault.down = True
    world.finish(world.started())
    world.vault.down = False
    world.fallback.documents.clear()
    assert orphaned_after_two_sweeps(world)
    assert (world.row().status, world.row().reason) == (Status.ORPHANED, "token_lost")


def test_a_flow_that_is_stuck_does_not_hold_up_the_others(world: World) -> None:
    """It stays due for the next sweep, and the log names it."""
    one, two = world.finish(world.started()), world.finish(world.started("globex"))
    world.bus.refuses = {one.flow_id}
    world.clock.forward(minutes=3)
    assert world.sweep() == {"published": 1, "stuck": [one.flow_id]}
    assert [flow.flow_id for flow in world.bus.published] == [two.flow_id]


def test_an_unexpected_error_is_returned_for_the_log_and_holds_up_no_other_flow(world: World) -> None:
    """One flow's document cannot be read, and the other flow is moved on."""
    world.vault.down = True
    broken = world.finish(world.started())
    world.vault.down = False
    world.fallback.documents[broken.attempt] = Secret("not a document")
    world.started("globex")
    world.clock.forward(hours=25)
    done = sweep(world.sweeper_ports, world.config)
    assert (done.count_of(Status.ABANDONED), done.stuck) == (1, [broken.flow_id])
    assert [type(error).__name__ for error in done.unexpected] == ["JSONDecodeError"]


def test_a_sweep_starts_nothing_when_little_time_remains(world: World) -> None:
    """The next sweep continues."""
    world.started()
    world.clock.forward(hours=25)
    world.sweep_seconds = 5.0
    assert world.sweep() == {}
    assert world.row().status is Status.STARTED
