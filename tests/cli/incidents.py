"""Cause each incident that an operator may have to investigate, once, on a deployed stack."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt

from cli.waiting import wait_for
from finch_connect.adapters.items import item_of
from finch_connect.domain.flow import Flow, Status
from finch_connect.domain.states import flow_id_of
from local.engine import RunningStack
from local.simulator import Fault, Simulator
from tests.attacks.test_answers import changed
from tests.canary import CANARIES, CLIENT_SECRET, Visitor
from tests.conftest import Customer
from tests.flows import a_flow

TIMEOUT_SECONDS = 60.0


def cause_incidents(stack: RunningStack, session_stack: RunningStack, finch: Simulator) -> None:
    """Cause all incidents. `stack` serves no other test, because its link key is deleted at the end."""
    _customers_connect(stack, finch)
    forget(finch)
    _finch_fails(stack, session_stack, finch)
    forget(finch)
    _vault_is_unavailable(stack, finch)
    forget(finch)
    _bus_is_unavailable(stack, finch)
    _flows_are_overdue(stack)
    _functions_fail(stack)
    _secrets_are_unreadable(stack)
    forget(finch)


def forget(finch: Simulator) -> None:
    """Reset Finch, so that the next sign-in at the same company creates another connection."""
    for token in finch.store.tokens:
        CANARIES.add("token", token)
    finch.forget()


@contextmanager
def forbidden(stack: RunningStack, role: str, *actions: str) -> Iterator[None]:
    """Deny a role some actions within this block. The refusals simulate an unavailable service."""
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
    """Return whether a function has logged a text."""
    return any(text in line for line in stack.logs(function))


def overdue(stack: RunningStack, status: Status, **facts: Any) -> Flow:
    """Put a row that has been due for a minute, and return its flow."""
    now = int(time.time() * 1000)
    usual = {
        "flow_id": flow_id_of("overdue", uuid.uuid4().hex),
        "state_hash": uuid.uuid4().hex * 2,
        "customer_id": "overdue",
        "redirect_uri": f"{stack.public_url}/callback",
        "started_at": now - 120_000,
        "deadline": now - 60_000,
        "due_at": now - 60_000,
    }
    flow = a_flow(status=status, **usual | facts)
    stack.client("dynamodb").put_item(TableName=stack.outputs["TableName"], Item=item_of(flow))
    return flow


def _customers_connect(stack: RunningStack, finch: Simulator) -> None:
    one = Customer(stack, finch)
    callback = one.approved()
    one.come_back(callback)
    one.come_back(callback)
    one.browser.get(one.link())
    Customer(stack, finch).browser.get(Customer(stack, finch).link(confirm=True))
    denied = Customer(stack, finch)
    approved = denied.approved()
    denied.come_back(changed(approved, remove="code", error="access_denied"))
    denied.come_back(approved)
    one.browser.get(f"{stack.public_url}/connect?link=nonsense")
    Visitor().get(Customer(stack, finch).approved())


def _finch_fails(stack: RunningStack, session_stack: RunningStack, finch: Simulator) -> None:
    refused = Customer(stack, finch)
    refused.come_back(changed(refused.approved(), code="unknown-code"))
    finch.faults.add(Fault("error", status=402, name="payment_required_error"))
    refused.connect()
    refused.browser.get(refused.link(), {"Sec-Purpose": "prefetch"})
    unregistered = Customer(session_stack, finch)
    finch.faults.add(Fault("error", status=400, name="bad_request", path="/connect/sessions"))
    assert unregistered.browser.get(unregistered.link()).status == 500
    for fault in (Fault("reset_after"), Fault("answer", answer={"customer_id": "somebody else"})):
        finch.faults.add(fault)
        customer = Customer(stack, finch)
        customer.come_back(customer.approved())
    finch.client_secret = "rotated-without-notice"
    refused = Customer(stack, finch)
    refused.come_back(refused.approved())
    no_session = Customer(session_stack, finch)
    assert no_session.browser.get(no_session.link()).status == 500
    finch.client_secret = CLIENT_SECRET


def _vault_is_unavailable(stack: RunningStack, finch: Simulator) -> None:
    writes = ("secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:RestoreSecret")
    with forbidden(stack, "CallbackRole", *writes):
        waiting = Customer(stack, finch)
        waiting.connect()
        assert waiting.status() == "unstored"
        with forbidden(stack, "CallbackRole", *writes, "ssm:PutParameter"):
            lost = Customer(stack, finch)
            lost.connect()
            row = lost.row()
            assert row is not None
            assert row.reason == "token_lost"
    with forbidden(stack, "SweeperRole", *writes):
        stack.invoke("SweeperFunction", {})
        assert waiting.status() == "unstored"
    stack.invoke("SweeperFunction", {})
    assert waiting.status() == "connected"


def _bus_is_unavailable(stack: RunningStack, finch: Simulator) -> None:
    with forbidden(stack, "RelayRole", "events:PutEvents"):
        late = Customer(stack, finch)
        late.connect()
        overdue(stack, Status.DENIED, settled_at=int(time.time() * 1000) - 180_000, reason="access_denied")
        stack.invoke("SweeperFunction", {})  # the sweeper's role may still publish
        wait_for(
            lambda: logged(stack, "RelayFunction", "not_published"),
            timeout=TIMEOUT_SECONDS,
            problem="The relay did not log not_published.",
        )


def _flows_are_overdue(stack: RunningStack) -> None:
    claimed_at = int(time.time() * 1000) - 180_000
    overdue(stack, Status.STARTED)
    interrupted = overdue(stack, Status.CLAIMED, claimed_at=claimed_at, searched_at=claimed_at)
    quarantined = flow_id_of("quarantined, then the function died", uuid.uuid4().hex)
    name = f"finch/{stack.deployed.stage}/quarantine/{quarantined}"
    version = stack.client("secretsmanager").create_secret(Name=name, SecretString="{}")["VersionId"]
    overdue(stack, Status.CLAIMED, claimed_at=claimed_at, flow_id=quarantined, state_hash=version)
    stack.invoke("SweeperFunction", {})
    wait_for(
        lambda: logged(stack, "RelayFunction", interrupted.flow_id),
        timeout=TIMEOUT_SECONDS,
        problem="The interrupted flow was not published.",
    )


def _functions_fail(stack: RunningStack) -> None:
    for function in ("ConnectFunction", "CallbackFunction"):
        stack.invoke(function, {"requestContext": {"requestId": "r", "http": {}}})
    poison = {"SequenceNumber": "7", "NewImage": {"id": {"S": "flow#x"}, "status": {"S": "connected"}}}
    stack.invoke("RelayFunction", {"Records": [{"eventID": "7", "eventName": "MODIFY", "dynamodb": poison}]})
    for _ in range(3):
        broken = overdue(stack, Status.UNSTORED)
        name = f"/finch/{stack.deployed.stage}/unstored/{broken.attempt}"
        stack.client("ssm").put_parameter(Name=name, Value="not a document", Type="SecureString")
    stack.invoke("SweeperFunction", {})


def _secrets_are_unreadable(stack: RunningStack) -> None:
    arn, client = stack.outputs["LinkKeySecretArn"], stack.client("secretsmanager")
    _, key = stack.link_key()

    link = jwt.encode({"aud": "finch-connect"}, key, algorithm="HS256", headers={"kid": "unknown"})

    def open_in_a_new_container(**environment: str) -> None:
        """Open a link where no secret is cached."""
        _set_environment(stack, "ConnectFunction", RESTARTED=uuid.uuid4().hex, **environment)
        Visitor().get(f"{stack.public_url}/connect?link={link}")

    with forbidden(stack, "ConnectRole", "secretsmanager:GetSecretValue"):
        open_in_a_new_container()
    for unusable in ("not JSON", json.dumps({"kid": "1", "key": "too short"})):
        client.put_secret_value(SecretId=arn, SecretString=unusable)
        open_in_a_new_container()
    client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    open_in_a_new_container()
    # Nothing listens on this port.
    open_in_a_new_container(AWS_ENDPOINT_URL_SECRETS_MANAGER="http://127.0.0.1:9")


def _set_environment(stack: RunningStack, function: str, **environment: str) -> None:
    """Set variables of a function's environment, for its next container."""
    stack.reconfigure(lambda logical_id: environment if logical_id == function else {})
