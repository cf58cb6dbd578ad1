"""With `SnapStart=on` the API calls published versions, which the emulator initializes when they are published."""

from __future__ import annotations

from typing import Any

import pytest

from local.engine import LocalStack, RunningStack
from local.simulator import Simulator
from tests.conftest import Customer, deployed


@pytest.fixture(scope="module")
def snapshot_stack(local_stack: LocalStack, finch_server: Simulator) -> RunningStack:
    """Deploy a stack whose public functions start from snapshots."""
    return deployed(local_stack, finch_server, "snapshots", "static", SnapStart="on")


def configuration(stack: RunningStack, function: str) -> Any:
    """Return the configuration of the version that the function's alias points to."""
    name = stack.deployed.resources[function]
    return stack.client("lambda").get_function_configuration(FunctionName=name, Qualifier="live")


def test_a_customer_connects_through_functions_with_snapshots(snapshot_stack: RunningStack, finch: Simulator) -> None:
    """Everything created at init still works in the first request."""
    for function in ("ConnectFunction", "CallbackFunction"):
        version = configuration(snapshot_stack, function)
        assert version["Version"] != "$LATEST"
        assert version["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert Customer(snapshot_stack, finch).connect()["status"] == "connected"


def test_without_snapstart_versions_are_published_without_snapshots(static_stack: RunningStack) -> None:
    """This is the default."""
    version = configuration(static_stack, "ConnectFunction")
    assert version["Version"] != "$LATEST"
    assert version["SnapStart"]["ApplyOn"] == "None"
