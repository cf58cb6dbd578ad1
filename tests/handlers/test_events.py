"""Each file in `events/` works with `sam local invoke` and has the result in its name. The handlers run over moto."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import boto3
import pytest

from finch_connect.adapters.items import flow_of
from finch_connect.domain.secret import Secret
from finch_connect.domain.states import cookie_name, state_of
from local.simulator import Simulator
from local.simulator.store import AuthorizationRequest
from tests.contracts import validate_event
from tests.handlers.container import Context, handler_of
from tests.template import ROOT, load_template, make_flow_table

EVENTS = ROOT / "events"
CASES = sorted(path.stem for path in EVENTS.glob("*.json") if "." not in path.stem)
FORM = ("link", "form_nonce")
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def load(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


class Account:
    """An in-memory AWS account with the stack's resources, and a simulator that accepts the events' code."""

    def __init__(self, finch: Simulator) -> None:
        self.finch = finch
        self.dynamodb, self.secrets = boto3.client("dynamodb"), boto3.client("secretsmanager")
        self.environment = dict(load("env.example")["Parameters"])
        make_flow_table(self.dynamodb)
        key = json.dumps({"kid": "1", "key": "k" * 64})
        link_key = self.secrets.create_secret(Name="finch/dev/config/link-key", SecretString=key)
        credentials = self.secrets.create_secret(
            Name="finch/dev/config/client-credentials", SecretString=json.dumps({"client_secret": finch.client_secret})
        )
        boto3.client("events").create_event_bus(Name="finch-connect-dev")
        self.environment |= {
            "TABLE_NAME": "flows",
            "LINK_KEY_SECRET_ARN": link_key["ARN"],
            "CLIENT_CREDENTIALS_SECRET_ARN": credentials["ARN"],
            "FINCH_CLIENT_ID": finch.client_id,
            "FINCH_API_URL": finch.url,
            "FINCH_CONNECT_URL": finch.url,
        }

    def put_started_flow(self) -> None:
        self.dynamodb.put_item(TableName="flows", Item=load("flow-started.item"))
        finch_code = self.finch.store.connect(
            AuthorizationRequest("http://localhost:3000/callback", ("company",), None), "gusto", "smallco"
        )
        self.finch.store.codes["code-of-the-events"] = self.finch.store.codes.pop(finch_code)

    def rows(self) -> list[Any]:
        return [
            flow_of(item)
            for item in self.dynamodb.scan(TableName="flows")["Items"]
            if item["id"]["S"].startswith("flow#")
        ]

    def secret_names(self) -> list[str]:
        listed = self.secrets.list_secrets()["SecretList"]
        return [secret["Name"] for secret in listed if "/config/" not in secret["Name"]]


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, finch: Simulator, aws: None) -> Account:
    """The stack's resources, with the environment of `events/env.example.json`."""
    made = Account(finch)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def invoke(account: Account) -> Callable[[str, str], Any]:
    """Run a function's handler on an event, as a fresh container would."""

    return lambda function, event: handler_of(function)(load(event), Context())


def test_every_event_is_a_case_here() -> None:
    """An event without a test could stop working unnoticed."""
    text = Path(__file__).read_text()
    assert CASES == [
        "callback-connected",
        "callback-denied",
        "callback-replayed",
        "callback-without-cookie",
        "connect",
        "connect-confirm",
        "connect-refused",
        "relay-connected",
        "sweeper",
    ]
    assert all(f'"{case}")' in text for case in CASES)


def test_the_example_environment_matches_the_template() -> None:
    """A copy of it has every variable."""
    given = load("env.example")["Parameters"].keys()
    assert given == load_template()["Globals"]["Function"]["Environment"]["Variables"].keys()


def test_connect(invoke: Callable[[str, str], Any], account: Account) -> None:
    """The answer redirects to Finch and sets the flow's cookie, and one row is written."""
    answer = invoke("connect", "connect")
    assert answer["statusCode"] == 303
    asked = parse_qs(urlsplit(answer["headers"]["Location"]).query)
    (row,) = account.rows()
    assert asked["state"][0].startswith(row.flow_id + ".")
    (cookie,) = answer["cookies"]
    ((name, morsel),) = SimpleCookie(cookie).items()
    assert name == f"__Host-fc-{row.flow_id}"
    assert (morsel["secure"], morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, True, "Lax", "/")
    assert not morsel["domain"]
    assert row.status.value == "started"


def test_connect_confirm(invoke: Callable[[str, str], Any], account: Account) -> None:
    """The page names the customer, and nothing is written."""
    answer = invoke("connect", "connect-confirm")
    assert (answer["statusCode"], account.rows()) == (200, [])
    assert "Acme Inc" in answer["body"]


def test_connect_refused(invoke: Callable[[str, str], Any], account: Account) -> None:
    """Every refused link gets the same page, and nothing is written."""
    answer = invoke("connect", "connect-refused")
    assert (answer["statusCode"], account.rows()) == (400, [])


def test_try_again_after_a_form_posts_it_again(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the table does not answer, the page's button sends the same form, and that starts the flow."""
    asked = handler_of("connect")(load("connect-confirm"), Context())
    fields = {name: asked["body"].partition(f'name="{name}" value="')[2].partition('"')[0] for name in FORM}
    event = load("connect-confirm") | {"routeKey": "POST /connect", "rawQueryString": "", "body": urlencode(fields)}
    event["requestContext"]["http"]["method"] = "POST"
    event["cookies"] = [cookie.partition(";")[0] for cookie in asked["cookies"]]
    with monkeypatch.context() as unavailable:
        unavailable.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")  # nothing listens there
        answer = handler_of("connect")(event, Context())
    assert answer["statusCode"] == 503
    assert 'href=""' not in answer["body"]
    assert fields == {name: answer["body"].partition(f'name="{name}" value="')[2].partition('"')[0] for name in FORM}
    assert handler_of("connect")(event, Context())["statusCode"] == 303
    assert [row.status.value for row in account.rows()] == ["started"]


def test_callback_connected(invoke: Callable[[str, str], Any], account: Account) -> None:
    """The token goes to the vault, and the person to the result page."""
    account.put_started_flow()
    answer = invoke("callback", "callback-connected")
    assert answer["statusCode"] == 303
    assert answer["headers"]["Location"].startswith("http://localhost:3000/callback/result?finch_receipt=")
    (row,) = account.rows()
    assert row.status.value == "connected"
    assert account.secret_names() == [f"finch/dev/connections/{row.connection_id}"]
    (cookie,) = answer["cookies"]
    assert "Max-Age=600;" in cookie


@pytest.mark.parametrize("rotations", [0, 2])
def test_a_cookie_with_a_tag_of_no_known_key_is_refused_unless_keys_were_rotated(
    account: Account, rotations: int
) -> None:
    """The tag of the events' cookie fits no key. After two rotations it may be of a key before the previous one."""
    account.put_started_flow()
    for number in range(rotations):
        key = json.dumps({"kid": f"rotated-{number}", "key": str(number) * 64})
        account.secrets.put_secret_value(SecretId="finch/dev/config/link-key", SecretString=key)
    callback, made_up = handler_of("callback"), load("callback-connected")
    flow_id, cookie = "M" * 22, Secret(f"{'x' * 43}.{'y' * 22}")
    made_up["rawQueryString"] = f"code=x&state={state_of(cookie, flow_id).reveal()}"
    made_up["cookies"] = [f"{cookie_name(flow_id)}={cookie.reveal()}"]
    for _ in range(3):  # the function reads the current key, then both
        assert callback(made_up, Context())["statusCode"] == 400
    answer = callback(load("callback-connected"), Context())
    assert answer["statusCode"] == (303 if rotations else 400)
    assert [row.status.value for row in account.rows()] == ["connected" if rotations else "started"]


def test_callback_denied(invoke: Callable[[str, str], Any], account: Account) -> None:
    """Nothing is exchanged."""
    account.put_started_flow()
    assert invoke("callback", "callback-denied")["statusCode"] == 303
    assert [row.status.value for row in account.rows()] == ["denied"]
    assert account.finch.calls == []


def test_callback_replayed(invoke: Callable[[str, str], Any], account: Account) -> None:
    """A repeated callback gets the same answer, here as JSON, without a second exchange."""
    account.put_started_flow()
    invoke("callback", "callback-connected")
    answer = invoke("callback", "callback-replayed")
    assert (answer["statusCode"], json.loads(answer["body"])["status"]) == (200, "connected")
    assert len(account.finch.calls_to("/auth/token")) == 1


def test_callback_without_cookie(invoke: Callable[[str, str], Any], account: Account) -> None:
    """The callback is refused, and the flow can still be finished."""
    account.put_started_flow()
    assert invoke("callback", "callback-without-cookie")["statusCode"] == 400
    assert [row.status.value for row in account.rows()] == ["started"]


def test_relay_connected(invoke: Callable[[str, str], Any], account: Account) -> None:
    """One event in the form of its contract is on the bus, and no record is left to retry."""
    events, sqs = boto3.client("events"), boto3.client("sqs")
    url = sqs.create_queue(QueueName="consumer")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventBusName="finch-connect-dev", EventPattern='{"source": ["finch.connect"]}')
    events.put_targets(Rule="all", EventBusName="finch-connect-dev", Targets=[{"Id": "queue", "Arn": arn}])
    assert invoke("relay", "relay-connected") == {"batchItemFailures": []}
    (message,) = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    validate_event(json.loads(message["Body"]))


def with_poison() -> Any:
    """Return the relay's event, with a record before it that is not a valid row."""
    event, key = load("relay-connected"), {"id": {"S": "flow#x"}}
    image = {**key, "status": {"S": "connected"}, "customer_id": {"S": "acme"}}
    event["Records"].insert(0, {"dynamodb": {"SequenceNumber": "7", "Keys": key, "NewImage": image}})
    return event


def test_a_poison_record_is_dead_lettered_with_its_reason_and_holds_up_nothing(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead letter has the record's position, key and reason. The content stays in the table."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    monkeypatch.setenv("DEAD_LETTER_QUEUE_URL", url)
    assert handler_of("relay")(with_poison(), Context()) == {"batchItemFailures": []}
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert json.loads(message["Body"]) == {"sequence_number": "7", "key": "flow#x", "reason": "unreadable: KeyError"}


def test_a_poison_record_that_cannot_be_dead_lettered_is_retried(account: Account) -> None:
    """When the queue is unavailable, Lambda retries the record and finally dead-letters it itself."""
    assert handler_of("relay")(with_poison(), Context()) == {"batchItemFailures": [{"itemIdentifier": "7"}]}


def test_every_record_is_retried_when_the_bus_is_unavailable(
    account: Account, invoke: Callable[[str, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is marked as published, so nothing is lost."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", "http://127.0.0.1:9")  # nothing listens there
    sequence = load("relay-connected")["Records"][0]["dynamodb"]["SequenceNumber"]
    assert invoke("relay", "relay-connected") == {"batchItemFailures": [{"itemIdentifier": sequence}]}


def test_sweeper(invoke: Callable[[str, str], Any], account: Account) -> None:
    """It counts what it changed, which is nothing here because the one flow still has time."""
    account.put_started_flow()
    swept = invoke("sweeper", "sweeper")
    assert swept == {"abandoned": 0, "orphaned": 0, "stored": 0, "recovered": 0, "published": 0, "stuck": 0}


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(("connect", "callback"))])
def test_every_answer_has_every_header(invoke: Callable[[str, str], Any], account: Account, case: str) -> None:
    """Pages, redirects and refusals all have the security headers."""
    account.put_started_flow()
    headers = invoke(case.partition("-")[0], case)["headers"]
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self' http"):
        assert part in policy


@pytest.mark.parametrize("header", ["sec-purpose", "purpose", "x-moz"])
@pytest.mark.parametrize("function", ["connect", "callback"])
def test_a_browser_that_preloads_changes_nothing(account: Account, function: str, header: str) -> None:
    """The answer is 503, so that the person's click requests the page again."""
    account.put_started_flow()
    event = load("connect" if function == "connect" else "callback-connected")
    event["headers"][header] = "prefetch;prerender"
    assert handler_of(function)(event, Context())["statusCode"] == 503
    assert [row.status.value for row in account.rows()] == ["started"]
    assert account.finch.calls == []
