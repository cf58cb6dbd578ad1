"""The harness of a load run: simulated Finch, the emulator, the deployed stack, and fault proxies for AWS calls."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finch_connect.adapters.items import CONNECTION_KEY, FLOW_KEY, connection_of, flow_of
from finch_connect.domain.connection import Connection
from finch_connect.domain.flow import Flow, Status
from finch_connect.domain.names import Names
from local.engine import LocalStack, RunningStack
from local.engine.microburst import AwsFault, Kind, Microburst, microburst, route_through
from local.engine.secretsmanager_shim import SecretsManagerShim
from local.engine.stack import LOCAL_STAGE, Echo
from local.simulator import Fault, Simulator
from local.simulator.faults import Faults

NAMES = Names(LOCAL_STAGE)
"""The names under which the stack keeps what the load leaves."""

_CLIENT_ID = "client-load"
_CLIENT_SECRET = "secret-of-a-simulator"  # noqa: S105  # only for the simulator
MAX_CONCURRENT = 8 * (os.cpu_count() or 1)
"""How many functions run at the same time. Further requests wait at the API gateway.

The emulator starts a new process if none is free, and each process unpacks the layer. A hundred of them would take up
the first minute, and calls that wait for a processor would time out. With warm functions the rate is the same.
"""

_LONG_AGO = {"N": "1000"}

_AWS_FAULTS = (Kind.THROTTLED, Kind.ERROR, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.TRUNCATED, Kind.SLOW)

_FINCH_FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "error", "status": 429, "name": "rate_limit_exceeded_error", "retry_after": 1},
    {"kind": "error", "status": 503, "name": "service_unavailable"},
    {"kind": "error", "status": 500, "name": "server_error", "processed": True},
    {"kind": "reset_after"},
    {"kind": "delay", "seconds": 2.0},
)
"""Each gets an equal part of the share. Finch processes the last three: an error, a lost answer, a late answer."""


@dataclass
class Harness:
    """The deployed stack with simulated Finch and, if AWS calls may fail, the fault proxies.

    The sweeper checks the version ids of secrets. The emulator chooses wrong ones, and `shim` corrects them.
    """

    stack: RunningStack
    finch: Simulator
    proxies: Sequence[Microburst]
    shim: SecretsManagerShim | None

    @contextlib.contextmanager
    def faults(self, share: float) -> Iterator[None]:
        """Make this share (0 to 1) of the AWS calls and Finch exchanges fail at random within the context."""
        if not share:
            yield
            return
        for fault, probability in zip(_FINCH_FAULTS, _probabilities(share, len(_FINCH_FAULTS)), strict=True):
            self.finch.faults.add(Fault(**fault, times=None, probability=probability))
        broken = [
            AwsFault(kind, times=None, probability=probability)
            for kind, probability in zip(_AWS_FAULTS, _probabilities(share, len(_AWS_FAULTS)), strict=True)
        ]
        with contextlib.ExitStack() as active:
            active.callback(self.finch.faults.clear)
            for proxy in self.proxies:
                active.enter_context(proxy.breaking(*broken))
            yield

    def aws_calls(self) -> tuple[int, int]:
        """Return the number of AWS calls through the proxies so far, and how many of them met a fault."""
        counts = [proxy.counts() for proxy in self.proxies]
        return sum(calls for calls, _ in counts), sum(broken for _, broken in counts)

    def rows(self) -> tuple[dict[str, Flow], dict[str, Connection]]:
        """Read all flows and connections of the table, by id. The deployment's probe and other items are ignored."""
        table = self.stack.outputs["TableName"]
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"]]
        flows = [flow_of(item) for item in items if item["id"]["S"].startswith(FLOW_KEY)]
        connections = [connection_of(item) for item in items if item["id"]["S"].startswith(CONNECTION_KEY)]
        return {flow.flow_id: flow for flow in flows}, {one.connection_id: one for one in connections}

    def secrets(self, path: str) -> dict[str, str]:
        """Read all secrets whose names begin with a path of NAMES; return their contents by the rest of the name."""
        client = self.stack.client("secretsmanager")
        listed = client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [path]}])
        names = [one["Name"] for page in listed for one in page["SecretList"] if one["Name"].startswith(path)]
        found: dict[str, str] = {}
        for start in range(0, len(names), 20):  # AWS: at most 20 for BatchGetSecretValue
            answer = client.batch_get_secret_value(SecretIdList=names[start : start + 20])
            found |= {one["Name"].removeprefix(path): one["SecretString"] for one in answer["SecretValues"]}
        return found

    def in_fallback(self) -> list[str]:
        """Return the attempts whose token is in the fallback."""
        pages = self.stack.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=NAMES.fallback_prefix)
        return [one["Name"].rpartition("/")[2] for page in pages for one in page["Parameters"]]

    def make_overdue(self) -> int:
        """Make all unfinished rows due; return how many there are, including those already due."""
        flows, connections = self.rows()
        due = {FLOW_KEY + flow.flow_id: flow.due_at for flow in flows.values()}
        due |= {CONNECTION_KEY + one.connection_id: one.leased_until for one in connections.values()}
        remaining = {key: at for key, at in due.items() if at is not None}
        started = {FLOW_KEY + flow.flow_id for flow in flows.values() if flow.status is Status.STARTED}
        client, now = self.stack.client("dynamodb"), time.time() * 1000
        for key in (key for key, at in remaining.items() if at > now):
            # Rows that were finished in the meantime stay as they are.
            with contextlib.suppress(client.exceptions.ConditionalCheckFailedException):
                client.update_item(
                    TableName=self.stack.outputs["TableName"],
                    Key={"id": {"S": key}},
                    UpdateExpression="SET due_at = :past" + (", deadline = :past" if key in started else ""),
                    ConditionExpression="attribute_exists(due)",
                    ExpressionAttributeValues={":past": _LONG_AGO},
                )
        return len(remaining)


@contextlib.contextmanager
def harness(*, with_faults: bool, seed: int, echo: Echo = lambda _: None) -> Iterator[Harness]:
    """Run the harness within the context. Raises EngineError.

    Roles are not enforced, because the proxy breaks signatures.
    """
    draw = random.Random(seed).random  # noqa: S311  # for faults, not for secrets
    with contextlib.ExitStack() as stack:
        finch = stack.enter_context(Simulator(client_id=_CLIENT_ID, client_secret=_CLIENT_SECRET, faults=Faults(draw)))
        local = stack.enter_context(LocalStack.start(auth=False, echo=echo))
        running = local.deploy(
            client_secret=_CLIENT_SECRET,
            at_once=MAX_CONCURRENT,
            parameters=lambda url: {**finch.parameters, "AllowedReturnUrls": f"{url}/connected"},
        )
        finch.redirect_uris.add(f"{running.public_url}/callback")
        if not with_faults:
            yield Harness(running, finch, (), None)
            return
        echo("Starting the fault proxies")
        shim = stack.enter_context(SecretsManagerShim(local.endpoint_url))
        proxy, secrets = (stack.enter_context(microburst(url)) for url in (local.endpoint_url, shim.url))
        route_through(running, proxy, AWS_ENDPOINT_URL_SECRETS_MANAGER=secrets.url)
        yield Harness(running, finch, (proxy, secrets), shim)


def _probabilities(share: float, kinds: int) -> list[float]:
    """Return the rules' probabilities. Rules are tried in order, so each later one needs more for an equal part."""
    each = share / kinds
    return [each / (1 - each * index) for index in range(kinds)]
