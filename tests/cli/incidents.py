"""Everything that can happen to a deployed stack and that an operator may have to look into, once."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt

from cli.waiting import wait_for
from finch_connect.adapters.items import item_of
from finch_connect.domain.flow import ConnectMode, Flow, Status
from finch_connect.domain.states import flow_id_of
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.attacks.test_answers import changed
from tests.canary import CANARIES, CLIENT_SECRET, Visitor
from tests.conftest import Customer

TIMEOUT_SECONDS = 60.0


def happen(stack: RunningStack, session_stack: RunningStack, finch: Simulator) -> None:
    """Let it all happen. `stack` is for this alone: at the end its link key is gone."""
    _people_come(stack, finch)
    forget(finch)
    _finch_errs(stack, session_stack, finch)
    forget(finch)
    _the_vault_is_away(stack, finch)
    forget(finch)
    _the_bus_is_away(stack, finch)
    _flows_are_overdue(stack)
    _nobody_foresaw_this(stack)
    _secrets_are_unreadable(stack)
    forget(finch)


def forget(finch: Simulator) -> None:
    """Let Finch know nobody: the next who sign in at the same company get another connection."""
    for token in finch.store.tokens:
        CANARIES.add("token", token)
    finch.forget()


@contextmanager
def forbidden(stack: RunningStack, role: str, *actions: str) -> Iterator[None]:
    """Take actions from a function's role for a while: what AWS refuses then stands for any service that is away."""
    iam, name = stack.client("iam"), stack.deployed.resources[role]
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    denied = {"Effect": "Deny", "Action": list(actions), "Resource": "*"}
    statements = [*document["Statement"], denied]
    iam.put_role_policy(
        RoleName=name, PolicyName=policy, PolicyDocument=json.dumps({**document, "Statement": statements})
    )
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))


def logged(stack: RunningStack, function: str, text: str) -> bool:
    """Tell whether a function has logged a text."""
    return any(text in line for line in stack.logs(function))


def overdue(stack: RunningStack, status: Status, **facts: Any) -> Flow:
    """Put a row that is due since a minute."""
    now = int(time.time() * 1000)
    flow = Flow(
        flow_id=flow_id_of("overdue", uuid.uuid4().hex),
        status=status,
        state_hash=uuid.uuid4().hex * 2,
        mode=ConnectMode.STATIC,
        customer_id="overdue",
        redirect_uri=f"{stack.public_url}/callback",
        started_at=now - 120_000,
        deadline=now - 60_000,
        due_at=now - 60_000,
        expires=now // 1000 + 3600,
        products=("company",),
    )
    flow = dataclasses.replace(flow, **facts)
    stack.client("dynamodb").put_item(TableName=stack.outputs["TableName"], Item=item_of(flow))
    return flow


def _people_come(stack: RunningStack, finch: Simulator) -> None:
    one = Customer(stack, finch)
    callback = one.approved()
    one.come_back(callback)
    one.come_back(callback)
    one.browser.get(one.link())
    Customer(stack, finch).browser.get(Customer(stack, finch).link(confirm=True))
    denied = Customer(stack, finch)
    denied.come_back(denied.denied())
    one.browser.get(f"{stack.public_url}/connect?link=nonsense")
    Visitor().get(Customer(stack, finch).approved())


def _finch_errs(stack: RunningStack, session_stack: RunningStack, finch: Simulator) -> None:
    refused = Customer(stack, finch)
    refused.come_back(changed(refused.approved(), code="no-code-of-finchs"))
    for fault in (Fault("reset_after"), Fault("answer", answer={"customer_id": "somebody else"})):
        finch.faults.add(fault)
        customer = Customer(stack, finch)
        customer.come_back(customer.approved())
    finch.client_secret = "rotated-and-nobody-said-so"
    refused = Customer(stack, finch)
    refused.come_back(refused.approved())
    not_opened = Customer(session_stack, finch)
    assert not_opened.browser.get(not_opened.link()).status == 503
    finch.client_secret = CLIENT_SECRET


def _the_vault_is_away(stack: RunningStack, finch: Simulator) -> None:
    writes = ("secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:RestoreSecret")
    with forbidden(stack, "CallbackRole", *writes):
        waits = Customer(stack, finch)
        waits.connect()
        assert waits.status() == "unstored"
        with forbidden(stack, "CallbackRole", *writes, "ssm:PutParameter"):
            lost = Customer(stack, finch)
            lost.connect()
            row = lost.row()
            assert row is not None
            assert row.reason == "token_lost"
    with forbidden(stack, "SweeperRole", *writes):
        stack.invoke("SweeperFunction", {})
        assert waits.status() == "unstored"
    stack.invoke("SweeperFunction", {})
    assert waits.status() == "connected"


def _the_bus_is_away(stack: RunningStack, finch: Simulator) -> None:
    with forbidden(stack, "RelayRole", "events:PutEvents"):
        late = Customer(stack, finch)
        late.connect()
        overdue(stack, Status.DENIED, settled_at=int(time.time() * 1000) - 180_000, reason="access_denied")
        stack.invoke("SweeperFunction", {})  # its role may still tell
        wait_for(
            lambda: logged(stack, "RelayFunction", "not_published"),
            timeout=TIMEOUT_SECONDS,
            problem="the relay did not say that the bus is away",
        )


def _flows_are_overdue(stack: RunningStack) -> None:
    claimed_at = int(time.time() * 1000) - 180_000
    overdue(stack, Status.STARTED)
    interrupted = overdue(stack, Status.CLAIMED, claimed_at=claimed_at)
    quarantined = flow_id_of("set aside, and then the function died", uuid.uuid4().hex)
    name = f"finch/{stack.deployed.stage}/quarantine/{quarantined}"
    version = stack.client("secretsmanager").create_secret(Name=name, SecretString="{}")["VersionId"]
    overdue(stack, Status.CLAIMED, claimed_at=claimed_at, flow_id=quarantined, state_hash=version)
    stack.invoke("SweeperFunction", {})
    wait_for(
        lambda: logged(stack, "RelayFunction", interrupted.flow_id),
        timeout=TIMEOUT_SECONDS,
        problem="an interrupted flow was not told",
    )


def _nobody_foresaw_this(stack: RunningStack) -> None:
    for function in ("ConnectFunction", "CallbackFunction"):
        stack.invoke(function, {"requestContext": {"requestId": "r", "http": {}}})
    poison = {"SequenceNumber": "7", "NewImage": {"id": {"S": "flow#x"}, "status": {"S": "connected"}}}
    stack.invoke("RelayFunction", {"Records": [{"eventID": "7", "eventName": "MODIFY", "dynamodb": poison}]})
    for _ in range(3):
        broken = overdue(stack, Status.UNSTORED)
        name = f"/finch/{stack.deployed.stage}/unstored/{broken.attempt}"
        stack.client("ssm").put_parameter(Name=name, Value="no document", Type="SecureString")
    stack.invoke("SweeperFunction", {})


def _secrets_are_unreadable(stack: RunningStack) -> None:
    arn, client = stack.outputs["LinkKeySecretArn"], stack.client("secretsmanager")
    _, key = stack.link_key()

    def open_under_an_unknown_key() -> None:
        """A key that nobody has heard of is looked for at once, so what is kept is read anew."""
        link = jwt.encode({"aud": "finch-connect"}, key, algorithm="HS256", headers={"kid": uuid.uuid4().hex})
        Visitor().get(f"{stack.public_url}/connect?link={link}")

    with forbidden(stack, "ConnectRole", "secretsmanager:GetSecretValue"):
        open_under_an_unknown_key()
    client.put_secret_value(SecretId=arn, SecretString="no JSON")
    open_under_an_unknown_key()
    client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    open_under_an_unknown_key()
    _move(stack, "ConnectFunction", AWS_ENDPOINT_URL_SECRETS_MANAGER="http://127.0.0.1:9")  # nobody listens there
    open_under_an_unknown_key()


def _move(stack: RunningStack, function: str, **environment: str) -> None:
    """Change a function's environment; its next container has it."""
    stack.reconfigure(lambda logical_id: environment if logical_id == function else {})
