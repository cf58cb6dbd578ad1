"""One load run: people come, things break meanwhile; then what is left is finished, and everything accounted for."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from benchmarks.load import cpu
from benchmarks.load.accounting import Account, Evidence, Granted, Kept, account
from benchmarks.load.consumer import Consumer, Seen
from benchmarks.load.harness import Harness
from benchmarks.load.person import Journey
from benchmarks.load.users import Plan, Progress, Users

_QUIET_SECONDS, _MOST_SECONDS = 3.0, 120.0
_MOST_SWEEPS = 20
_NOT_PROCESSED = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_FACTS = ("reason", "operation", "aws_code", "cause", "error")
_EMULATORS = re.compile(r"(Task timed out|Worker|No JSON)[^\n]*")
_DURATION = re.compile(r"REPORT .*?Duration: ([0-9.]+) ms")


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a run. Seconds of the clock and of CPUs are of the time in which people came.

    `journeys` are in the order in which they ended. `event_seconds` are from each settled row to its event at the
    consumer, in the order of the events, without those that were swept at the end; `invocations` are durations by
    function, in seconds, as the emulator reports them; `warnings` are their warnings and errors, counted.
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
    """Run, finish, account. Setting `stop` ends the coming of people early; the rest is done all the same."""
    users = Users(plan, harness, stop)
    with Consumer(harness.stack.client("sqs"), harness.stack.queue_url) as consumer:
        servers = {cpu.API_GATEWAY: harness.stack.api_gateway, cpu.FINCH: harness.finch, cpu.SHIM: harness.shim}
        before = {part: server.cpu_seconds for part, server in servers.items() if server is not None}
        with harness.faults(plan.faults), cpu.Watch() as watch:
            users.run(progress)
        here = {part: server.cpu_seconds - before[part] for part, server in servers.items() if server is not None}
        calls = harness.aws_calls()
        consumer.settle(_QUIET_SECONDS, _MOST_SECONDS)
        in_time = consumer.seen()
        sweeps = finish(harness, consumer)
        evidence = gathered(harness, users.journeys, consumer.seen())
    settled = {flow.event_id: flow.settled_at for flow in evidence.flows.values()}
    logs = {name: harness.stack.logs(f"{name}Function") for name in ("Connect", "Callback", "Relay", "Sweeper")}
    return Load(
        plan=plan,
        journeys=users.journeys,
        account=account(evidence),
        seconds=users.seconds,
        event_seconds=_lags(in_time, settled),
        invocations={name: _durations(lines) for name, lines in logs.items()},
        warnings=Counter(said for name, lines in logs.items() for said in _warnings(name, lines)),
        cpu_seconds=watch.seconds({**here, cpu.BROWSERS: users.cpu_seconds}),
        machine_seconds=watch.machine_seconds,
        processes=watch.processes(),
        sweeps=sweeps,
        aws_calls=calls,
        exchanges=Counter(
            "broken" if call.status is None else str(call.status) for call in harness.finch.calls_to("/auth/token")
        ),
    )


def finish(harness: Harness, consumer: Consumer) -> list[Mapping[str, int]]:
    """Let everything that remains be overdue and the sweeper work, until nothing remains; return what each sweep did.

    Bounded: what then still remains is for the accounting to say.
    """
    sweeps: list[Mapping[str, int]] = []
    while harness.make_overdue() and len(sweeps) < _MOST_SWEEPS:
        sweeps.append(harness.stack.invoke("SweeperFunction", {}))
        consumer.settle(_QUIET_SECONDS, _MOST_SECONDS)  # what was swept is shown by the relay
    consumer.settle(_QUIET_SECONDS, _MOST_SECONDS)
    return sweeps


def gathered(harness: Harness, journeys: Sequence[Journey], seen: Sequence[Seen]) -> Evidence:
    """Look at everything from outside. Tokens are compared here and kept nowhere."""
    flows, owners = harness.rows()
    store = harness.finch.store
    kept = [
        Kept(
            connection_id=connection_id,
            flow_id=content["flow_id"],
            customer_id=content["customer_id"],
            known_to_finch=store.tokens.get(content["access_token"]) == connection_id,
        )
        for connection_id, text in harness.secrets("connections").items()
        for content in [json.loads(text)]
    ]
    tokens = Counter(store.tokens.values())
    sent = Counter(
        store.codes[call.code].connection_id
        for call in harness.finch.calls_to("/auth/token")
        if call.code in store.codes and call.status not in _NOT_PROCESSED
    )
    granted = [
        Granted(one.connection_id, one.username, tokens[one.connection_id], sent[one.connection_id])
        for one in store.connections.values()
    ]
    return Evidence(
        journeys=journeys,
        flows=flows,
        owners=owners,
        kept=kept,
        quarantined=list(harness.secrets("quarantine")),
        waiting=harness.waiting(),
        granted=granted,
        events=[one.event for one in seen],
    )


def _lags(seen: Sequence[Seen], settled: Mapping[str, int | None]) -> list[float]:
    """Return the seconds from the settled row to the first delivery, for each event whose row still stands."""
    first: dict[str, float] = {}
    for one in seen:
        first.setdefault(one.detail["event_id"], one.at)
    moments = ((at, settled.get(event_id)) for event_id, at in first.items())
    return [max(0.0, at - moment / 1000) for at, moment in moments if moment is not None]


def _durations(lines: Sequence[str]) -> list[float]:
    found = map(_DURATION.search, lines)
    return [float(one.group(1)) / 1000 for one in found if one is not None]


def _warnings(function: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if '"level":"WARNING"' in line or '"level":"ERROR"' in line:
            entry = json.loads(line)
            facts = [str(entry[name]) for name in _FACTS if name in entry]
            yield " ".join([function.lower(), entry["message"], *facts])
        elif _EMULATORS.match(line):
            yield f"{function.lower()} {line} (the emulator's word)"
