"""Generate docs/scale.md from the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from benchmarks.scale import facts, model
from benchmarks.scale.facts import Price
from benchmarks.scale.markdown import items, section, table
from benchmarks.scale.model import Assumptions, Limit
from benchmarks.scale.stack import Stack
from benchmarks.scale.work import ABANDONED, FIRST, LOG_BYTES, ROWS, Call, item_bytes, units, work_of

SMALL, LARGE = 1_000, 1_000_000
MAILED = 100_000

_KINDS = {
    "parameter": "your parameter",
    "quota": "adjustable quota",
    "fixed": "fixed quota",
    "design": "this stack's design",
    "nat": "only behind one NAT",
}
_ADJUSTABLE = {True: "yes", False: "no", None: "grows automatically"}


def page(stack: Stack, guess: Assumptions) -> str:
    """Return the whole page as Markdown."""
    sections = [
        _summary(stack, guess),
        _one_connection(guess),
        _limits(stack, guess),
        _total_limits(guess),
        _in_flight(stack, guess),
        _burst(stack, guess),
        _scaling(),
        _cost(stack, guess),
        _vault_options(stack, guess),
        _assumptions(stack, guess),
        _quotas(),
        _prices(),
    ]
    return "\n\n".join(sections) + "\n"


def lines(found: Iterable[Limit]) -> list[str]:
    """Return the limits as lines for a terminal."""
    return [f"{_rate(one.per_second):>8} connections/s   {one.name}   ({one.because})" for one in found]


def _summary(stack: Stack, guess: Assumptions) -> str:
    found = model.limits(stack, guess)
    shipped, vault = model.as_shipped(found), model.raised(found)
    secrets, rest = _split(model.bill(LARGE, 12, stack, guess))
    return section(
        "# Scale",
        f"""How far the stack scales on AWS, and what it costs. `make scale` generates this page from
        `benchmarks/scale`. A test fails when the two differ, and other tests compare the model with the real functions.
        Nothing here was measured on AWS. It is arithmetic on published quotas and prices (read on {facts.SEEN},
        [below](#quotas)) and on [assumptions](#assumptions).""",
        items(
            f"""**As shipped: {_rate(shipped.per_second)} connections per second**, {shipped.per_second * 3600:,.0f} per
            hour. The first limit is {shipped.name}: {shipped.because} ({_KINDS[shipped.kind]}).""",
            f"""**With parameters and quotas raised: {_rate(vault.per_second)} per second** in one account and region.
            The first limit is then {vault.name}: {vault.because} ({_KINDS[vault.kind]}).""",
            f"""**In total: {facts.SECRET_COUNT.value:,.0f} connections** in one account and region, because each has a
            secret.""",
            f"""**Secrets Manager dominates the bill.** With {LARGE:,} connections a month it costs ${_dollars(secrets)}
            in the twelfth month, and everything else ${_dollars(rest)}. There are
            [alternatives](#alternatives-for-the-vault).""",
        ),
    )


def _one_connection(guess: Assumptions) -> str:
    calls = [
        [
            call.function,
            f"`{call.action}`",
            *_written(call),
            "at most once; cached for 5 minutes" if call.cached else "",
        ]
        for call in FIRST
    ]
    first, abandoned, one = work_of(FIRST), work_of(ABANDONED), model.mean(guess)
    saved = sum((units(ROWS[call.row]) - 1) * (1 + call.due.writes) for call in FIRST if call.row)
    return section(
        "## What one connection does",
        table(["function", "call", "write units, table", "write units, index `due`", "note"], calls),
        f"""In total {first.table} write units in the table and {first.index} in the index, where moving a row takes a
        delete and a put. A repeated connection adds a version to its secret instead of creating a secret. A link that
        is opened and never finished takes {abandoned.table} and {abandoned.index} write units. With
        {one.abandoned_links:.2f} such links per connection, the average is {one.table:.1f} and {one.index:.1f}.""",
        table(
            ["row", "bytes", "write units"], [[f"`{name}`", item_bytes(row), units(row)] for name, row in ROWS.items()]
        ),
        f"""The rows are those of an example with a long return URL and some metadata. One write unit is 1,024 bytes. If
        every row stayed below that, a connection would take {saved} write units fewer.""",
        f"""One invocation logs, as measured in tests:
        {", ".join(f"{name} {size:,} bytes" for name, size in LOG_BYTES.items())}.""",
    )


def _written(call: Call) -> tuple[object, object]:
    if call.row is None:
        return "", ""
    size = units(ROWS[call.row])
    return size, f"{size * call.due.writes} ({call.due})" if call.due.writes else 0


def _limits(stack: Stack, guess: Assumptions) -> str:
    found = model.limits(stack, guess)
    return section(
        "## Limits in connections per second",
        table(
            ["connections/s", "limit", "because", "kind", "what to do"],
            [[_rate(one.per_second), one.name, one.because, _KINDS[one.kind], one.then] for one in found],
        ),
        f"""At API Gateway's limits a person sees a 429. Nothing has been used up, so a reload continues while Finch's
        code is valid. When Secrets Manager refuses, the token waits in Parameter Store (about
        {facts.PARAMETER_RATE.value:g} more per second), the person sees success, and the sweeper moves the token. When
        the index refuses, DynamoDB throttles the write to the table. Before the exchange, the person is asked to try
        again. After it, the function retries while there is time, and then the sweeper finds the row. The relay and the
        bus only run afterwards.""",
    )


def _total_limits(guess: Assumptions) -> str:
    rate = facts.PARAMETER_RATE.value
    rows = [
        [
            f"{facts.SECRET_COUNT.value:,.0f} secrets",
            "connections, and tokens in quarantine",
            f"{model.days_to_quota(SMALL, guess) / 365:,.0f} years at {SMALL:,} a month, "
            f"{model.days_to_quota(LARGE, guess):.0f} days at {LARGE:,}",
            "another account or region; delete the secrets of ended connections",
        ],
        [
            f"{facts.SECRET_VERSIONS.value:g} versions of a secret",
            "reconnects of one connection within 24 hours",
            "no person reaches it",
            "AWS removes older versions, and advises at most one reconnect in 10 minutes",
        ],
        [
            f"{facts.PARAMETER_COUNT.value:,.0f} standard parameters",
            "tokens that wait while the vault is unavailable",
            f"{facts.PARAMETER_COUNT.value / rate / 60:.0f} minutes at {rate:g} per second",
            "further ones become advanced parameters automatically (Intelligent-Tiering)",
        ],
    ]
    return section(
        "## Total limits",
        table(["limit", "applies to", "reached after", "what then"], rows),
        f"""DynamoDB has no such limit. Flows leave the table by TTL. A connection's row
        ({item_bytes(ROWS["connection"])} bytes) stays.""",
    )


def _in_flight(stack: Stack, guess: Assumptions) -> str:
    found = model.limits(stack, guess)
    warm, cold = (_with_sum(model.busy_seconds(stack, guess, cold=state)) for state in (False, True))
    rates = [1.0, model.as_shipped(found).per_second, model.raised(found).per_second]
    rows = [
        [name, f"{warm[name]:.2f}", f"{cold[name]:.2f}"]
        + [f"{_rate(rate * warm[name])} / {_rate(rate * cold[name])}" for rate in rates]
        for name in warm
    ]
    hanging = rates[-1] * stack.timeout["callback"]
    over = "over" if hanging > facts.LAMBDA_CONCURRENCY.value else "under"
    return section(
        "## Functions in flight",
        f"""Little's law: rate × busy time. The default quota is {facts.LAMBDA_CONCURRENCY.value:,.0f} for the whole
        account and region.""",
        table(
            ["function", "s per connection, warm", "all cold"] + [f"at {_rate(rate)}/s, warm / cold" for rate in rates],
            rows,
        ),
        f"""Each function can start {facts.LAMBDA_GROWTH.value:,.0f} environments in 10 seconds. A callback ends after
        at most {stack.timeout["callback"]:g} s, before API Gateway's {facts.API_TIMEOUT.value:g} s. If Finch hangs,
        {_rate(rates[-1])} connections per second mean {hanging:,.0f} callbacks in flight, {over} the default quota.""",
    )


def _with_sum(seconds: dict[str, float]) -> dict[str, float]:
    return {**seconds, "total": sum(seconds.values())}


def _burst(stack: Stack, guess: Assumptions) -> str:
    mail = model.burst(MAILED, stack, guess)
    rows = [
        ["requests to `/connect`, busiest minute", f"{mail.connect_peak:.0f}/s", f"{stack.connect_rate:g}/s"],
        ["callbacks, on average", f"{mail.callback_mean:.1f}/s", f"{stack.callback_rate:g}/s"],
        ["callbacks, busiest minute", f"{mail.callback_peak:.0f}/s", f"{stack.callback_rate:g}/s"],
        ["new secrets, busiest minute", f"{mail.creates_peak:.0f}/s", f"{facts.SECRET_CREATES.value:g}/s"],
        ["index write units, busiest minute", f"{mail.partition_peak:.0f}/s", f"{facts.PARTITION_WRITES.value:,.0f}/s"],
        ["functions in flight, busiest minute", f"{mail.in_flight:.0f}", f"{facts.LAMBDA_CONCURRENCY.value:,.0f}"],
    ]  # fmt: skip
    return section(
        f"## Burst: a mailing to {mail.links:,} customers, opened within an hour",
        f"""A mail scanner fetches each link once, and a person opens it once and confirms with a click. That is three
        requests. {1 - guess.abandoned_share:.0%} of the links are finished. The busiest minute has {guess.peak:g} times
        the average rate.""",
        table(["what", "load", "limit as shipped"], rows),
        f"""As shipped, these requests take {mail.hours_as_shipped:.1f} hours to get through. People get 429s and have
        to reload, and nothing is lost. Before such a mailing, set `ConnectRateLimit` to {mail.connect_setting} and
        `CallbackRateLimit` to {mail.callback_setting}, or send it in waves. The vault can store all of these
        connections in {mail.hours_at_vault:.1f} hours.""",
    )


def _scaling() -> str:
    return section(
        "## What to raise and what to shard",
        items(
            "**Parameters** first: `ConnectRateLimit`, `CallbackRateLimit`.",
            "**Quotas** next, in Service Quotas: Lambda concurrency, API Gateway requests, PutEvents.",
            """**Accounts or regions** for Secrets Manager, because its rates and number of secrets are per account and
            region. Deploy one stack in each. Your backend chooses a stack by customer id and signs with that stack's
            key. The choice is permanent, because the stack's table records which customer a connection belongs to.
            Everything else multiplies too. Finch needs each stack's `CallbackUrl`.""",
            """**Stages** in one account share its quotas. They multiply only what belongs to a stack: throttles, table,
            index, relay.""",
            """**The index**, once the vault is not the limit: spread the key over several values by flow id, and let
            the sweeper query each.""",
            "**IP addresses** towards Finch: stay outside a VPC, or give its NAT gateways many addresses.",
        ),
    )


def _cost(stack: Stack, guess: Assumptions) -> str:
    periods = [(number, month) for number in (SMALL, LARGE) for month in (1, 12)]
    bills = [model.bill(number, month, stack, guess) for number, month in periods]
    rows = [
        [same[0].name, _price(same[0].price), *(_dollars(item.dollars) for item in same)]
        for same in zip(*bills, strict=True)
    ]
    rows.append(["**total**", "", *(f"**{_dollars(model.total(one))}**" for one in bills)])
    rows.append(["without Secrets Manager", "", *(_dollars(_split(one)[1]) for one in bills)])
    accounts = -int(-LARGE * 12 * model.mean(guess).creates // facts.SECRET_COUNT.value)
    return section(
        "## Monthly cost in $",
        """US East (N. Virginia), before any free tier or discount. Nothing is ever deleted, every invocation is a cold
        start, and every secret exists from the first day of its month. Taxes, your consumers and Finch are not
        included.""",
        table(["item", "price"] + [f"{number:,} a month, month {month}" for number, month in periods], rows, right=4),
        items(
            f"""**Secrets Manager dominates the cost, and it accumulates.** A secret costs {_price(facts.SECRET_MONTH)}
            for as long as it exists. In the twelfth month you pay for the connections of all twelve.""",
            f"""{LARGE:,} connections a month do not fit, because they reach {facts.SECRET_COUNT.value:,.0f} secrets
            after {model.days_to_quota(LARGE, guess):.0f} days. The columns show what they would cost across {accounts}
            accounts or regions by the twelfth month.""",
            "The rest of a small stack's bill is mostly metrics: those of the functions and those of the API routes.",
            f"""A customer managed key (`KmsKeyArn`) adds {_price(facts.KMS_KEY)}, and at {LARGE:,} connections a month
            ${_dollars(model.total(model.customer_key(LARGE, guess)))} in total.""",
        ),
    )


def _vault_options(stack: Stack, guess: Assumptions) -> str:
    secrets, _ = _split(model.bill(LARGE, 12, stack, guess))
    advanced = facts.ADVANCED_PARAMETER.dollars * model.mean(guess).creates * LARGE * 12
    rows = [
        ["as shipped", "a negotiated price, and many accounts", _dollars(secrets)],
        [
            "delete the secrets of ended connections",
            "your own job that knows which have ended; a secret marked for deletion costs nothing more",
            "depends on your churn",
        ],
        [
            "SSM advanced parameters",
            f"another adapter of `ports.Vault`; at most 100,000 per region and {facts.PARAMETER_RATE.value:g} calls/s "
            "unless raised, so they cannot take this load either",
            _dollars(advanced),
        ],
        [
            "tokens in DynamoDB, each encrypted with a KMS data key",
            "another adapter of `ports.Vault` (one method); for consumers, a role that may read the row and decrypt "
            "instead of the managed policy; each read is a KMS call in CloudTrail",
            _dollars(model.total(model.table_vault(LARGE, 12))),
        ],
        [
            "many tokens in one secret",
            "not possible: one write in 10 minutes per secret, and no lock between writers",
            "–",
        ],
    ]
    return section(
        "### Alternatives for the vault",
        f"""At {LARGE:,} connections a month. The alternatives are not built here. For a few thousand connections, one
        secret each is worth its price, because IAM, audit and rotation come with it.""",
        table(["option", "what it takes", "$ in the twelfth month"], rows, right=1),
    )


def _assumptions(stack: Stack, guess: Assumptions) -> str:
    rows: list[list[object]] = [["", "", "the model as shown above", "", *_effects(stack, guess)]]
    for field in dataclasses.fields(Assumptions):
        value = getattr(guess, field.name)
        other = value / 10 if field.name == "cold_share" else value * 2
        changed = dataclasses.replace(guess, **{field.name: other})
        rows.append(
            [f"`{field.name}`", f"{value:g}", Assumptions.WHY[field.name], f"{other:g}", *_effects(stack, changed)]
        )
    heads = [
        "as shipped/s",
        "vault/s",
        "index/s",
        "Lambda/s",
        "mailing: `ConnectRateLimit`",
        f"$ at {LARGE:,}, without Secrets Manager",
    ]
    return section(
        "## Assumptions",
        """Nobody publishes these. Times are in seconds, shares are fractions of one. Each row shows what changes if
        one of them is different. The REPORT lines in your logs have your own times.""",
        table(
            ["assumption", "value", "meaning", "if it were", *heads],
            rows,
            right=6,
        ),
    )


def _effects(stack: Stack, guess: Assumptions) -> list[str]:
    found = model.limits(stack, guess)
    named = {limit.name: limit for limit in found}
    shown = [model.as_shipped(found), *(named[name] for name in (model.VAULT, model.INDEX, model.CONCURRENCY))]
    setting = model.burst(MAILED, stack, guess).connect_setting
    _, rest = _split(model.bill(LARGE, 1, stack, guess))
    return [*(_rate(limit.per_second) for limit in shown), str(setting), _dollars(rest)]


def _quotas() -> str:
    rows = [
        [one.what, f"{one.value:,g}", one.unit, _ADJUSTABLE[one.adjustable], one.note, one.source, one.provenance]
        for one in facts.QUOTAS
    ]
    return section(
        "## Quotas",
        f"""Per account and region, read on {facts.SEEN} from stored copies of the pages. The last column says where the
        number was read. Check Service Quotas before you rely on one.""",
        table(["quota", "value", "unit", "adjustable", "note", "page", "read in"], rows),
    )


def _prices() -> str:
    rows = [[one.what, _price(one), one.source, one.provenance] for one in facts.PRICES]
    return section("## Prices", table(["price of", "value", "page", "read in"], rows))


def _split(bill: list[model.Item]) -> tuple[float, float]:
    """Return the cost of Secrets Manager and the cost of everything else."""
    secrets = sum(item.dollars for item in bill if item.name.startswith("Secrets Manager"))
    return secrets, model.total(bill) - secrets


def _rate(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"  # noqa: PLR2004  # three digits are enough


def _dollars(number: float) -> str:
    return f"{number:,.0f}" if number >= 1_000 else f"{number:,.2f}"  # noqa: PLR2004  # cents matter below


def _price(price: Price) -> str:
    if not price.dollars:
        return "free"
    text = f"{price.dollars:.10f}".rstrip("0")
    return f"${text if len(text.partition('.')[2]) > 1 else f'{price.dollars:.2f}'} {price.unit}"
