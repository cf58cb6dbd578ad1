"""The fault proxy breaks the calls that it should, and no others, and ends with its context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.waiting import wait_for
from local.engine.emulator import REGION, emulator
from local.engine.microburst import AwsFault, Kind, Microburst, microburst

NO_RETRIES = Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=0.5)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Microburst]:
    """A proxy in front of an emulator that does not check signatures."""
    with emulator(auth=False) as upstream, microburst(upstream) as running:
        yield running
    with pytest.raises(requests.ConnectionError):
        requests.get(running.url, timeout=2)


@pytest.fixture
def parameters(proxy: Microburst) -> Any:
    """A client of Parameter Store without retries."""
    return boto3.client(
        "ssm",
        endpoint_url=proxy.url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=NO_RETRIES,
    )


@pytest.mark.parametrize(
    ("kind", "happens"),
    [
        (Kind.THROTTLED, False),
        (Kind.ERROR, False),
        (Kind.RESET_BEFORE, False),
        (Kind.RESET_AFTER, True),
        (Kind.TRUNCATED, True),
    ],
)
def test_a_call_breaks_as_its_kind_says(proxy: Microburst, parameters: Any, kind: Kind, happens: bool) -> None:
    """Each kind breaks either before or after AWS executes the call, which decides whether a retry is a repetition."""
    name = f"/broken/{kind.name}"
    with proxy.breaking(AwsFault(kind, "ssm", "PutParameter")) as rules:
        with pytest.raises((ClientError, BotoCoreError)):
            parameters.put_parameter(Name=name, Value="1", Type="String")
        assert [call.operation for call in proxy.broken(rules)] == ["PutParameter"]
        found = parameters.get_parameters(Names=[name])["Parameters"]
    assert bool(found) is happens


def test_a_slow_call_is_executed_after_its_caller_timed_out(proxy: Microburst, parameters: Any) -> None:
    """A slow call is not lost."""
    with proxy.breaking(AwsFault(Kind.SLOW, "ssm", "PutParameter", seconds=1)), pytest.raises(BotoCoreError):
        parameters.put_parameter(Name="/slow", Value="1", Type="String")
    wait_for(lambda: parameters.get_parameters(Names=["/slow"])["Parameters"], timeout=10)


def test_only_the_calls_that_match_are_broken(proxy: Microburst, parameters: Any) -> None:
    """So several tests can break different flows at once. The fault ends with its context and not with another's."""
    with proxy.breaking(AwsFault(Kind.ERROR, "ssm", "PutParameter", match="Name == '/mine'", times=None)) as rules:
        parameters.put_parameter(Name="/theirs", Value="1", Type="String")
        for _ in range(2):
            with pytest.raises(ClientError):
                parameters.put_parameter(Name="/mine", Value="1", Type="String")
        with proxy.breaking():
            pass
        with pytest.raises(ClientError):
            parameters.put_parameter(Name="/mine", Value="1", Type="String")
    parameters.put_parameter(Name="/mine", Value="1", Type="String")
    assert len(proxy.broken(rules)) == 3
