"""Row 34: the deployed policies give each function's role what its code paths use, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.handlers
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError

from finch_connect.adapters.items import item_of
from finch_connect.adapters.table import DynamoFlowTable
from finch_connect.domain.connection import Connection
from finch_connect.domain.flow import Status
from local.engine import LocalStack, RunningStack
from local.engine.emulator import REGION
from local.simulator import Simulator
from tests.attacks.test_state_and_browser import put_flow
from tests.conftest import Customer, Inbox
from tests.handlers.container import Context, handler_of
from tests.template import ROOT, load_template
from tests.template.test_template import actions, statements

FUNCTIONS = ("Connect", "Callback", "Relay", "Sweeper")
REFUSED = {"AccessDeniedException", "AccessDenied", "UnauthorizedException"}

type Clients = Callable[[str], Any]


class Roles:
    """Clients with the role of any function of one stack."""

    def __init__(self, stack: RunningStack, endpoint_url: str) -> None:
        self.stack = stack
        self._endpoint_url = endpoint_url
        self._made: dict[str, Clients] = {}

    def of(self, function: str) -> Clients:
        """Return a factory of clients that use the function's role."""
        if function not in self._made:
            name = self.stack.deployed.resources[f"{function}Role"]
            arn = self.stack.client("iam").get_role(RoleName=name)["Role"]["Arn"]
            given = self.stack.client("sts").assume_role(RoleArn=arn, RoleSessionName="row-34")["Credentials"]
            session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], REGION)
            self._made[function] = lambda service: session.client(service, endpoint_url=self._endpoint_url)  # type: ignore[call-overload]
        return self._made[function]


@pytest.fixture
def roles(local_stack: LocalStack, stack: RunningStack) -> Roles:
    """Return the four roles of the stack. The emulator enforces their policies."""
    return Roles(stack, local_stack.endpoint_url)


def is_refused(call: Callable[[], Any]) -> bool:
    """Return whether the role's policy denies a call. Any other answer means that the policy allows it."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"] in REFUSED
    return False


@pytest.fixture
def targets(stack: RunningStack, customer: Customer, inbox: Inbox) -> dict[str, str]:
    """Return what an attempt needs: a customer's token, both config secrets, the table, the bus and the fallback."""
    customer.connect()
    (event,) = inbox.wait_for(customer)
    stage = stack.deployed.outputs["BusName"].removeprefix("finch-connect-")
    fallback = f"/finch/{stage}/unstored/row-34"
    stack.client("ssm").put_parameter(Name=fallback, Value="x", Type="SecureString", Overwrite=True)
    return {
        "token": event["detail"]["secret_arn"],
        "link key": stack.outputs["LinkKeySecretArn"],
        "client credentials": stack.outputs["ClientCredentialsSecretArn"],
        "table": stack.outputs["TableName"],
        "bus": stack.outputs["BusName"],
        "stage": stage,
        "fallback": fallback,
        "type": event["detail-type"],
        "detail": json.dumps(event["detail"]),
        "row": f"flow#{customer.flow_id}",
    }


def attempts(clients: Clients, at: dict[str, str]) -> dict[str, Callable[[], Any]]:
    """Return the calls that a function might try, by name."""
    secrets_manager, dynamodb, ssm, events = (clients(name) for name in ("secretsmanager", "dynamodb", "ssm", "events"))
    key, fresh = {"id": {"S": "flow#row-34"}}, secrets.token_hex(8)
    # The customer's real event again, so that consumers see only a second delivery, which they deduplicate.
    entry = {"Source": "finch.connect", "DetailType": at["type"], "Detail": at["detail"], "EventBusName": at["bus"]}
    return {
        "read token": lambda: secrets_manager.get_secret_value(SecretId=at["token"]),
        "read link key": lambda: secrets_manager.get_secret_value(SecretId=at["link key"]),
        "read client credentials": lambda: secrets_manager.get_secret_value(SecretId=at["client credentials"]),
        "write link key": lambda: secrets_manager.put_secret_value(SecretId=at["link key"], SecretString="x"),
        "write client credentials": lambda: secrets_manager.put_secret_value(
            SecretId=at["client credentials"], SecretString="x"
        ),
        "check whether a token is stored": lambda: secrets_manager.describe_secret(SecretId=at["token"]),
        "delete token": lambda: secrets_manager.delete_secret(SecretId=at["token"], RecoveryWindowInDays=7),
        "list secrets": secrets_manager.list_secrets,
        "make a connection's secret": lambda: secrets_manager.create_secret(
            Name=f"finch/{at['stage']}/connections/row-34-{fresh}", SecretString="x"
        ),
        "make a quarantined secret": lambda: secrets_manager.create_secret(
            Name=f"finch/{at['stage']}/quarantine/row-34-{fresh}", SecretString="x"
        ),
        "make a secret elsewhere": lambda: secrets_manager.create_secret(Name=f"finch/{fresh}", SecretString="x"),
        "make a config secret": lambda: secrets_manager.create_secret(
            Name=f"finch/{at['stage']}/config/{fresh}", SecretString="x"
        ),
        "put a row": lambda: dynamodb.put_item(TableName=at["table"], Item=key),
        "update a row": lambda: dynamodb.update_item(
            TableName=at["table"],
            Key=key,
            UpdateExpression="SET a = :a",
            ExpressionAttributeValues={":a": {"S": "x"}},
        ),
        "read a row": lambda: dynamodb.get_item(TableName=at["table"], Key={"id": {"S": at["row"]}}),
        "delete a row": lambda: dynamodb.delete_item(TableName=at["table"], Key=key),
        "scan the table": lambda: dynamodb.scan(TableName=at["table"]),
        "query what is due": lambda: dynamodb.query(
            TableName=at["table"],
            IndexName="due",
            KeyConditionExpression="due = :due",
            ExpressionAttributeValues={":due": {"S": "nothing"}},
        ),
        "put the fallback": lambda: ssm.put_parameter(
            Name=f"/finch/{at['stage']}/unstored/{fresh}", Value="x", Type="SecureString"
        ),
        "read the fallback": lambda: ssm.get_parameter(Name=at["fallback"], WithDecryption=True),
        "put a parameter elsewhere": lambda: ssm.put_parameter(Name=f"/finch/{fresh}", Value="x", Type="SecureString"),
        "publish as finch.connect": lambda: events.put_events(Entries=[entry]),
        "publish on another bus": lambda: events.put_events(Entries=[{**entry, "EventBusName": "default"}]),
        "change a function": lambda: clients("lambda").list_functions(),
        "read roles": lambda: clients("iam").list_roles(),
    }


ALLOWED = {
    "Connect": {"read link key", "put a row"},
    "Callback": {
        "read link key",
        "read client credentials",
        "update a row",
        "make a connection's secret",
        "make a quarantined secret",
        "put the fallback",
    },
    "Relay": {"update a row", "publish as finch.connect"},
    "Sweeper": {
        "query what is due",
        "read a row",
        "update a row",
        "check whether a token is stored",
        "read the fallback",
        "make a connection's secret",
        "make a quarantined secret",
        "publish as finch.connect",
    },
}
IN_SESSION_MODE = {"Connect": {"read client credentials"}, "Callback": {"read a row"}}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_34_a_role_allows_what_its_function_does_and_nothing_else(
    roles: Roles, targets: dict[str, str], function: str
) -> None:
    """Each call is made with the role against the deployed stack. Above all, no function can read a stored token."""
    session_mode = targets["stage"] == "session"
    expected = ALLOWED[function] | (IN_SESSION_MODE.get(function, set()) if session_mode else set())
    tried = attempts(roles.of(function), targets)
    assert {name for name, call in tried.items() if not is_refused(call)} == expected


def test_34_only_relay_and_sweeper_may_publish_as_finch_connect() -> None:
    """The bus policy denies this source to everyone else. Read from the template: the emulator has no bus policies."""
    policy = load_template()["Resources"]["EventBusPolicy"]["Properties"]
    statement = policy["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "events:PutEvents")
    assert statement["Condition"] == {
        "ForAnyValue:StringEquals": {"events:source": "finch.connect"},
        "ArnNotEquals": {
            "aws:PrincipalArn": [{"Fn::GetAtt": ["RelayRole", "Arn"]}, {"Fn::GetAtt": ["SweeperRole", "Arn"]}]
        },
    }


LEADING_KEYS = {
    ("Connect", "dynamodb:PutItem"): ["flow#*"],
    ("Callback", "dynamodb:UpdateItem"): ["flow#*", "connection#*"],
    ("Callback", "dynamodb:GetItem"): ["flow#*"],
    ("Relay", "dynamodb:UpdateItem"): ["flow#*", "connection#*"],
    ("Sweeper", "dynamodb:GetItem"): ["flow#*"],
    ("Sweeper", "dynamodb:UpdateItem"): ["flow#*", "connection#*"],
}


def test_34_a_role_may_touch_only_the_rows_that_its_function_uses() -> None:
    """Above all, `connect` cannot make anybody the owner of a connection. Read from the template: see the threat model.

    The emulator evaluates conditions, but gives `dynamodb:LeadingKeys` no value, and so allows every key.
    """
    found = {
        (function, statement["Action"]): statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        for function in FUNCTIONS
        for statement in statements(f"{function}Role")
        if statement["Resource"] == {"Fn::GetAtt": ["FlowTable", "Arn"]}
    }
    assert found == LEADING_KEYS


# Granted actions that no code calls: Lambda uses them for the function, or AWS needs them for another call.
FOR_THE_PLATFORM = {
    "logs:CreateLogStream": "Lambda writes the function's log",
    "logs:PutLogEvents": "Lambda writes the function's log",
    "dynamodb:DescribeStream": "Lambda reads the stream for the relay",
    "dynamodb:GetRecords": "Lambda reads the stream for the relay",
    "dynamodb:GetShardIterator": "Lambda reads the stream for the relay",
    "dynamodb:ListStreams": "Lambda finds the stream when it creates the mapping",
    "sqs:SendMessage": "Lambda dead-letters what the relay could not process",
    "secretsmanager:TagResource": "CreateSecret with tags needs it",
    "kms:Decrypt": "with a customer key, for the secrets and the fallback",
    "kms:Encrypt": "with a customer key, for the fallback",
    "kms:GenerateDataKey": "with a customer key, for the secrets",
}


class Container:
    """One function in this process, with the deployed stack's environment.

    `actions` has each AWS call by its IAM name. The operations in `fails` get a 500 instead of an answer.
    """

    def __init__(self, stack: RunningStack, function: str, fails: frozenset[str] = frozenset()) -> None:
        self.actions: set[str] = set()
        self._fails = fails
        name = stack.deployed.resources[f"{function.capitalize()}Function"]
        configured = stack.client("lambda").get_function_configuration(FunctionName=name)
        self.environment: dict[str, str] = configured["Environment"]["Variables"]
        self._function = function

    def invoke(self, event: Any) -> Any:
        """Run the function once, and record the calls of each botocore session that it creates."""
        listener = ("before-call", self._note)
        botocore.handlers.BUILTIN_HANDLERS.append(listener)
        try:
            return handler_of(self._function)(event, Context())
        finally:
            botocore.handlers.BUILTIN_HANDLERS.remove(listener)

    def _note(self, model: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        self.actions.add(f"{model.service_model.service_name}:{model.name}")
        if model.name not in self._fails:
            return None
        answer = {"Error": {"Code": "InternalServiceError"}, "ResponseMetadata": {"HTTPStatusCode": 500}}
        return AWSResponse("", 500, HTTPHeaders(), None), answer


type Used = dict[str, set[str]]


@pytest.fixture
def run(local_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a callable that runs functions in this process against the emulator; `run.used` has each one's actions."""
    for name, value in [("ENDPOINT_URL", local_stack.endpoint_url), ("DEFAULT_REGION", REGION)]:
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    used: Used = {}

    def once(stack: RunningStack, function: str, event: Any, *fails: str) -> Any:
        container = Container(stack, function, frozenset(fails))
        for name, value in container.environment.items():
            if not name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        answer = container.invoke(event)
        used.setdefault(function, set()).update(container.actions)
        return answer

    once.used = used  # type: ignore[attr-defined]
    return once


def request_of(customer: Customer, url: str) -> dict[str, Any]:
    """Return API Gateway's event for a GET of a URL in the customer's browser."""
    parts = urlsplit(url)
    return {
        "routeKey": f"GET {parts.path}",
        "rawQueryString": parts.query,
        "cookies": [f"{name}={value}" for name, value in customer.browser.cookies(customer.stack.public_url).items()],
        "headers": {},
        "requestContext": {"requestId": "row-34", "domainName": parts.hostname, "http": {"method": "GET"}},
    }


@contextmanager
def relay_disabled(stack: RunningStack) -> Iterator[None]:
    """Disable the relay's mapping, so that the relay does not publish before the sweeper."""
    client, name = stack.client("lambda"), stack.deployed.resources["RelayFunction"]
    (mapping,) = client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    yield
    client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


VAULT_WRITES = ("CreateSecret", "PutSecretValue", "RestoreSecret")


def test_34_no_policy_grants_what_no_code_path_uses(
    static_stack: RunningStack, session_stack: RunningStack, finch: Simulator, run: Callable[..., Any]
) -> None:
    """Every code path runs here against the emulator. Any other granted action has its reason in FOR_THE_PLATFORM."""
    for stack in (static_stack, session_stack):
        customer = Customer(stack, finch)
        assert run(stack, "connect", request_of(customer, customer.link()))["statusCode"] == 303

    def come_back(customer: Customer, *fails: str) -> str:
        answer = run(customer.stack, "callback", request_of(customer, customer.approved()), *fails)
        assert answer["statusCode"] == 303
        return customer.status()

    finch.session_echoes_state = False
    assert come_back(Customer(session_stack, finch)) == "connected"

    # Store in a new secret, an existing one, and one scheduled for deletion: by the callback, then by the sweeper.
    customer_id = f"row-34-{secrets.token_hex(4)}"
    for fails, status in (((), "connected"), (VAULT_WRITES, "unstored")):
        finch.store = type(finch.store)(finch.store.clock)
        for _ in range(2):
            customer = Customer(static_stack, finch, customer_id=f"{customer_id}-{status}")
            assert come_back(customer, *fails) == status
            run(static_stack, "sweeper", {})
        settled = customer.row()
        assert settled is not None
        assert settled.secret_arn is not None
        static_stack.client("secretsmanager").delete_secret(SecretId=settled.secret_arn, RecoveryWindowInDays=7)
        again = Customer(static_stack, finch, customer_id=customer.customer_id)
        assert come_back(again, *fails) == status
        run(static_stack, "sweeper", {})
        assert again.status() == "connected"

    event = json.loads((ROOT / "events/relay-connected.json").read_text())
    event["Records"].append({"dynamodb": {"SequenceNumber": "9", "NewImage": {"id": {"S": "flow#poison"}}}})
    assert run(static_stack, "relay", event) == {"batchItemFailures": []}

    with relay_disabled(static_stack):
        overdue = dataclasses.replace(put_flow(static_stack, Status.FAILED), due_at=1, published_at=None)
        static_stack.client("dynamodb").put_item(TableName=static_stack.outputs["TableName"], Item=item_of(overdue))
        leased = Connection(secrets.token_hex(8), "row-34", overdue.flow_id, 1, "v" * 64, "finch/x", None, ())
        DynamoFlowTable(static_stack.client("dynamodb"), static_stack.outputs["TableName"]).acquire_lease(leased, now=1)
        assert run(static_stack, "sweeper", {})["published"] == 1

    for function in FUNCTIONS:
        used = run.used[function.lower()]  # type: ignore[attr-defined]
        granted = actions(f"{function}Role")
        assert granted - used <= FOR_THE_PLATFORM.keys(), f"{function} is granted what it does not use"
        assert used <= granted, f"{function} uses what it is not granted"
    assert FOR_THE_PLATFORM.keys() <= {action for function in FUNCTIONS for action in actions(f"{function}Role")}
