"""What a load run needs: simulated Finch, emulator, the deployed stack; with faults, proxies before AWS as well."""

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
from local.engine import LocalStack, RunningStack
from local.engine.microburst import AwsFault, Kind, Microburst, microburst, route_through
from local.engine.secretsmanager_shim import SecretsManagerShim
from local.engine.stack import LOCAL_STAGE, Echo
from local.simulator import Fault, Simulator
from local.simulator.faults import Faults

_CLIENT_ID = "client-load"
_CLIENT_SECRET = "secret-of-a-simulator"  # noqa: S105  # the simulator's own
AT_ONCE = 8 * (os.cpu_count() or 1)
"""So many functions run at the same time; who comes then waits at the API gateway.

The emulator starts a process for each call that finds none free, and each unpacks the layer: with a hundred of them the
first minute is nothing else, and calls that wait for a processor run into their timeouts. Warm, the rate is the same.
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
"""Each with an equal part of the share: twice not processed, twice processed and not told, once late."""


@dataclass
class Harness:
    """The deployed stack with Finch beside it; where AWS's calls may be broken, with proxies before AWS.

    The sweeper looks for versions of secrets, which the emulator names wrongly: `shim` sees to them.
    """

    stack: RunningStack
    finch: Simulator
    proxies: Sequence[Microburst]
    shim: SecretsManagerShim | None

    @contextlib.contextmanager
    def faults(self, share: float) -> Iterator[None]:
        """Break this share of AWS's calls and of the exchanges at Finch, at random, within the context."""
        if not share:
            yield
            return
        for fault, probability in zip(_FINCH_FAULTS, _in_turn(share, len(_FINCH_FAULTS)), strict=True):
            self.finch.faults.add(Fault(**fault, times=None, probability=probability))
        broken = [
            AwsFault(kind, times=None, probability=probability)
            for kind, probability in zip(_AWS_FAULTS, _in_turn(share, len(_AWS_FAULTS)), strict=True)
        ]
        with contextlib.ExitStack() as on:
            on.callback(self.finch.faults.clear)
            for proxy in self.proxies:
                on.enter_context(proxy.breaking(*broken))
            yield

    def aws_calls(self) -> tuple[int, int]:
        """Return how many calls of AWS went through the proxies so far, and how many of them were broken."""
        counts = [proxy.counts() for proxy in self.proxies]
        return sum(calls for calls, _ in counts), sum(broken for _, broken in counts)

    def rows(self) -> tuple[dict[str, Flow], dict[str, Connection]]:
        """Read the whole table: flows and connections by id. The deployment's own probe is none of them."""
        table = self.stack.outputs["TableName"]
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"]]
        flows = [flow_of(item) for item in items if item["id"]["S"].startswith(FLOW_KEY)]
        owners = [connection_of(item) for item in items if item["id"]["S"].startswith(CONNECTION_KEY)]
        return {flow.flow_id: flow for flow in flows}, {owner.connection_id: owner for owner in owners}

    def secrets(self, prefix: str) -> dict[str, str]:
        """Read all secrets under `finch/<stage>/<prefix>/`: their content by the last part of their name."""
        client, path = self.stack.client("secretsmanager"), f"finch/{LOCAL_STAGE}/{prefix}/"
        listed = client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [path]}])
        names = [one["Name"] for page in listed for one in page["SecretList"] if one["Name"].startswith(path)]
        found: dict[str, str] = {}
        for start in range(0, len(names), 20):  # AWS: BatchGetSecretValue takes twenty
            answer = client.batch_get_secret_value(SecretIdList=names[start : start + 20])
            found |= {one["Name"].removeprefix(path): one["SecretString"] for one in answer["SecretValues"]}
        return found

    def waiting(self) -> list[str]:
        """Return the attempts whose token waits in the fallback."""
        path = f"/finch/{LOCAL_STAGE}/unstored"
        pages = self.stack.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
        return [one["Name"].rpartition("/")[2] for page in pages for one in page["Parameters"]]

    def make_overdue(self) -> int:
        """Let everything that remains to be done be due, where it is not yet; return how much it is."""
        flows, owners = self.rows()
        due = {FLOW_KEY + flow.flow_id: flow.due_at for flow in flows.values()}
        due |= {CONNECTION_KEY + owner.connection_id: owner.leased_until for owner in owners.values()}
        remaining = {key: at for key, at in due.items() if at is not None}
        started = {FLOW_KEY + flow.flow_id for flow in flows.values() if flow.status is Status.STARTED}
        client, now = self.stack.client("dynamodb"), time.time() * 1000
        for key in (key for key, at in remaining.items() if at > now):
            # What was finished meanwhile is left alone.
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
    """Run it all until the context ends. Roles are not enforced: the proxy breaks signatures. Raises EngineError."""
    draw = random.Random(seed).random  # noqa: S311  # faults, no secrets
    with contextlib.ExitStack() as stack:
        finch = stack.enter_context(Simulator(client_id=_CLIENT_ID, client_secret=_CLIENT_SECRET, faults=Faults(draw)))
        local = stack.enter_context(LocalStack.start(auth=False, echo=echo))
        running = local.deploy(
            client_secret=_CLIENT_SECRET,
            at_once=AT_ONCE,
            parameters=lambda url: {
                "FinchClientId": _CLIENT_ID,
                "FinchApiUrl": finch.url,
                "FinchConnectUrl": finch.url,
                "AllowedReturnUrls": f"{url}/connected",
            },
        )
        finch.redirect_uris.add(f"{running.public_url}/callback")
        if not with_faults:
            yield Harness(running, finch, (), None)
            return
        echo("Putting the fault proxies before AWS")
        shim = stack.enter_context(SecretsManagerShim(local.endpoint_url))
        proxy, secrets = (stack.enter_context(microburst(url)) for url in (local.endpoint_url, shim.url))
        route_through(running, proxy, AWS_ENDPOINT_URL_SECRETS_MANAGER=secrets.url)
        yield Harness(running, finch, (proxy, secrets), shim)


def _in_turn(share: float, kinds: int) -> list[float]:
    """Return the probabilities of rules that are asked in turn, so that each is met by an equal part of the share."""
    each = share / kinds
    return [each / (1 - each * place) for place in range(kinds)]
