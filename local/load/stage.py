"""What a load run needs: simulated Finch, emulator, the deployed stack; with faults, the proxy before AWS as well."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from finch_connect.adapters.items import CONNECTION_KEY, FLOW_KEY, connection_of, flow_key, flow_of
from finch_connect.model import Connection, Flow, Status
from local.engine import LocalStack, RunningStack
from local.engine.microburst import AwsFault, Kind, Microburst, microburst, stand_before
from local.engine.stack import LOCAL_STAGE, Echo
from local.simulator import Fault, Simulator
from local.simulator.faults import Faults

_CLIENT_ID = "client-load"
_CLIENT_SECRET = "secret-of-a-simulator"  # noqa: S105  # the simulator's own
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
class Stage:
    """The deployed stack with Finch beside it. `proxy` is there when AWS's calls may be broken."""

    stack: RunningStack
    finch: Simulator
    proxy: Microburst | None

    @contextlib.contextmanager
    def faults(self, share: float) -> Iterator[None]:
        """Break this share of AWS's calls and of the exchanges at Finch, at random, within the context."""
        if self.proxy is None or not share:
            yield
            return
        for fault, probability in zip(_FINCH_FAULTS, _in_turn(share, len(_FINCH_FAULTS)), strict=True):
            self.finch.faults.add(Fault(**fault, times=None, probability=probability))
        broken = [
            AwsFault(kind, times=None, probability=probability)
            for kind, probability in zip(_AWS_FAULTS, _in_turn(share, len(_AWS_FAULTS)), strict=True)
        ]
        try:
            with self.proxy.breaking(*broken):
                yield
        finally:
            self.finch.faults.clear()

    def aws_calls(self) -> tuple[int, int]:
        """Return how many calls of AWS went through the proxy so far, and how many of them were broken."""
        return self.proxy.counts() if self.proxy is not None else (0, 0)

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
        """Return the flows whose token waits in the fallback."""
        path = f"/finch/{LOCAL_STAGE}/unstored"
        pages = self.stack.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
        return [one["Name"].rpartition("/")[2] for page in pages for one in page["Parameters"]]

    def make_overdue(self, flow: Flow) -> None:
        """Let what remains to be done for a flow be due now; one that was finished meanwhile is left alone."""
        client = self.stack.client("dynamodb")
        moved = "SET due_at = :past, deadline = :past" if flow.status is Status.STARTED else "SET due_at = :past"
        with contextlib.suppress(client.exceptions.ConditionalCheckFailedException):
            client.update_item(
                TableName=self.stack.outputs["TableName"],
                Key=flow_key(flow.flow_id),
                UpdateExpression=moved,
                ConditionExpression="attribute_exists(due)",
                ExpressionAttributeValues={":past": _LONG_AGO},
            )


@contextlib.contextmanager
def stage(*, with_proxy: bool, seed: int, echo: Echo = lambda _: None) -> Iterator[Stage]:
    """Run it all until the context ends. Roles are not enforced: the proxy breaks signatures. Raises EngineError."""
    draw = random.Random(seed).random  # noqa: S311  # faults, no secrets
    with contextlib.ExitStack() as stack:
        finch = stack.enter_context(Simulator(client_id=_CLIENT_ID, client_secret=_CLIENT_SECRET, faults=Faults(draw)))
        local = stack.enter_context(LocalStack.start(auth=False, echo=echo))
        running = local.deploy(
            client_secret=_CLIENT_SECRET,
            parameters=lambda url: {
                "FinchClientId": _CLIENT_ID,
                "FinchApiUrl": finch.url,
                "FinchConnectUrl": finch.url,
                "AllowedReturnUrls": f"{url}/connected",
            },
        )
        finch.redirect_uris.add(f"{running.public_url}/callback")
        proxy = stack.enter_context(microburst(local.endpoint_url)) if with_proxy else None
        if proxy is not None:
            echo("Putting the fault proxy before AWS")
            stand_before(running, proxy)
        yield Stage(running, finch, proxy)


def _in_turn(share: float, kinds: int) -> list[float]:
    """Return the probabilities of rules that are asked in turn, so that each is met by an equal part of the share."""
    each = share / kinds
    return [each / (1 - each * place) for place in range(kinds)]
