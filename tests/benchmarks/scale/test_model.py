"""What the model makes of published numbers, and that docs/scale.md says the same."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.scale import facts, model, report
from benchmarks.scale import stack as stacks
from benchmarks.scale.__main__ import PAGE
from benchmarks.scale.facts import Standing
from benchmarks.scale.model import Assumptions, Limit
from benchmarks.scale.stack import Stack
from benchmarks.scale.work import FIRST, work_of
from tests.template import load_template

GUESS = Assumptions()


@pytest.fixture(scope="module")
def stack() -> Stack:
    """The template, read."""
    return stacks.read()


def named(found: list[Limit], name: str) -> float:
    (limit,) = [one for one in found if one.name == name]
    return limit.per_second


def test_the_page_is_what_the_model_says(stack: Stack) -> None:
    """`make scale` writes it: after a change of the flow, the template, a price or an assumption."""
    assert PAGE.read_text() == report.page(stack, GUESS)


def test_the_template_is_read_as_it_is(stack: Stack) -> None:
    """By another reader than the model's."""
    template = load_template()
    relay = template["Resources"]["RelayFunction"]["Properties"]
    assert stack.connect_rate == template["Parameters"]["ConnectRateLimit"]["Default"]
    assert stack.callback_rate == template["Parameters"]["CallbackRateLimit"]["Default"]
    assert stack.batch == relay["Events"]["Outcomes"]["Properties"]["BatchSize"]
    assert stack.memory["relay"] * 1024 == relay["MemorySize"]
    assert stack.timeout["callback"] < facts.API_TIMEOUT.value
    assert stack.routes == 4
    alarms = [one for one in template["Resources"].values() if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert stack.alarms == len(alarms)


def test_the_throttles_are_the_first_limits_as_shipped(stack: Stack) -> None:
    """So a flood stops at the door, and not in the middle of a connection."""
    assert model.as_shipped(model.limits(stack, GUESS)).kind == "parameter"


def test_a_parameter_that_is_set_moves_its_limit_and_no_other(stack: Stack) -> None:
    """The page is right for the template that is there, not for a number that was typed."""
    wider = dataclasses.replace(stack, callback_rate=stack.callback_rate * 4)
    before, after = ({one.name: one.per_second for one in model.limits(each, GUESS)} for each in (stack, wider))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"`CallbackRateLimit`"}
    assert after["`CallbackRateLimit`"] == 4 * before["`CallbackRateLimit`"]
    assert report.page(wider, GUESS) != report.page(stack, GUESS)


def test_once_all_is_raised_the_vault_is_the_limit(stack: Stack) -> None:
    """50 new secrets a second, a tenth of the connections being made again."""
    limit = model.raised(model.limits(stack, GUESS))
    assert limit.name == model.VAULT
    assert limit.per_second == pytest.approx(50 / 0.9)


def test_the_index_takes_what_one_partition_takes(stack: Stack) -> None:
    """Every flow's row is under one key of the index, whatever the table could do."""
    none_in_vain = dataclasses.replace(GUESS, abandoned_share=0.0)
    units = work_of(FIRST).partitions["flow"]
    assert named(model.limits(stack, none_in_vain), model.INDEX) == pytest.approx(1000 / units)


def test_little_s_law(stack: Stack) -> None:
    """At the rate of the concurrency's limit, so many are in flight as the quota allows."""
    busy = sum(model.busy_seconds(stack, GUESS, cold=False).values())
    rate = named(model.limits(stack, GUESS), model.CONCURRENCY)
    assert rate * busy == pytest.approx(facts.LAMBDA_CONCURRENCY.value)


def test_a_burst_is_counted_by_its_links(stack: Stack) -> None:
    """36,000 links in an hour are ten a second: three requests for each, three times as many in the busiest minute."""
    mail = model.burst(36_000, stack, GUESS)
    assert mail.connect_peak == pytest.approx(10 * 3 * 3)
    assert mail.callback_mean == pytest.approx(10 * 0.6)
    assert mail.hours_as_shipped == pytest.approx(36_000 * 3 / stack.connect_rate / 3600)


def test_secrets_add_up_and_all_else_hardly_does(stack: Stack) -> None:
    """Twelve months of connections are paid for in the twelfth, at forty cents a secret."""
    first, last = (model.bill(1_000_000, month, stack, GUESS) for month in (1, 12))
    assert first[0].dollars == pytest.approx(0.40 * (900_000 + 2))
    assert last[0].dollars == pytest.approx(0.40 * (12 * 900_000 + 2))
    others = [model.total(bill[1:]) for bill in (first, last)]
    assert others[1] < others[0] * 1.05
    assert others[0] < first[0].dollars / 1000


def test_a_bill_grows_with_the_connections(stack: Stack) -> None:
    """But for what is paid by the month: metrics, alarms, the sweeper."""
    small, large = (model.bill(number, 1, stack, GUESS) for number in (1_000, 1_000_000))
    for one, thousand in zip(small, large, strict=True):
        assert thousand.dollars >= one.dollars, one.name
    api = next(number for number, item in enumerate(small) if item.price is facts.API_REQUEST)
    assert large[api].dollars == pytest.approx(1000 * small[api].dollars)


def test_every_assumption_has_its_reason_and_changes_something(stack: Stack) -> None:
    """One that changed nothing would be noise."""
    assert Assumptions.WHY.keys() == {field.name for field in dataclasses.fields(Assumptions)}
    for name in Assumptions.WHY:
        changed = dataclasses.replace(GUESS, **{name: getattr(GUESS, name) / 2})
        assert report.page(stack, changed) != report.page(stack, GUESS), name
        assert model.limits(stack, changed) != model.limits(stack, GUESS) or (
            model.bill(1e6, 1, stack, changed) != model.bill(1e6, 1, stack, GUESS)
            or model.burst(100_000, stack, changed) != model.burst(100_000, stack, GUESS)
        ), name


def test_every_number_has_its_page() -> None:
    """And what was not confirmed says so on the page."""
    known = [value for value in vars(facts).values() if isinstance(value, facts.Quota | facts.Price)]
    assert {one.what for one in known} == {one.what for one in (*facts.QUOTAS, *facts.PRICES)}
    assert all(one.source and one.unit for one in known)
    text = PAGE.read_text()
    assert all(f"| {one.standing} |" in text for one in known)
    assert Standing.OPEN in {one.standing for one in known}
