"""The products that Finch grants are compared with those that the flow asked for."""

from __future__ import annotations

import dataclasses

import pytest

from finch_connect.domain.flow import Status
from tests.unit.conftest import GRANT, World


@pytest.mark.parametrize(
    ("asked", "granted", "reason"),
    [
        (("company",), ("company", "directory"), "products_mismatch"),
        (("company", "directory"), ("company",), None),
        (("company",), None, None),
        (("company",), (), None),
        (("deduction",), ("benefits",), None),
        (("benefits",), ("deduction",), None),
    ],
)
def test_a_grant_of_more_than_the_flow_asked_for_is_quarantined(
    world: World, asked: tuple[str, ...], granted: tuple[str, ...] | None, reason: str | None
) -> None:
    """Fewer products fit, more do not, and `deduction` is an alias of `benefits`."""
    world.finch.answers = [dataclasses.replace(GRANT, products=granted)]
    flow = world.finish(world.started(products=asked))
    assert (flow.status, flow.reason) == (Status.QUARANTINED if reason else Status.CONNECTED, reason)
