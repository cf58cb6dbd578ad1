"""Run `sam build` and `sam deploy` into the emulator, set what the emulator drops, and verify the result."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
from samcli.yamlhelper import yaml_dump, yaml_parse

from cli.waiting import wait_for
from finch_connect.adapters.items import flow_key, item_of
from finch_connect.domain.flow import ConnectMode, Flow, Status
from finch_connect.domain.states import flow_id_of
from local.engine.api_gateway import ALIAS, ALIAS_NAME
from local.engine.emulator import REGION
from local.engine.supervised import ROOT, EngineError
from local.settings import tool_environment

type Clients = Callable[[str], Any]
"""Takes a service's name and returns the emulator's boto3 client for it."""

BUILD = ROOT / ".aws-sam" / "build"
_BUILT_FROM = BUILD / "built-from.sha256"
_SOURCES = ("template.yaml", "samconfig.toml", "functions", "layers")
_DELIVERY_SECONDS = 60.0

REFUSED_BY_EMULATOR = frozenset({"AWS::Events::EventBusPolicy"})
"""Resource types for which MiniStack 1.5.33 refuses the whole template."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack as CloudFormation describes it: its outputs, and physical names by logical id."""

    name: str
    stage: str
    outputs: Mapping[str, str]
    resources: Mapping[str, str]
    queue_url: str


def build() -> Path:
    """Run `sam build` unless the current sources are built already. Return the built template. Raises EngineError."""
    built_from = _digest_of_sources()
    template = BUILD / "template.yaml"
    if template.exists() and _BUILT_FROM.exists() and _BUILT_FROM.read_text() == built_from:
        return template
    _sam(["build", "--template-file", str(ROOT / "template.yaml"), "--build-dir", str(BUILD)], "sam build")
    _BUILT_FROM.write_text(built_from)
    return template


def for_emulator(template: Path) -> Path:
    """Write the built template without what MiniStack refuses: some resource types, and calculations in alarms.

    This is the only difference between the template deployed here and the one deployed to AWS. Returns the new file's
    path.
    """
    content = yaml_parse(template.read_text())
    accepted = {
        name: _with_one_metric(body)
        for name, body in content["Resources"].items()
        if body["Type"] not in REFUSED_BY_EMULATOR
    }
    path = template.with_name("template-emulator.yaml")
    path.write_text(yaml_dump({**content, "Resources": accepted}))
    return path


def _with_one_metric(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an alarm that calculates as one that watches the first of its metrics, and any other resource as it is."""
    properties = resource.get("Properties", {})
    if resource["Type"] != "AWS::CloudWatch::Alarm" or "Metrics" not in properties:
        return resource
    first = next(one["MetricStat"] for one in properties["Metrics"] if "MetricStat" in one)
    others = {name: value for name, value in properties.items() if name != "Metrics"}
    alarm = {**others, **first["Metric"], "Statistic": first["Stat"], "Period": first["Period"]}
    return {**resource, "Properties": alarm}


def deploy(
    template: Path, *, name: str, stage: str, parameters: Mapping[str, str], endpoint_url: str, clients: Clients
) -> Deployed:
    """Deploy the built template as one stack, and subscribe a consumer's queue to its bus. Raises EngineError."""
    overrides = [f'{key}="{value}"' for key, value in {"Stage": stage, **parameters}.items() if value]
    arguments = [
        "deploy",
        "--template-file",
        str(for_emulator(template)),
        "--config-file",
        str(ROOT / "samconfig.toml"),
    ]
    arguments += [
        "--config-env",
        "local",
        "--stack-name",
        name,
        "--region",
        REGION,
        "--parameter-overrides",
        *overrides,
    ]
    _sam(arguments, "sam deploy", endpoint_url)
    cloudformation = clients("cloudformation")
    stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return Deployed(
        name=name,
        stage=stage,
        outputs=outputs,
        resources={resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources},
        queue_url=consumer_queue(outputs["BusName"], "consumer", clients),
    )


def configure(deployed: Deployed, client_secret: str, clients: Clients) -> None:
    """Store Finch's client secret, as an operator does after a deployment, and set the TTL that the emulator drops."""
    clients("secretsmanager").put_secret_value(
        SecretId=deployed.outputs["ClientCredentialsSecretArn"],
        SecretString=json.dumps({"client_secret": client_secret}),
    )
    ttl = {"Enabled": True, "AttributeName": "expires"}
    clients("dynamodb").update_time_to_live(TableName=deployed.outputs["TableName"], TimeToLiveSpecification=ttl)


def verify(
    deployed: Deployed, clients: Clients, url: str, routes: Iterable[tuple[str, str]], failure: Callable[[], str]
) -> None:
    """Check what CREATE_COMPLETE does not prove. Raises EngineError that names what does not work.

    `failure` returns the error of the last function that failed.
    """
    _wait_until_active(deployed, clients)
    for method, path in sorted(routes):
        # Without a link, a state or a receipt each route answers 400. That proves that its function runs and that its
        # configuration is valid.
        status = requests.request(method, url + path, timeout=_DELIVERY_SECONDS).status_code
        _require(status == HTTPStatus.BAD_REQUEST, f"{method} {path} answers {status} ({failure()})")
    table = deployed.outputs["TableName"]
    ttl = clients("dynamodb").describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    _require(ttl.get("AttributeName") == "expires", "the table's TTL is not enabled")
    mappings = clients("lambda").list_event_source_mappings(FunctionName=deployed.resources["RelayFunction"])
    states = [mapping["State"] for mapping in mappings["EventSourceMappings"]]
    _require(states == ["Enabled"], f"the relay's stream mapping is {states or 'missing'}")
    for output in ("LinkKeySecretArn", "ClientCredentialsSecretArn"):
        secret = clients("secretsmanager").get_secret_value(SecretId=deployed.outputs[output])["SecretString"]
        _require(isinstance(json.loads(secret), dict), f"the secret of {output} is not a JSON object")
    _deliver_one_event(deployed, clients)


def _wait_until_active(deployed: Deployed, clients: Clients) -> None:
    """Wait for the functions and the versions behind the API: a version with a snapshot is pending for a moment."""

    def states() -> dict[str, str]:
        found = {}
        for logical, physical in deployed.resources.items():
            if logical.endswith("Function"):
                qualifier = {"Qualifier": ALIAS_NAME} if logical + ALIAS in deployed.resources else {}
                function = clients("lambda").get_function(FunctionName=physical, **qualifier)["Configuration"]
                found[logical] = function.get("State", "Active")
        return found

    try:
        wait_for(lambda: set(states().values()) == {"Active"}, timeout=_DELIVERY_SECONDS)
    except TimeoutError:
        _require(False, f"its functions are not active: {states()}")


def _deliver_one_event(deployed: Deployed, clients: Clients) -> None:
    """Write a settled row and wait for its event: table, stream, relay, bus, rule and the consumer's queue work."""
    dynamodb, sqs, table = clients("dynamodb"), clients("sqs"), deployed.outputs["TableName"]
    now = int(time.time() * 1000)
    flow = Flow(
        flow_id=flow_id_of("probe", f"{deployed.name}-{now}"),
        status=Status.STARTED,
        state_hash="0" * 64,
        mode=ConnectMode.STATIC,
        customer_id="probe",
        redirect_uri="http://localhost/callback",
        started_at=now,
        deadline=now,
        expires=now // 1000 + 3600,
        products=(),
    ).settled(Status.DENIED, at=datetime.now(UTC), reason="access_denied")
    dynamodb.put_item(TableName=table, Item=item_of(flow))

    def arrived() -> bool:
        answer = sqs.receive_message(QueueUrl=deployed.queue_url, WaitTimeSeconds=1, MaxNumberOfMessages=10)
        event_ids = set()
        for message in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=deployed.queue_url, ReceiptHandle=message["ReceiptHandle"])
            event_ids.add(json.loads(message["Body"])["detail"]["event_id"])
        return flow.event_id in event_ids

    try:
        wait_for(arrived, timeout=_DELIVERY_SECONDS, interval=0)
    except TimeoutError:
        raise EngineError(
            f"The event of a settled row of {deployed.name} did not reach the queue within {_DELIVERY_SECONDS:.0f} s. "
            "The stream, the relay or the bus does not work. The relay's log has details."
        ) from None
    finally:
        dynamodb.delete_item(TableName=table, Key=flow_key(flow.flow_id))


def consumer_queue(bus: str, name: str, clients: Clients) -> str:
    """Create a queue and subscribe it to every event of the bus, as a consumer of the team does. Return its URL."""
    sqs, events = clients("sqs"), clients("events")
    url = str(sqs.create_queue(QueueName=f"{bus}-{name}")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allowed, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps({"source": ["finch.connect"]}))
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise EngineError(f"The stack was deployed, but {otherwise}. Run `make clean` and try again.")


def _sam(arguments: list[str], step: str, endpoint_url: str | None = None) -> None:
    """Run this virtual environment's SAM CLI, with credentials that only the emulator accepts."""
    bin_folder = Path(sys.executable).parent
    with tempfile.TemporaryDirectory(prefix="finch-connect-sam-") as scratch:
        environment = tool_environment() | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": f"{scratch}/config",
            "AWS_SHARED_CREDENTIALS_FILE": f"{scratch}/credentials",
            "SAM_CLI_TELEMETRY": "0",
            "SAM_CLI_POLL_DELAY": "1",
            "__SAM_CLI_APP_DIR": scratch,
            "TMPDIR": scratch,  # SAM CLI does not remove its empty folders
        }
        if endpoint_url is not None:
            environment["AWS_ENDPOINT_URL"] = endpoint_url
        done = subprocess.run(  # noqa: S603  # fixed arguments
            [str(bin_folder / "sam"), *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise EngineError(f"`{step}` failed. The end of its output:\n{tail}")


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = ROOT / source
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
