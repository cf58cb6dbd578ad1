"""The sweeper: it moves on whatever is overdue, wherever a function died or a service was away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from finch_connect.config import Config
from finch_connect.domain.connection import Connection
from finch_connect.domain.errors import FinchConnectError, ServiceUnavailableError, TryAgainError
from finch_connect.domain.flow import SEARCH_GRACE_MS, SETTLED, Flow, NotPublished, NotWritten, Status, epoch_ms
from finch_connect.domain.secret import Secret
from finch_connect.flow import token_storage
from finch_connect.flow.outbox import publish
from finch_connect.flow.ports import EVENTS_AT_ONCE, SweeperPorts

SWEEP_RESERVE_SECONDS = 20.0
"""A sweep starts nothing new when less time than this remains."""


type PublishResult = tuple[Flow, Exception | NotPublished | None]
"""A flow, and what prevented its publication (None: it was published)."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A flow that the sweeper settled. `found_in` is where its token was: vault, fallback, or None (nowhere)."""

    outcome: Flow
    found_in: str | None = None


@dataclass(slots=True)
class Sweep:
    """What one sweep did, for its log line.

    `settled` are the flows to which it gave an outcome. Of these, `stored` had a token in the fallback and `recovered`
    had one in the vault. `stuck` are the ids of flows that it could not move on. `unexpected` are errors that are a
    mistake in this code, or rows that cannot be read.
    """

    settled: list[Flow] = field(default_factory=list)
    stored: int = 0
    recovered: int = 0
    published: int = 0
    stuck: list[str] = field(default_factory=list)
    unexpected: list[Exception] = field(default_factory=list)

    def count_of(self, status: Status) -> int:
        """Return how many flows got this outcome."""
        return sum(flow.status is status for flow in self.settled)

    def add(self, moved: Moved | None) -> None:
        """Count a flow that was moved on; None counts nothing."""
        if moved is not None:
            self.settled.append(moved.outcome)
            self.stored += moved.found_in == "fallback"
            self.recovered += moved.found_in == "vault"

    def add_stuck(self, flow_id: str, problem: Exception | NotPublished) -> None:
        """Count a flow that could not be moved on."""
        if self.stuck[-1:] != [flow_id]:  # a flow may have several outcomes
            self.stuck.append(flow_id)
        if isinstance(problem, Exception) and not isinstance(problem, FinchConnectError):
            self.unexpected.append(problem)

    def add_published(self, results: Sequence[PublishResult]) -> None:
        """Count the flows of a batch that were published, and those that were not."""
        for flow, problem in results:
            if problem is None:
                self.published += 1
            else:
                self.add_stuck(flow.flow_id, problem)


def sweep(ports: SweeperPorts, config: Config) -> Sweep:
    """Move on everything that is overdue, the most overdue first, while there is time.

    Leases come first, because a flow whose token is in the vault is connected and not orphaned. Raises
    ServiceUnavailableError when the table cannot be read at all.
    """
    done, unpublished, now = Sweep(), list[Flow](), epoch_ms(ports.clock())
    for connection in _read(ports.connections.leases(now)):
        if not _has_time(ports):
            return done
        if isinstance(connection, Exception):
            done.unexpected.append(connection)
            continue
        with _isolating(connection.flow_id, done):
            done.add(_end_lease(connection, ports))
    unclear = frozenset(done.stuck)  # where their tokens are is unknown, so their outcome is as well
    for flow in _read(ports.flows.due(now)):
        if not _has_time(ports):
            break
        if isinstance(flow, Exception):
            done.unexpected.append(flow)
            continue
        unpublished += flow.outcomes
        if flow.status not in SETTLED and flow.flow_id not in unclear:
            with _isolating(flow.flow_id, done):
                done.add(_move_on(flow, ports, config))
        if len(unpublished) >= EVENTS_AT_ONCE:
            done.add_published(_publish(unpublished, ports))
            unpublished = []
    done.add_published(_publish(unpublished, ports))
    with suppress(ServiceUnavailableError):  # the next sweep lists them again
        for attempt in ports.fallback.attempts():
            if not _has_time(ports):
                break
            with _isolating(attempt, done):
                done.add(_store_leftover(attempt, ports, config))
    return done


def _read[Row](rows: Iterator[Row]) -> Iterator[Row | Exception]:
    """Yield each row, or the error that reading it raised: one unreadable row must not hold up those after it."""
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except (KeyError, ValueError, TypeError) as error:
            yield error


@contextmanager
def _isolating(flow_id: str, done: Sweep) -> Iterator[None]:
    """Keep one flow that cannot be moved on from holding up the others, also if the cause is a mistake in this code."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whatever it is, it is logged, and the flow stays due
        done.add_stuck(flow_id, error)


def _has_time(ports: SweeperPorts) -> bool:
    return ports.deadline.remaining() > SWEEP_RESERVE_SECONDS


def _publish(flows: Sequence[Flow], ports: SweeperPorts) -> Sequence[PublishResult]:
    """Publish what the relay did not, because its stream lost the record or the row was not marked.

    If a whole batch fails, each flow is tried by itself.
    """
    try:
        refused = {one.flow.event_id: one for one in publish(flows, ports)}
    except Exception as error:  # noqa: BLE001  # a mistake in this code: the flow that causes it raises it again
        of_flow = {flow.flow_id: [other for other in flows if other.flow_id == flow.flow_id] for flow in flows}
        if len(of_flow) == 1:
            return [(flow, error) for flow in flows]
        return [result for outcomes in of_flow.values() for result in _publish(outcomes, ports)]
    return [(flow, refused.get(flow.event_id)) for flow in flows]


def _end_lease(connection: Connection, ports: SweeperPorts) -> Moved | None:
    """End a lease that has expired: its flow has settled, or its function died before or after it stored the token."""
    flow = ports.flows.get(connection.flow_id)
    if flow is None or flow.claimed_at != connection.claimed_at:
        flow = None  # the lease of an earlier attempt, whose stored token still counts
    stored, moved = ports.vault.find(connection.secret_name, version=connection.version), None
    if flow is not None and flow.status in {Status.CLAIMED, Status.UNSTORED}:
        if stored is None or ports.fallback.get(flow.attempt) is not None:
            return None  # the flow is or will be overdue, and its outcome ends the lease
        outcome = token_storage.connected_from_vault(flow, connection, stored, ports.clock())
        moved = _settle(outcome, flow.status, ports, "vault")
    ports.connections.end_lease(
        connection.connection_id,
        flow_id=connection.flow_id,
        claimed_at=connection.claimed_at,
        stored=stored is not None,
    )
    return moved


def _move_on(flow: Flow, ports: SweeperPorts, config: Config) -> Moved | None:
    """Settle a flow that nobody finished. Raises TryAgainError while a lease has to expire first."""
    if flow.status is Status.STARTED:
        if flow.deadline > epoch_ms(ports.clock()):  # it was due to publish what an earlier attempt had not
            if not flow.unpublished:
                ports.flows.postpone(flow)
            return None
        outcome = flow.settled(Status.ABANDONED, at=ports.clock(), reason="deadline_passed")
        return _settle(outcome, flow.status, ports)
    text = ports.fallback.get(flow.attempt)
    if text is not None:
        return _store_from_fallback(flow, text, ports, config)
    now = ports.clock()
    quarantined = token_storage.quarantined_from_vault(flow, ports, config, now)
    if quarantined is not None:
        return _settle(quarantined, flow.status, ports, "vault")
    if token_storage.is_stored(flow, ports, config):
        raise TryAgainError("lease_not_over", flow_id=flow.flow_id)  # the next sweep finishes it
    if flow.searched_at is None:  # reporting it is irreversible, so search once more, in the next sweep
        ports.flows.mark_searched(flow, at=epoch_ms(now), due_at=epoch_ms(now) + SEARCH_GRACE_MS)
        return None
    reason = "token_lost" if flow.status is Status.UNSTORED else "interrupted"
    return _settle(flow.settled(Status.ORPHANED, at=now, reason=reason), flow.status, ports)


def _store_from_fallback(flow: Flow, text: Secret, ports: SweeperPorts, config: Config) -> Moved | None:
    """Store a token that waits in the fallback. Each step can be repeated, because the row is settled last."""
    grant = token_storage.grant_in(text)
    misfit = token_storage.find_misfit(flow, grant, config)
    outcome = token_storage.store_grant(flow, grant, misfit, ports, config, ports.clock())
    ports.fallback.delete(flow.attempt)
    return _settle(outcome, flow.status, ports, "fallback")


def _store_leftover(attempt: str, ports: SweeperPorts, config: Config) -> Moved | None:
    """Move a token that was left over in the fallback to where it can be found, and delete it there.

    A flow that is still open handles its own token. A flow that was reported as orphaned is connected after all. Any
    other token is quarantined under an id of its own, unless it is already in the vault.
    """
    row = ports.flows.get(attempt.partition(".")[0])
    flow = row if row is not None and row.attempt == attempt else None
    if flow is not None and flow.status in {Status.STARTED, Status.CLAIMED, Status.UNSTORED}:
        return None
    text = ports.fallback.get(attempt)
    if text is None:
        return None
    if flow is not None and flow.status is Status.ORPHANED:
        return _store_from_fallback(flow, text, ports, config)
    token_storage.quarantine_leftover(attempt, row, text, ports, config)
    ports.fallback.delete(attempt)
    return None


def _settle(outcome: Flow, was: Status, ports: SweeperPorts, found_in: str | None = None) -> Moved | None:
    """Write an outcome and return it. Returns None for a flow that has moved on meanwhile, and leaves it alone."""
    if isinstance(ports.flows.settle(outcome, was=was), NotWritten):
        return None
    return Moved(outcome, found_in)
