"""What follows from quotas, prices and work: limits in connections, functions in flight, a burst, the monthly cost."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.scale import facts
from benchmarks.scale.facts import Price
from benchmarks.scale.stack import Stack
from benchmarks.scale.work import (
    ABANDONED,
    FIRST,
    LOG_BYTES,
    RECONNECTED,
    ROWS,
    SWEEP,
    Work,
    item_bytes,
    units,
    work_of,
)

VAULT, INDEX, CONCURRENCY = "Secrets Manager, new secrets", "one partition of the index `due`", "Lambda, concurrency"
GB = 1e9
MONTH_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Values that nobody publishes: guesses, each explained in WHY. Times are in seconds, shares are fractions."""

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
        "connect_seconds": "warm `connect`: one write, then a page or a redirect",
        "callback_seconds": "warm `callback`: five sequential calls, of which Finch's exchange takes longest",
        "call_seconds": "one AWS call from a warm relay or sweeper",
        "cold_seconds": "added by a cold start; billed like the rest since August 2025",
        "cold_share": "invocations that start cold: all of them, as in sparse traffic; fewer cost less",
        "reconnect_share": "connections that already have a secret",
        "confirm_share": "links that ask for a click first, which is one more request",
        "abandoned_share": "links that are opened and never finished",
        "platform_log_bytes": "Lambda's START, END and REPORT lines of one invocation",
        "answer_bytes": "one response to the browser with headers and TLS, and its share of the exchange",
        "metrics": "custom metrics of the functions, one per name and service",
        "peak": "the busiest minute of an hour relative to the average minute",
    }


@dataclass(frozen=True, slots=True)
class Mean:
    """The average work of one connection, with its share of the links that are abandoned."""

    first: Work
    abandoned: Work
    starts: float
    abandoned_links: float
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
    """Return the weighted average of the three kinds of flow."""
    first, reconnected, abandoned = work_of(FIRST), work_of(RECONNECTED), work_of(ABANDONED)
    abandoned_links = guess.abandoned_share / (1 - guess.abandoned_share)
    starts = 1 + abandoned_links
    creates = first.count("secretsmanager:CreateSecret") * (1 - guess.reconnect_share)
    puts = reconnected.count("secretsmanager:PutSecretValue") * guess.reconnect_share
    reads = "secretsmanager:GetSecretValue"
    config_reads = first.count(reads) + abandoned_links * abandoned.count(reads) + starts * guess.confirm_share
    return Mean(
        first=first,
        abandoned=abandoned,
        starts=starts,
        abandoned_links=abandoned_links,
        connect_requests=starts * (1 + guess.confirm_share),
        callback_requests=1,
        table=first.table + abandoned_links * abandoned.table,
        index=first.index + abandoned_links * abandoned.index,
        partition=max(
            first.partitions[key] + abandoned_links * abandoned.partitions.get(key, 0) for key in first.partitions
        ),
        events=first.count("events:PutEvents") + abandoned_links * abandoned.count("events:PutEvents"),
        secret_calls=creates + puts,
        config_reads=config_reads,
        creates=creates,
        puts=puts,
    )


def relay_seconds(stack: Stack, guess: Assumptions, events: int) -> float:
    """Return the seconds that the relay takes for a batch: one PutEvents per ten events, then a mark for each event."""
    marks = sum(call.function == "relay" and call.row is not None for call in FIRST)
    return guess.call_seconds * (math.ceil(min(events, stack.batch) / 10) + marks * min(events, stack.batch))


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit in connections per second.

    `kind` is `parameter`, `quota` (AWS raises it), `fixed` (AWS does not), `design` (of this stack) or `nat` (applies
    only behind one NAT address).
    """

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
            "Finch, if all requests come from one IP address", "nat", address,
            f"{facts.FINCH_WINDOW.value:,.0f} exchanges in 5 minutes",
            "do not put the functions behind one NAT address; outside a VPC, as here, requests are spread over "
            "Lambda's addresses (AWS does not say how many); ask Finch",
        ),
        Limit(
            "`ConnectRateLimit`", "parameter", stack.connect_rate / one.connect_requests,
            f"{stack.connect_rate:g} requests/s for its routes together, {one.connect_requests:.2f} per connection",
            "raise the parameter",
        ),
        Limit(
            "`CallbackRateLimit`", "parameter", stack.callback_rate / one.callback_requests,
            f"{stack.callback_rate:g} requests/s, one per connection",
            "raise the parameter, but not above the vault's rate; a person who gets a 429 can reload",
        ),
        Limit(
            VAULT, "fixed", facts.SECRET_CREATES.value / one.creates,
            f"{facts.SECRET_CREATES.value:g} CreateSecret/s, {one.creates:.2f} per connection",
            "another account or region, because each has its own quota; until then more tokens wait in Parameter Store",
        ),
        Limit(
            "Secrets Manager, new versions", "fixed", facts.SECRET_PUTS.value / one.puts,
            f"{facts.SECRET_PUTS.value:g} PutSecretValue/s, {one.puts:.2f} per connection", "as for new secrets",
        ),
        Limit(
            INDEX, "design", facts.PARTITION_WRITES.value / one.partition,
            f"{facts.PARTITION_WRITES.value:,.0f} write units/s, {one.partition:.1f} per connection; all rows have one "
            "key and are in time order, so DynamoDB does not split the partition",
            "spread the key over several values by flow id; the sweeper then queries each",
        ),
        Limit(
            "the relay", "design", shards * stack.parallel * stack.batch / batch_seconds / one.events,
            f"{shards:g} shards of a new table × {stack.parallel} × {stack.batch} events in {batch_seconds:.2f} s, "
            f"{one.events:.2f} per connection",
            f"a ParallelizationFactor of up to {facts.SHARD_BATCHES.value:g} (which keeps each row's order); above "
            "the limit events are late, but none is lost",
        ),
        Limit(
            "DynamoDB, a new table", "quota", facts.TABLE_INITIAL.value / one.table,
            f"{facts.TABLE_INITIAL.value:,.0f} write units/s, {one.table:.1f} per connection",
            "it grows automatically, to twice as much in 30 minutes; pre-warm it before a launch",
        ),
        Limit(
            CONCURRENCY, "quota", facts.LAMBDA_CONCURRENCY.value / in_flight,
            f"{facts.LAMBDA_CONCURRENCY.value:,.0f} at once, {in_flight:.2f} s per connection when warm",
            "raise the quota; reserve some for the callback if the account has other functions",
        ),
        Limit(
            "EventBridge, PutEvents", "quota", facts.PUT_EVENTS.value / one.events,
            f"{facts.PUT_EVENTS.value:,.0f} requests/s in eu-central-1, at worst one event in each", "raise the quota",
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
            "KMS, with a customer managed key", "quota", facts.KMS_REQUESTS.value / kms_calls(one),
            f"{facts.KMS_REQUESTS.value:,.0f} requests/s, at most {kms_calls(one):.1f} per connection",
            "raise the quota",
        ),
    ]  # fmt: skip
    return sorted(found, key=lambda limit: limit.per_second)


def as_shipped(found: list[Limit]) -> Limit:
    """Return the lowest limit of the stack as the template creates it, outside a VPC."""
    return next(limit for limit in found if limit.kind != "nat")


def raised(found: list[Limit]) -> Limit:
    """Return the lowest limit once parameters and quotas are raised."""
    return next(limit for limit in found if limit.kind in {"fixed", "design"})


def kms_calls(one: Mean) -> float:
    """Return a connection's KMS requests with a customer managed key.

    A new secret takes three, because the key is tried first.
    """
    return 3 * one.creates + one.puts + one.config_reads


def busy_seconds(stack: Stack, guess: Assumptions, *, cold: bool) -> dict[str, float]:
    """Return each function's seconds per connection. Times the rate, that is the number in flight (Little's law)."""
    one, start = mean(guess), guess.cold_seconds if cold else 0.0
    return {
        "connect": one.connect_requests * (guess.connect_seconds + start),
        "callback": one.callback_requests * (guess.callback_seconds + start),
        "relay": one.events * (relay_seconds(stack, guess, 1) + start),
    }


@dataclass(frozen=True, slots=True)
class Burst:
    """A mailing to many customers, opened within one hour. Rates are per second."""

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
    """Model a mailing. A scanner and a person open each link once. It asks for a click because it is long-lived."""
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
        """The cost in dollars."""
        return self.quantity * self.price.dollars / self.price.per


def bill(connections: float, month: int, stack: Stack, guess: Assumptions) -> list[Item]:
    """Return the bill of the nth month at `connections` a month, with nothing deleted and no free tier."""
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
    sweep_seconds = guess.cold_seconds + guess.call_seconds * (len(SWEEP) + connections * one.abandoned_links / sweeps)
    gb_seconds = sum(connections * busy[name] * stack.memory[name] for name in busy)
    gb_seconds += sweeps * sweep_seconds * stack.memory["sweeper"]
    logs = sum(number * (LOG_BYTES[name] + guess.platform_log_bytes) for name, number in invocations.items())
    logs += sweeps * (LOG_BYTES["sweeper"] + guess.platform_log_bytes) + requests * stack.access_log_bytes
    log_months = min(month, stack.log_days / 30)
    recent_rows = connections * one.first.stored + connections * one.abandoned_links * one.abandoned.stored
    older_rows = connections * item_bytes(ROWS["connection"]) * max(0, month - 1)
    return [
        Item("Secrets Manager, stored secrets", secrets + 2, facts.SECRET_MONTH),
        Item("Secrets Manager, calls", connections * (one.secret_calls + one.config_reads), facts.SECRET_CALL),
        Item("API Gateway, requests", requests, facts.API_REQUEST),
        Item("Lambda, requests", sum(invocations.values()) + sweeps, facts.LAMBDA_REQUEST),
        Item("Lambda, GB-seconds", gb_seconds, facts.LAMBDA_GB_SECOND),
        Item("DynamoDB, table writes", connections * one.table, facts.WRITE_UNIT),
        Item("DynamoDB, index writes", connections * one.index, facts.WRITE_UNIT),
        Item("DynamoDB, sweeper reads", sweeps * len(SWEEP) + connections * one.abandoned_links, facts.READ_UNIT),
        Item("DynamoDB, stream reads by Lambda", connections * one.table, facts.STREAM_READ),
        Item("DynamoDB, storage", (recent_rows + older_rows) / GB, facts.STORAGE),
        Item("DynamoDB, point-in-time recovery", (recent_rows + older_rows) / GB, facts.RECOVERY),
        Item("EventBridge, events", connections * one.events, facts.EVENT),
        Item("CloudWatch Logs, ingestion", logs / GB, facts.LOG_INGEST),
        Item("CloudWatch Logs, storage", logs * log_months / GB, facts.LOG_STORAGE),
        Item("CloudWatch, custom metrics", guess.metrics, facts.METRIC),
        Item("CloudWatch, metrics of the API routes", stack.routes * 6, facts.METRIC),
        Item("CloudWatch, alarms", stack.alarms, facts.ALARM),
        Item("CloudWatch, dashboards", stack.dashboards, facts.DASHBOARD),
        Item("data transfer out", requests * guess.answer_bytes / GB, facts.TRANSFER),
    ]


def customer_key(connections: float, guess: Assumptions) -> list[Item]:
    """Return what `KmsKeyArn` adds, without DynamoDB's few calls (it caches its data key for minutes)."""
    calls = connections * kms_calls(mean(guess))
    return [Item("KMS key", 1, facts.KMS_KEY), Item("KMS calls", calls, facts.KMS_CALL)]


def total(items: list[Item]) -> float:
    """Return the total of a bill in dollars."""
    return sum(item.dollars for item in items)


def table_vault(connections: float, month: int) -> list[Item]:
    """Return the bill of storing tokens in DynamoDB instead, encrypted with data keys of a customer managed key."""
    size = item_bytes(ROWS["connected"])
    stored = connections * month * size / GB
    return [
        Item("KMS key", 1, facts.KMS_KEY),
        Item("KMS, one data key per token", connections, facts.KMS_CALL),
        Item("DynamoDB, one write per token", connections * units(ROWS["connected"]), facts.WRITE_UNIT),
        Item("DynamoDB, storage", stored, facts.STORAGE),
        Item("DynamoDB, point-in-time recovery", stored, facts.RECOVERY),
    ]


def days_to_quota(connections: float, guess: Assumptions) -> float:
    """Return the days until `connections` a month reach a region's quota of secrets."""
    return facts.SECRET_COUNT.value / (connections * mean(guess).creates) * 30
