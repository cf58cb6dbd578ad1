"""What the sweeper does: move on whatever is overdue, wherever a function died or a service was away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from finch_connect.config import Config
from finch_connect.domain.connection import Connection
from finch_connect.domain.errors import FinchConnectError, TryAgainError
from finch_connect.domain.flow import SETTLED, Flow, NotWritten, Status, epoch_ms
from finch_connect.domain.secret import Secret
from finch_connect.flow import token_storage
from finch_connect.flow.outbox import publish
from finch_connect.flow.ports import EVENTS_AT_ONCE, SweeperPorts

SWEEP_RESERVE_SECONDS = 20.0
"""A sweep begins nothing new when less than this is left."""


@dataclass(slots=True)
class Sweep:
    """What one sweep did, for its log line.

    `settled` are the flows that it gave an outcome; `stored` of them had a token waiting in the fallback, `recovered`
    had one in the vault. `stuck` are the ids of flows that it could not move on; `unexpected` is what nobody foresaw.
    """

    settled: list[Flow] = field(default_factory=list)
    stored: int = 0
    recovered: int = 0
    published: int = 0
    stuck: list[str] = field(default_factory=list)
    unexpected: list[Exception] = field(default_factory=list)

    def number(self, status: Status) -> int:
        """Return how many flows got this outcome."""
        return sum(flow.status is status for flow in self.settled)


def sweep(ports: SweeperPorts, config: Config) -> Sweep:
    """Move on everything that is overdue, the most overdue first, while there is time.

    Leases come first: a flow whose token turns out to be in the vault is connected, not orphaned. Raises
    ServiceUnavailableError when the table cannot be read at all.
    """
    done, unpublished, now = Sweep(), list[Flow](), epoch_ms(ports.clock())
    for connection in _readable(ports.connections.leases(now), done):
        if not _is_time(ports):
            return done
        with _Each(connection.flow_id, done):
            _end_lease(connection, done, ports)
    unclear = frozenset(done.stuck)  # where their tokens are is not known, so their outcome is not either
    for flow in _readable(ports.flows.due(now), done):
        if not _is_time(ports):
            break
        if flow.status in SETTLED:
            unpublished.append(flow)
        elif flow.flow_id not in unclear:
            with _Each(flow.flow_id, done):
                _move_on(flow, done, ports, config)
        if len(unpublished) == EVENTS_AT_ONCE:
            _publish(unpublished, done, ports)
            unpublished = []
    if unpublished:
        with _Each(unpublished[0].flow_id, done):
            _publish(unpublished, done, ports)
    return done


def _readable[Row](rows: Iterator[Row], done: Sweep) -> Iterator[Row]:
    """Yield the rows that can be read: one that nobody of ours wrote must not hold up all that come after it."""
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except (KeyError, ValueError, TypeError) as error:
            done.unexpected.append(error)
        else:
            yield row


class _Each:
    """One flow that cannot be moved must not hold up the others; nor must a mistake of ours, which is to be logged."""

    def __init__(self, flow_id: str, done: Sweep) -> None:
        self._flow_id, self._done = flow_id, done

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._done.stuck.append(self._flow_id)
        if not isinstance(error, FinchConnectError):
            self._done.unexpected.append(error)
        return True


def _is_time(ports: SweeperPorts) -> bool:
    return ports.deadline.remaining() > SWEEP_RESERVE_SECONDS


def _publish(flows: list[Flow], done: Sweep, ports: SweeperPorts) -> None:
    """Publish what the relay did not: its stream lost it, or the mark failed.

    Whatever goes wrong with a batch, each of its outcomes then has a try of its own.
    """
    try:
        unpublished = publish(flows, ports)
    except Exception:  # a mistake of ours: it is met again below, by the one flow that it is about
        if len(flows) == 1:
            raise
        for flow in flows:
            with _Each(flow.flow_id, done):
                _publish([flow], done, ports)
        return
    done.stuck += [one.flow.flow_id for one in unpublished]
    done.published += len(flows) - len(unpublished)


def _end_lease(connection: Connection, done: Sweep, ports: SweeperPorts) -> None:
    """End a lease that has passed: its flow has settled, or a function died, with the token stored or not."""
    flow = ports.flows.get(connection.flow_id)
    if flow is None or flow.claimed_at != connection.claimed_at:
        flow = None  # an earlier attempt's lease: what it has stored still counts
    stored = ports.vault.find(connection.secret_name, version=connection.version)
    if flow is not None and flow.status in {Status.CLAIMED, Status.UNSTORED}:
        if stored is None or ports.fallback.get(flow.attempt) is not None:
            return  # the flow itself is overdue or will be, and its outcome ends the lease
        outcome = token_storage.connected_from_vault(flow, connection, stored, ports.clock())
        done.recovered += _settled(outcome, flow.status, done, ports)
    ports.connections.end_lease(
        connection.connection_id,
        flow_id=connection.flow_id,
        claimed_at=connection.claimed_at,
        stored=stored is not None,
    )


def _move_on(flow: Flow, done: Sweep, ports: SweeperPorts, config: Config) -> None:
    if flow.status is Status.STARTED:
        outcome = flow.settled(Status.ABANDONED, at=ports.clock(), reason="deadline_passed")
        _settled(outcome, flow.status, done, ports)
        return
    text = ports.fallback.get(flow.attempt)
    if text is not None:
        done.stored += _store_waiting(flow, text, done, ports, config)
        return
    now = ports.clock()
    if (quarantined := token_storage.quarantined_from_vault(flow, ports, config, now)) is not None:
        done.recovered += _settled(quarantined, flow.status, done, ports)
    elif token_storage.is_stored(flow, ports, config):
        raise TryAgainError("lease_not_over", flow_id=flow.flow_id)  # then the next sweep finishes it
    else:
        lost = "token_lost" if flow.status is Status.UNSTORED else "interrupted"
        _settled(flow.settled(Status.ORPHANED, at=now, reason=lost), flow.status, done, ports)


def _store_waiting(flow: Flow, text: Secret, done: Sweep, ports: SweeperPorts, config: Config) -> int:
    """Move a token from the fallback to where it belongs. Repeatable at every step: the row is settled last."""
    outcome = token_storage.store_grant(flow, token_storage.grant_in(text), ports, config, ports.clock())
    ports.fallback.delete(flow.attempt)
    return _settled(outcome, flow.status, done, ports)


def _settled(outcome: Flow, was: Status, done: Sweep, ports: SweeperPorts) -> int:
    """Write an outcome and return 1; 0 for a flow that moved on by itself meanwhile, which is left alone."""
    if isinstance(ports.flows.settle(outcome, was=was), NotWritten):
        return 0
    done.settled.append(outcome)
    return 1
