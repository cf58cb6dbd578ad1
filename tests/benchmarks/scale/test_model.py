"""The model computes these results from published numbers, and docs/scale.md matches it."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.scale import facts, model, report
from benchmarks.scale import stack as stacks
from benchmarks.scale.__main__ import PAGE
from benchmarks.scale.facts import Provenance
from benchmarks.scale.model import Assumptions, Limit
from benchmarks.scale.stack import Stack
from benchmarks.scale.work import FIRST, work_of
from tests.template import load_template

GUESS = Assumptions()


@pytest.fixture(scope="module")
def stack() -> Stack:
    """The capacity settings of the template."""
    return stacks.read()


def named(found: list[Limit], name: str) -> float:
    (limit,) = [one for one in found if one.name == name]
    return limit.per_second


def test_the_page_is_up_to_date(stack: Stack) -> None:
    """A change of the flow, the template, a price or an assumption needs `make scale`."""
    assert PAGE.read_text() == report.page(stack, GUESS)


def test_the_template_is_read_correctly(stack: Stack) -> None:
    """The model's reader and an independent one find the same values."""
    template = load_template()
    relay = template["Resources"]["RelayFunction"]["Properties"]
    assert stack.connect_rate == template["Parameters"]["ConnectRateLimit"]["Default"]
    assert stack.callback_rate == template["Parameters"]["CallbackRateLimit"]["Default"]
    assert stack.batch == relay["Events"]["Outcomes"]["Properties"]["BatchSize"]
    assert stack.memory["relay"] * 1024 == relay["MemorySize"]
    assert stack.timeout["callback"] < facts.API_TIMEOUT.value
    assert stack.routes == 4
    alarms = [one for one in template["Resources"].values() if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert stack.alarms == len(alarms) + 1, "one alarm watches two metrics, and each metric is charged as an alarm"


def test_the_throttles_are_the_first_limits_as_shipped(stack: Stack) -> None:
    """API Gateway stops a flood before any connection has started."""
    assert model.as_shipped(model.limits(stack, GUESS)).kind == "parameter"


def test_raising_a_parameter_moves_only_its_limit(stack: Stack) -> None:
    """Limits follow the template, not a number typed into the model."""
    wider = dataclasses.replace(stack, callback_rate=stack.callback_rate * 4)
    before, after = ({one.name: one.per_second for one in model.limits(each, GUESS)} for each in (stack, wider))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"`CallbackRateLimit`"}
    assert after["`CallbackRateLimit`"] == 4 * before["`CallbackRateLimit`"]
    assert report.page(wider, GUESS) != report.page(stack, GUESS)


def test_the_vault_is_the_limit_once_everything_else_is_raised(stack: Stack) -> None:
    """It takes 50 new secrets a second, and a tenth of the connections are reconnects."""
    limit = model.raised(model.limits(stack, GUESS))
    assert limit.name == model.VAULT
    assert limit.per_second == pytest.approx(50 / 0.9)


def test_the_index_is_limited_to_one_partition(stack: Stack) -> None:
    """All rows of flows share one key of the index, so the table's capacity does not help."""
    none_abandoned = dataclasses.replace(GUESS, abandoned_share=0.0)
    units = work_of(FIRST).partitions["flow"]
    assert named(model.limits(stack, none_abandoned), model.INDEX) == pytest.approx(1000 / units)


def test_little_s_law(stack: Stack) -> None:
    """At the rate of the concurrency limit, the functions in flight equal the quota."""
    busy = sum(model.busy_seconds(stack, GUESS, cold=False).values())
    rate = named(model.limits(stack, GUESS), model.CONCURRENCY)
    assert rate * busy == pytest.approx(facts.LAMBDA_CONCURRENCY.value)


def test_a_burst_is_counted_by_its_links(stack: Stack) -> None:
    """36,000 links an hour are ten a second. Each takes three requests, and the peak is three times the average."""
    mailing = model.burst(36_000, stack, GUESS)
    assert mailing.connect_peak == pytest.approx(10 * 3 * 3)
    assert mailing.callback_mean == pytest.approx(10 * 0.6)
    assert mailing.hours_as_shipped == pytest.approx(36_000 * 3 / stack.connect_rate / 3600)


def test_only_the_cost_of_secrets_accumulates(stack: Stack) -> None:
    """The twelfth month pays for twelve months of connections, at forty cents a secret."""
    first, last = (model.bill(1_000_000, month, stack, GUESS) for month in (1, 12))
    assert first[0].dollars == pytest.approx(0.40 * (900_000 + 2))
    assert last[0].dollars == pytest.approx(0.40 * (12 * 900_000 + 2))
    others = [model.total(bill[1:]) for bill in (first, last)]
    assert others[1] < others[0] * 1.05
    assert others[0] < first[0].dollars / 1000


def test_a_bill_grows_with_the_connections(stack: Stack) -> None:
    """Only metrics, alarms and the sweeper cost the same each month."""
    small, large = (model.bill(number, 1, stack, GUESS) for number in (1_000, 1_000_000))
    for one, thousand in zip(small, large, strict=True):
        assert thousand.dollars >= one.dollars, one.name
    api = next(number for number, item in enumerate(small) if item.price is facts.API_REQUEST)
    assert large[api].dollars == pytest.approx(1000 * small[api].dollars)


def test_every_assumption_has_a_reason_and_an_effect(stack: Stack) -> None:
    """An assumption without an effect would be noise."""
    assert Assumptions.WHY.keys() == {field.name for field in dataclasses.fields(Assumptions)}
    for name in Assumptions.WHY:
        changed = dataclasses.replace(GUESS, **{name: getattr(GUESS, name) / 2})
        assert report.page(stack, changed) != report.page(stack, GUESS), name
        assert model.limits(stack, changed) != model.limits(stack, GUESS) or (
            model.bill(1e6, 1, stack, changed) != model.bill(1e6, 1, stack, GUESS)
            or model.burst(100_000, stack, changed) != model.burst(100_000, stack, GUESS)
        ), name


def test_every_number_has_a_source() -> None:
    """The page lists each with where it was read, and marks those that are not confirmed."""
    known = [value for value in vars(facts).values() if isinstance(value, facts.Quota | facts.Price)]
    assert {one.what for one in known} == {one.what for one in (*facts.QUOTAS, *facts.PRICES)}
    assert all(one.source and one.unit for one in known)
    text = PAGE.read_text()
    assert all(f"| {one.provenance} |" in text for one in known)
    assert Provenance.UNCONFIRMED in {one.provenance for one in known}
