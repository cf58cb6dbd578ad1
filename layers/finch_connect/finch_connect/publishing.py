"""What the relay and the sweeper do: tell each outcome to the bus, and finish what is overdue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from finch_connect import custody
from finch_connect.config import Config
from finch_connect.errors import FinchConnectError, ServiceUnavailableError
from finch_connect.model import SETTLED, Flow, NotWritten, Status, epoch_ms
from finch_connect.ports import Deadline, RelayPorts, SweeperPorts

SWEEP_RESERVE_SECONDS = 20.0
"""A sweep begins nothing new when less than this is left."""


def publish(flows: Sequence[Flow], ports: RelayPorts | SweeperPorts) -> Sequence[Flow]:
    """Publish each settled flow and mark its row; return those the bus did not take.

    A mark that fails is no failure: the sweeper then publishes the same event, with the same `event_id`, once more.
    Raises ServiceUnavailableError when the bus does not answer: nothing is marked.
    """
    refused = ports.bus.publish(flows)
    now = epoch_ms(ports.clock())
    for flow in flows:
        if flow not in refused:
            try:
                ports.flows.mark_published(flow, at=now)
            except ServiceUnavailableError:
                continue
    return refused


def unpublished_outcomes(before: Flow | None, after: Flow | None) -> Iterable[Flow]:
    """Return the outcomes one change of a row still has to tell: usually the new image's.

    A restart replaces the row, so an outcome that was not yet told is taken from the old image. A removed row (TTL)
    has nothing left to tell.
    """
    if after is None:
        return
    if before is not None and before.state_hash != after.state_hash and _tells(before):
        yield before
    if _tells(after):
        yield after


def _tells(flow: Flow) -> bool:
    return flow.status in SETTLED and flow.published_at is None


@dataclass(slots=True)
class Sweep:
    """What one sweep did, for its log line.

    `stuck` are the ids of flows that it could not move on; `unexpected` is what nobody foresaw, to be logged.
    """

    abandoned: int = 0
    orphaned: int = 0
    placed: int = 0
    published: int = 0
    stuck: list[str] = field(default_factory=list)
    unexpected: list[Exception] = field(default_factory=list)


def sweep(ports: SweeperPorts, config: Config, deadline: Deadline) -> Sweep:
    """Move on everything that is overdue, the most overdue first, while there is time.

    Raises ServiceUnavailableError when the table cannot be read at all.
    """
    done = Sweep()
    for flow in ports.flows.due(epoch_ms(ports.clock())):
        if deadline.remaining() <= SWEEP_RESERVE_SECONDS:
            break
        try:
            _move_on(flow, done, ports, config)
        except FinchConnectError:  # one flow that cannot be moved must not hold up the others
            done.stuck.append(flow.flow_id)
        except Exception as error:  # noqa: BLE001  # nor must a mistake of ours, which is handed on to be logged
            done.stuck.append(flow.flow_id)
            done.unexpected.append(error)
    return done


def _move_on(flow: Flow, done: Sweep, ports: SweeperPorts, config: Config) -> None:
    now = ports.clock()
    if flow.status is Status.STARTED:
        outcome = flow.settled(Status.ABANDONED, at=now, reason="deadline_passed")
        done.abandoned += _settled(outcome, Status.STARTED, ports)
    elif flow.status is Status.CLAIMED:
        outcome = flow.settled(Status.ORPHANED, at=now, reason="interrupted")
        done.orphaned += _settled(outcome, Status.CLAIMED, ports)
    elif flow.status is Status.UNSTORED:
        _place_waiting(flow, done, ports, config)
    elif publish([flow], ports):
        done.stuck.append(flow.flow_id)
    else:
        done.published += 1


def _place_waiting(flow: Flow, done: Sweep, ports: SweeperPorts, config: Config) -> None:
    """Move a token from the fallback to where it belongs. Repeatable at every step: the fallback goes last."""
    text, now = ports.fallback.get(flow.flow_id), ports.clock()
    if text is None:
        outcome = flow.settled(Status.ORPHANED, at=now, reason="token_lost")
    else:
        outcome = custody.place(flow, custody.grant_in(text), ports, config, now)
    done.placed += _settled(outcome, Status.UNSTORED, ports)
    ports.fallback.delete(flow.flow_id)


def _settled(outcome: Flow, was: Status, ports: SweeperPorts) -> int:
    """Write an outcome and count it; a flow that moved on by itself meanwhile is left alone."""
    return 0 if isinstance(ports.flows.settle(outcome, was=was), NotWritten) else 1
