"""A separate stack with every incident that an operator may have to investigate, and what it logged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from local.engine import LocalStack, RunningStack
from local.simulator import Simulator
from tests.canary import CLIENT_SECRET
from tests.cli.account import KEY, make_stack
from tests.cli.incidents import cause_incidents, forget
from tests.cli.logs_insights_parser import fields_of
from tests.conftest import deployed

FUNCTIONS = ("Connect", "Callback", "Relay", "Sweeper")

_METRIC = "_aws.CloudWatchMetrics.0.Metrics.0"

type Answers = Callable[..., Any]

type Dimensions = frozenset[tuple[str, str]]
"""The dimensions of a metric: names and values."""


@dataclass(frozen=True)
class Logged:
    """The lines of each log group, as the fields that Logs Insights finds in them."""

    lines: Mapping[str, list[Mapping[str, Any]]]

    def fields(self, groups: Iterable[str]) -> set[str]:
        """Return the names of all fields in these log groups."""
        return {name for group in groups for line in self.lines[group] for name in line}

    def values(self, groups: Iterable[str], name: str) -> set[str]:
        """Return all values of a field in these log groups."""
        return {str(line[name]) for group in groups for line in self.lines[group] if name in line}

    def emitted(self) -> Iterable[Mapping[str, Any]]:
        """Return the lines in CloudWatch's embedded metric format. The functions emit one metric per line."""
        return [line for lines in self.lines.values() for line in lines if f"{_METRIC}.Name" in line]

    def metrics(self) -> Mapping[str, set[Dimensions]]:
        """Return each emitted metric with its sets of dimensions."""
        found: dict[str, set[Dimensions]] = {}
        for line in self.emitted():
            found.setdefault(str(line[f"{_METRIC}.Name"]), set()).update(_dimensions(line))
        return found


def _dimensions(line: Mapping[str, Any]) -> Iterable[Dimensions]:
    """Return the sets of dimensions in one line of CloudWatch's embedded metric format."""
    path, sets = "_aws.CloudWatchMetrics.0.Dimensions.", dict[str, list[str]]()
    for field, name in line.items():
        if field.startswith(path):
            sets.setdefault(field.removeprefix(path).partition(".")[0], []).append(str(name))
    return [frozenset((name, str(line[name])) for name in names) for names in sets.values()]


OPERATED_STAGE = "operated"


@pytest.fixture(scope="session")
def operated_stack(local_stack: LocalStack, finch_server: Simulator) -> RunningStack:
    """A separate deployment, so that what breaks here breaks for no other test."""
    return deployed(local_stack, finch_server, OPERATED_STAGE, "static")


@pytest.fixture(scope="session")
def logged(operated_stack: RunningStack, session_stack: RunningStack, finch_server: Simulator) -> Logged:
    """Cause each incident once, and return what was logged."""
    forget(finch_server)
    finch_server.client_secret = CLIENT_SECRET
    cause_incidents(operated_stack, session_stack, finch_server)
    lines: dict[str, list[Mapping[str, Any]]] = {f"{function}Logs": [] for function in FUNCTIONS}
    for function in FUNCTIONS:
        for stack in (operated_stack, session_stack):
            found = map(fields_of, stack.logs(f"{function}Function"))
            lines[f"{function}Logs"] += [fields for fields in found if fields]
    return Logged(lines)


@pytest.fixture
def account(aws: None) -> None:
    """As much of a deployed stack as the tools read."""
    client = boto3.client("secretsmanager")
    secrets = {"link-key": json.dumps({"kid": "1", "key": KEY}), "client-credentials": "{}"}
    arns = {
        name: client.create_secret(Name=f"finch/dev/config/{name}", SecretString=text)["ARN"]
        for name, text in secrets.items()
    }
    make_stack(
        {
            "ConnectUrl": "https://connect.example.com/connect",
            "LinkKeySecretArn": arns["link-key"],
            "ClientCredentialsSecretArn": arns["client-credentials"],
        }
    )


@pytest.fixture
def logs() -> Any:
    """A CloudWatch Logs client."""
    return boto3.client("logs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture
def answers(logs: Any) -> Iterator[Answers]:
    """Make Logs Insights answer one query: first that it is running, then with these rows."""
    with Stubber(logs) as stubber:

        def answer(
            *rows: list[dict[str, str]], status: str = "Complete", query: str = "fields @message", polls: int = 3
        ) -> None:
            request = {"logGroupNames": ["group"], "startTime": ANY, "endTime": ANY, "queryString": query}
            stubber.add_response("start_query", {"queryId": "query"}, request)
            for state, found in [("Scheduled", []), ("Running", []), (status, list(rows))][-polls:]:
                stubber.add_response("get_query_results", {"status": state, "results": found}, {"queryId": "query"})

        yield answer
        stubber.assert_no_pending_responses()
