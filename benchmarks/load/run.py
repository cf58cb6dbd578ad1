"""One load run: people connect while calls fail, the sweeper finishes the rest, and every flow is accounted for."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from benchmarks.load import cpu
from benchmarks.load.accounting import Account, Evidence, FinchConnection, Stored, account
from benchmarks.load.consumer import Consumer, Delivery
from benchmarks.load.harness import NAMES, Harness
from benchmarks.load.person import Journey
from benchmarks.load.users import Plan, Progress, Users

_QUIET_SECONDS, _MAX_WAIT_SECONDS = 3.0, 120.0
_MAX_SWEEPS = 20
_NOT_PROCESSED = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_FIELDS = ("reason", "operation", "aws_code", "cause", "error")
_EMULATOR_ERRORS = re.compile(r"(Task timed out|Worker|No JSON)[^\n]*")
_DURATION = re.compile(r"REPORT .*?Duration: ([0-9.]+) ms")


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a run. `seconds`, `cpu_seconds` and `machine_seconds` cover the time in which people connected.

    `journeys` are in the order in which they ended. `event_seconds` has the time from each settled row to its event at
    the consumer, in the order of the events, without the events of the final sweeps. `invocations` has durations by
    function, in seconds, as the emulator reports them. `warnings` counts the functions' warnings and errors.
    """

    plan: Plan
    journeys: Sequence[Journey]
    account: Account
    seconds: float
    event_seconds: Sequence[float]
    invocations: Mapping[str, Sequence[float]]
    warnings: Mapping[str, int]
    cpu_seconds: Mapping[str, float]
    machine_seconds: float
    processes: Mapping[str, int]
    sweeps: Sequence[Mapping[str, int]]
    aws_calls: tuple[int, int]
    exchanges: Mapping[str, int]


def run(plan: Plan, harness: Harness, progress: Progress, stop: threading.Event) -> Load:
    """Run the flows, finish what is left, and account for it. After `stop` is set no new flow starts."""
    users = Users(plan, harness, stop)
    with Consumer(harness.stack.client("sqs"), harness.stack.queue_url) as consumer:
        servers = {cpu.API_GATEWAY: harness.stack.api_gateway, cpu.FINCH: harness.finch, cpu.SHIM: harness.shim}
        before = {part: server.cpu_seconds for part, server in servers.items() if server is not None}
        with harness.faults(plan.faults), cpu.Watch() as watch:
            users.run(progress)
        in_process = {part: server.cpu_seconds - before[part] for part, server in servers.items() if server is not None}
        calls = harness.aws_calls()
        consumer.wait_until_quiet(_QUIET_SECONDS, _MAX_WAIT_SECONDS)
        in_time = consumer.deliveries()
        sweeps = finish(harness, consumer)
        evidence = gather(harness, users.journeys, consumer.deliveries())
    settled = {flow.event_id: flow.settled_at for flow in evidence.flows.values()}
    logs = {name: harness.stack.logs(f"{name}Function") for name in ("Connect", "Callback", "Relay", "Sweeper")}
    return Load(
        plan=plan,
        journeys=users.journeys,
        account=account(evidence),
        seconds=users.seconds,
        event_seconds=_delays(in_time, settled),
        invocations={name: _durations(lines) for name, lines in logs.items()},
        warnings=Counter(warning for name, lines in logs.items() for warning in _warnings(name, lines)),
        cpu_seconds=watch.seconds({**in_process, cpu.BROWSERS: users.cpu_seconds}),
        machine_seconds=watch.machine_seconds,
        processes=watch.processes(),
        sweeps=sweeps,
        aws_calls=calls,
        exchanges=Counter(
            "no answer" if call.status is None else str(call.status) for call in harness.finch.calls_to("/auth/token")
        ),
    )


def finish(harness: Harness, consumer: Consumer) -> list[Mapping[str, int]]:
    """Make all unfinished rows overdue and sweep, until nothing remains to be done; return the counts of each sweep.

    The number of sweeps is limited. The accounting reports what remains after them.
    """
    sweeps: list[Mapping[str, int]] = []
    while harness.make_overdue() and len(sweeps) < _MAX_SWEEPS:
        sweeps.append(harness.stack.invoke("SweeperFunction", {}))
        consumer.wait_until_quiet(_QUIET_SECONDS, _MAX_WAIT_SECONDS)  # the relay publishes what the sweep settled
    consumer.wait_until_quiet(_QUIET_SECONDS, _MAX_WAIT_SECONDS)
    return sweeps


def gather(harness: Harness, journeys: Sequence[Journey], deliveries: Sequence[Delivery]) -> Evidence:
    """Collect the evidence. Tokens are only compared here, and not stored."""
    flows, connections = harness.rows()
    store = harness.finch.store
    stored = [
        Stored(
            connection_id=connection_id,
            flow_id=content["flow_id"],
            customer_id=content["customer_id"],
            known_to_finch=store.tokens.get(content["access_token"]) == connection_id,
        )
        for connection_id, text in harness.secrets(NAMES.connection_secret("")).items()
        for content in [json.loads(text)]
    ]
    tokens = Counter(store.tokens.values())
    sent = Counter(
        store.codes[call.code].connection_id
        for call in harness.finch.calls_to("/auth/token")
        if call.code in store.codes and call.status not in _NOT_PROCESSED
    )
    at_finch = [
        FinchConnection(one.connection_id, one.username, tokens[one.connection_id], sent[one.connection_id])
        for one in store.connections.values()
    ]
    return Evidence(
        journeys=journeys,
        flows=flows,
        connections=connections,
        stored=stored,
        quarantined=list(harness.secrets(NAMES.quarantine_secret(""))),
        in_fallback=harness.in_fallback(),
        at_finch=at_finch,
        events=[delivery.event for delivery in deliveries],
    )


def _delays(deliveries: Sequence[Delivery], settled: Mapping[str, int | None]) -> list[float]:
    """Return the seconds from the settled row to the first delivery, for each event that is still the row's event."""
    first: dict[str, float] = {}
    for delivery in deliveries:
        first.setdefault(delivery.detail["event_id"], delivery.at)
    moments = ((at, settled.get(event_id)) for event_id, at in first.items())
    return [max(0.0, at - moment / 1000) for at, moment in moments if moment is not None]


def _durations(lines: Sequence[str]) -> list[float]:
    found = map(_DURATION.search, lines)
    return [float(one.group(1)) / 1000 for one in found if one is not None]


def _warnings(function: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if '"level":"WARNING"' in line or '"level":"ERROR"' in line:
            entry = json.loads(line)
            fields = [str(entry[name]) for name in _FIELDS if name in entry]
            yield " ".join([function.lower(), entry["message"], *fields])
        elif _EMULATOR_ERRORS.match(line):
            yield f"{function.lower()} {line} (from the emulator)"
