"""What follows: the limits in connections per second and in all, functions in flight, a burst, the cost of a month."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.scale import facts
from benchmarks.scale.facts import Price
from benchmarks.scale.stack import Stack
from benchmarks.scale.work import ABANDONED, AGAIN, FIRST, LOG_BYTES, ROWS, SWEEP, Work, item_bytes, units, work_of

VAULT, INDEX, CONCURRENCY = "Secrets Manager, new secrets", "the index `due`: one partition", "Lambda, concurrency"
GB = 1e9
MONTH_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What nobody publishes: guesses, each with its reason in WHY. Times in seconds, shares of connections."""

    connect_seconds: float = 0.15
    callback_seconds: float = 1.5
    call_seconds: float = 0.01
    cold_seconds: float = 1.0
    cold_share: float = 1.0
    reconnect_share: float = 0.1
    confirm_share: float = 0.5
    abandoned_share: float = 0.4
    platform_log_bytes: float = 400
    answer_bytes: float = 8_000
    metrics: float = 40
    peak: float = 3.0

    WHY: ClassVar[dict[str, str]] = {
        "connect_seconds": "warm `connect`: one write, one page or redirect",
        "callback_seconds": "warm `callback`: five calls after each other, Finch's exchange the longest",
        "call_seconds": "one AWS call from a warm relay or sweeper",
        "cold_seconds": "a cold start, on top; billed like the rest since August 2025",
        "cold_share": "invocations that start cold: all of them, as in sparse traffic; less is cheaper",
        "reconnect_share": "connections that already have a secret",
        "confirm_share": "links that ask for a click first: one request more",
        "abandoned_share": "links that are opened and never finished",
        "platform_log_bytes": "Lambda's own START, END and REPORT lines",
        "answer_bytes": "one answer to the browser, with headers and TLS, and the exchange's part",
        "metrics": "custom metrics of the functions: name and service",
        "peak": "the busiest minute of an hour against its average",
    }


@dataclass(frozen=True, slots=True)
class Mean:
    """The work of one connection on average, with the links that were opened in vain for each of them."""

    first: Work
    abandoned: Work
    starts: float
    vain: float
    connect_requests: float
    callback_requests: float
    table: float
    index: float
    partition: float
    events: float
    secret_calls: float
    config_reads: float
    creates: float
    puts: float


def mean(guess: Assumptions) -> Mean:
    """Weigh the three kinds of flow."""
    first, again, abandoned = work_of(FIRST), work_of(AGAIN), work_of(ABANDONED)
    vain = guess.abandoned_share / (1 - guess.abandoned_share)
    starts = 1 + vain
    creates = first.count("secretsmanager:CreateSecret") * (1 - guess.reconnect_share)
    puts = again.count("secretsmanager:PutSecretValue") * guess.reconnect_share
    reads = "secretsmanager:GetSecretValue"
    config_reads = first.count(reads) + vain * abandoned.count(reads) + starts * guess.confirm_share
    return Mean(
        first=first,
        abandoned=abandoned,
        starts=starts,
        vain=vain,
        connect_requests=starts * (1 + guess.confirm_share),
        callback_requests=1,
        table=first.table + vain * abandoned.table,
        index=first.index + vain * abandoned.index,
        partition=max(first.partitions[key] + vain * abandoned.partitions.get(key, 0) for key in first.partitions),
        events=first.count("events:PutEvents") + vain * abandoned.count("events:PutEvents"),
        secret_calls=creates + puts,
        config_reads=config_reads,
        creates=creates,
        puts=puts,
    )


def relay_seconds(stack: Stack, guess: Assumptions, events: int) -> float:
    """Return how long the relay takes for so many events in one batch: a PutEvents for ten, then a mark for each."""
    marks = sum(call.function == "relay" and call.row is not None for call in FIRST)
    return guess.call_seconds * (math.ceil(min(events, stack.batch) / 10) + marks * min(events, stack.batch))


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. `kind`: a `parameter`, a `quota` that AWS raises, `fixed`, our `design`, or only behind one `nat`."""

    name: str
    kind: str
    per_second: float
    because: str
    then: str


def limits(stack: Stack, guess: Assumptions) -> list[Limit]:
    """Return the limits in connections per second, the lowest first."""
    one = mean(guess)
    shards = facts.TABLE_INITIAL.value / facts.PARTITION_WRITES.value
    batch_seconds = relay_seconds(stack, guess, stack.batch)
    in_flight = sum(busy_seconds(stack, guess, cold=False).values())
    address = facts.FINCH_WINDOW.value / 300
    found = [
        Limit(
            "Finch, if all goes through one IP address", "nat", address,
            f"{facts.FINCH_WINDOW.value:,.0f} exchanges in 5 minutes",
            "do not put the functions behind one NAT address; outside a VPC, as here, Lambda's addresses share it "
            "(AWS does not say how many); ask Finch",
        ),
        Limit(
            "`ConnectRateLimit`", "parameter", stack.connect_rate / one.connect_requests,
            f"{stack.connect_rate:g} requests/s for its routes together, {one.connect_requests:.2f} for a connection",
            "set the parameter",
        ),
        Limit(
            "`CallbackRateLimit`", "parameter", stack.callback_rate / one.callback_requests,
            f"{stack.callback_rate:g} requests/s, one for a connection",
            "set the parameter, but not past what the vault takes: a person who meets a 429 reloads",
        ),
        Limit(
            VAULT, "fixed", facts.SECRET_CREATES.value / one.creates,
            f"{facts.SECRET_CREATES.value:g} CreateSecret/s, {one.creates:.2f} for a connection",
            "another account or region: each has its own; meanwhile more tokens wait in Parameter Store",
        ),
        Limit(
            "Secrets Manager, new versions", "fixed", facts.SECRET_PUTS.value / one.puts,
            f"{facts.SECRET_PUTS.value:g} PutSecretValue/s, {one.puts:.2f} for a connection", "as for new secrets",
        ),
        Limit(
            INDEX, "design", facts.PARTITION_WRITES.value / one.partition,
            f"{facts.PARTITION_WRITES.value:,.0f} write units/s, {one.partition:.1f} for a connection, all under one "
            "key, in the order of time, so that DynamoDB does not split it",
            "spread the key over several values, by the flow's id; the sweeper then asks for each",
        ),
        Limit(
            "the relay", "design", shards * stack.parallel * stack.batch / batch_seconds / one.events,
            f"{shards:g} shards of a new table × {stack.parallel} × {stack.batch} events in {batch_seconds:.2f} s, "
            f"{one.events:.2f} for a connection",
            f"a ParallelizationFactor of up to {facts.SHARD_BATCHES.value:g} (each row's order is kept); past it "
            "nothing is lost: events come later",
        ),
        Limit(
            "DynamoDB, a new table", "quota", facts.TABLE_INITIAL.value / one.table,
            f"{facts.TABLE_INITIAL.value:,.0f} write units/s, {one.table:.1f} for a connection",
            "it grows by itself, twice in 30 minutes; pre-warm it before a launch",
        ),
        Limit(
            CONCURRENCY, "quota", facts.LAMBDA_CONCURRENCY.value / in_flight,
            f"{facts.LAMBDA_CONCURRENCY.value:,.0f} at once, {in_flight:.2f} s for a connection, warm",
            "raise the quota; reserve some for the callback where the account has other functions",
        ),
        Limit(
            "EventBridge, PutEvents", "quota", facts.PUT_EVENTS.value / one.events,
            f"{facts.PUT_EVENTS.value:,.0f} requests/s in eu-central-1, one event in each at worst", "raise the quota",
        ),
        Limit(
            "API Gateway", "quota", facts.API_REQUESTS.value / (one.connect_requests + one.callback_requests),
            f"{facts.API_REQUESTS.value:,.0f} requests/s for all APIs of the account", "raise the quota",
        ),
        Limit(
            "DynamoDB, the table's quota", "quota", facts.TABLE_QUOTA.value / one.table,
            f"{facts.TABLE_QUOTA.value:,.0f} write units/s", "raise the quota",
        ),
        Limit(
            "KMS, with a key of your own", "quota", facts.KMS_REQUESTS.value / kms_calls(one),
            f"{facts.KMS_REQUESTS.value:,.0f} requests/s, {kms_calls(one):.1f} for a connection at most",
            "raise the quota",
        ),
    ]  # fmt: skip
    return sorted(found, key=lambda limit: limit.per_second)


def as_shipped(found: list[Limit]) -> Limit:
    """Return the first limit of the stack as the template makes it, outside a VPC."""
    return next(limit for limit in found if limit.kind != "nat")


def raised(found: list[Limit]) -> Limit:
    """Return the first limit when parameters are set and quotas raised."""
    return next(limit for limit in found if limit.kind in {"fixed", "design"})


def kms_calls(one: Mean) -> float:
    """Return a connection's KMS requests with a customer key: three for a new secret (the key is tried first)."""
    return 3 * one.creates + one.puts + one.config_reads


def busy_seconds(stack: Stack, guess: Assumptions, *, cold: bool) -> dict[str, float]:
    """Return how long each function is at work for one connection; times the rate, so many are in flight (Little)."""
    one, start = mean(guess), guess.cold_seconds if cold else 0.0
    return {
        "connect": one.connect_requests * (guess.connect_seconds + start),
        "callback": one.callback_requests * (guess.callback_seconds + start),
        "relay": one.events * (relay_seconds(stack, guess, 1) + start),
    }


@dataclass(frozen=True, slots=True)
class Burst:
    """A mail to many customers, opened within one hour. Rates per second."""

    links: int
    opens: float
    connect_peak: float
    callback_mean: float
    callback_peak: float
    creates_peak: float
    in_flight: float
    partition_peak: float
    hours_as_shipped: float
    hours_at_vault: float
    connect_setting: int
    callback_setting: int


def burst(links: int, stack: Stack, guess: Assumptions) -> Burst:
    """Follow a mail: each link is fetched once by a scanner, opened once, and asks for a click (it lives long)."""
    mailed = dataclasses.replace(guess, confirm_share=1.0)
    finished = links * (1 - guess.abandoned_share)
    requests = links * 3
    one = mean(mailed)
    callback_mean = finished / 3600
    callback_peak = callback_mean * guess.peak
    connect_peak = requests / 3600 * guess.peak
    return Burst(
        links=links,
        opens=links / 3600,
        connect_peak=connect_peak,
        callback_mean=callback_mean,
        callback_peak=callback_peak,
        creates_peak=callback_peak * one.creates,
        in_flight=callback_peak * sum(busy_seconds(stack, mailed, cold=False).values()),
        partition_peak=callback_peak * one.partition,
        hours_as_shipped=max(requests / stack.connect_rate, finished / stack.callback_rate) / 3600,
        hours_at_vault=finished * one.creates / facts.SECRET_CREATES.value / 3600,
        connect_setting=math.ceil(connect_peak * 1.2 / 10) * 10,
        callback_setting=math.ceil(callback_peak * 1.2 / 10) * 10,
    )


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a month's bill."""

    name: str
    quantity: float
    price: Price

    @property
    def dollars(self) -> float:
        """What it comes to."""
        return self.quantity * self.price.dollars / self.price.per


def bill(connections: float, month: int, stack: Stack, guess: Assumptions) -> list[Item]:
    """Return the bill of the nth month with so many connections in each, nothing deleted, no free tier taken off."""
    one = mean(guess)
    sweeps = MONTH_SECONDS / stack.sweep_every
    secrets = connections * one.creates * month
    requests = connections * (one.connect_requests + one.callback_requests)
    invocations = {
        "connect": connections * one.connect_requests,
        "callback": connections * one.callback_requests,
        "relay": connections * one.events,
    }
    busy = busy_seconds(
        stack, dataclasses.replace(guess, cold_seconds=guess.cold_seconds * guess.cold_share), cold=True
    )
    sweep_seconds = guess.cold_seconds + guess.call_seconds * (len(SWEEP) + connections * one.vain / sweeps)
    gb_seconds = sum(connections * busy[name] * stack.memory[name] for name in busy)
    gb_seconds += sweeps * sweep_seconds * stack.memory["sweeper"]
    logs = sum(number * (LOG_BYTES[name] + guess.platform_log_bytes) for name, number in invocations.items())
    logs += sweeps * (LOG_BYTES["sweeper"] + guess.platform_log_bytes) + requests * stack.access_log_bytes
    kept_months = min(month, stack.log_days / 30)
    kept_rows = connections * one.first.stored + connections * one.vain * one.abandoned.stored
    forever = connections * item_bytes(ROWS["connection"]) * max(0, month - 1)
    return [
        Item("Secrets Manager, secrets kept", secrets + 2, facts.SECRET_MONTH),
        Item("Secrets Manager, calls", connections * (one.secret_calls + one.config_reads), facts.SECRET_CALL),
        Item("API Gateway, requests", requests, facts.API_REQUEST),
        Item("Lambda, requests", sum(invocations.values()) + sweeps, facts.LAMBDA_REQUEST),
        Item("Lambda, GB-seconds", gb_seconds, facts.LAMBDA_GB_SECOND),
        Item("DynamoDB, writes of the table", connections * one.table, facts.WRITE_UNIT),
        Item("DynamoDB, writes of the index", connections * one.index, facts.WRITE_UNIT),
        Item("DynamoDB, reads by the sweeper", sweeps * len(SWEEP) + connections * one.vain, facts.READ_UNIT),
        Item("DynamoDB, the stream, read by Lambda", connections * one.table, facts.STREAM_READ),
        Item("DynamoDB, storage", (kept_rows + forever) / GB, facts.STORAGE),
        Item("DynamoDB, point-in-time recovery", (kept_rows + forever) / GB, facts.RECOVERY),
        Item("EventBridge, events", connections * one.events, facts.EVENT),
        Item("CloudWatch Logs, ingestion", logs / GB, facts.LOG_INGEST),
        Item("CloudWatch Logs, storage", logs * kept_months / GB, facts.LOG_STORAGE),
        Item("CloudWatch, custom metrics", guess.metrics, facts.METRIC),
        Item("CloudWatch, metrics of the API's routes", stack.routes * 6, facts.METRIC),
        Item("CloudWatch, alarms", stack.alarms, facts.ALARM),
        Item("CloudWatch, dashboards", stack.dashboards, facts.DASHBOARD),
        Item("data out", requests * guess.answer_bytes / GB, facts.TRANSFER),
    ]


def own_key(connections: float, guess: Assumptions) -> list[Item]:
    """Return what `KmsKeyArn` adds; DynamoDB's own few calls are not in it (it keeps its data key for minutes)."""
    calls = connections * kms_calls(mean(guess))
    return [Item("KMS key", 1, facts.KMS_KEY), Item("KMS calls", calls, facts.KMS_CALL)]


def total(items: list[Item]) -> float:
    """Return what a bill comes to."""
    return sum(item.dollars for item in items)


def table_vault(connections: float, month: int) -> list[Item]:
    """Return the bill of keeping tokens in DynamoDB instead, each sealed with a data key of a KMS key of your own."""
    size = item_bytes(ROWS["connected"])
    kept = connections * month * size / GB
    return [
        Item("KMS key", 1, facts.KMS_KEY),
        Item("KMS, one data key for each token", connections, facts.KMS_CALL),
        Item("DynamoDB, one write for each token", connections * units(ROWS["connected"]), facts.WRITE_UNIT),
        Item("DynamoDB, storage", kept, facts.STORAGE),
        Item("DynamoDB, point-in-time recovery", kept, facts.RECOVERY),
    ]


def days_to_quota(connections: float, guess: Assumptions) -> float:
    """Return in how many days that many connections a month fill a region's secrets."""
    return facts.SECRET_COUNT.value / (connections * mean(guess).creates) * 30
