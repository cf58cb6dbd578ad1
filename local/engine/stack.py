"""A running local stack: emulator, deployment, API gateway and a consumer's queue, in one context manager."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from local.engine import deploy as deployment
from local.engine.api_gateway import ALIAS, ALIAS_NAME, ApiGateway, DeployedFunctions
from local.engine.deploy import Deployed
from local.engine.emulator import REGION, emulator
from local.engine.supervised import EngineError
from local.server import Wsgi
from local.settings import architecture

LOCAL_STAGE = "local"
_LOG_PAGE = 10_000

type Echo = Callable[[str], None]
"""Shows a step's name to a person who waits for it."""


@dataclass
class RunningStack:
    """A deployed stack and the API gateway that serves it."""

    api_gateway: ApiGateway
    deployed: Deployed
    client: Callable[[str], Any]
    routes: frozenset[tuple[str, str]]

    @property
    def public_url(self) -> str:
        """Return the URL of the stack's API, such as `http://localhost:3000`."""
        return self.api_gateway.url

    @property
    def outputs(self) -> Mapping[str, str]:
        """Return CloudFormation's outputs by name."""
        return self.deployed.outputs

    @property
    def queue_url(self) -> str:
        """Return the URL of the consumer's queue."""
        return self.deployed.queue_url

    @cached_property
    def _secrets(self) -> Any:
        return self.client("secretsmanager")

    def link_key(self) -> tuple[str, str]:
        """Return (kid, key), as the team's backend reads them from Secrets Manager."""
        content = json.loads(self._secrets.get_secret_value(SecretId=self.outputs["LinkKeySecretArn"])["SecretString"])
        return content["kid"], content["key"]

    def invoke(self, logical_id: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function with an event and return its result. Raises EngineError if it failed."""
        name = self.deployed.resources[logical_id]
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        payload = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise EngineError(f"{logical_id} failed: {payload}")
        return payload

    def reconfigure(self, variables: Callable[[str], Mapping[str, str]]) -> None:
        """Change environment variables of functions. `variables` takes a logical id and returns what to change.

        A changed function restarts. If it is called by its alias, it gets a new version, as in a deployment.
        """
        functions, resources = self.client("lambda"), self.deployed.resources
        for logical_id, name in resources.items():
            changed = variables(logical_id) if logical_id.endswith("Function") else {}
            if not changed:
                continue
            known = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
            functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**known, **changed}})
            if logical_id + ALIAS in resources:
                version = functions.publish_version(FunctionName=name)["Version"]
                functions.update_alias(FunctionName=name, Name=ALIAS_NAME, FunctionVersion=version)

    def logs(self, logical_id: str) -> list[str]:
        """Return a function's log lines so far."""
        logs = self.client("logs")
        groups = [self.deployed.resources[logical_id.removesuffix("Function") + "Logs"]]
        groups.append(f"/aws/lambda/{self.deployed.resources[logical_id]}")
        lines: list[str] = []
        for group in groups:
            with contextlib.suppress(logs.exceptions.ResourceNotFoundException):
                lines += _messages(logs, group)
        return lines

    def subscribe(self, name: str) -> str:
        """Subscribe another consumer's queue to the bus. Return its URL."""
        return deployment.consumer_queue(self.outputs["BusName"], name, self.client)

    def received(self) -> list[dict[str, Any]]:
        """Take every event that is now on the consumer's queue."""
        sqs, events = self.client("sqs"), []
        while messages := sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                events.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return events


def _messages(logs: Any, group: str) -> list[str]:
    """Read a whole log group. The emulator has no token for the next page, so pages are requested by start time."""
    messages: list[str] = []
    since = 0
    while len(page := logs.filter_log_events(logGroupName=group, startTime=since)["events"]) == _LOG_PAGE:
        last = page[-1]["timestamp"]
        if last == since:
            raise EngineError(f"{group} has {_LOG_PAGE:,} lines or more of one millisecond.")
        messages += [event["message"] for event in page if event["timestamp"] < last]
        since = last
    return messages + [event["message"] for event in page]


class LocalStack:
    """An emulator into which stacks are deployed. Each stack has its own API gateway."""

    def __init__(self, endpoint_url: str, echo: Echo, stack: contextlib.ExitStack) -> None:
        self.endpoint_url = endpoint_url
        self._echo = echo
        self._stack = stack
        self._template = deployment.build()
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    @classmethod
    @contextlib.contextmanager
    def start(cls, *, auth: bool = True, echo: Echo = lambda _: None) -> Iterator[LocalStack]:
        """Start the emulator and build the template. `auth`: enforce the functions' roles. Raises EngineError."""
        with contextlib.ExitStack() as stack:
            echo("Starting the AWS emulator")
            endpoint_url = stack.enter_context(emulator(auth=auth))
            echo("Building the stack (sam build)")
            yield cls(endpoint_url, echo, stack)

    def client(self, service: str) -> Any:
        """Return the emulator's boto3 client for a service. It acts as the account's administrator."""
        with self._lock:  # threads may share a client but must not create one at the same time (boto3: multithreading)
            if service not in self._clients:
                self._clients[service] = boto3.client(
                    service,  # type: ignore[call-overload]  # any service's name
                    endpoint_url=self.endpoint_url,
                    region_name=REGION,
                    aws_access_key_id="test",
                    aws_secret_access_key="test",  # noqa: S106  # the emulator's fixed key of its administrator
                    config=Config(max_pool_connections=64, read_timeout=300, retries={"max_attempts": 0}),
                )
            return self._clients[service]

    def deploy(
        self,
        *,
        client_secret: str,
        parameters: Callable[[str], Mapping[str, str]],
        stage: str = LOCAL_STAGE,
        port: int = 0,
        app: Wsgi | None = None,
        at_once: int | None = None,
    ) -> RunningStack:
        """Deploy one stack and serve it until the emulator ends. Raises EngineError.

        `parameters` takes the public URL, which is known once there is a port, and returns the template's parameters.
        Port 0 picks a free port. With `at_once`, at most that many functions run at the same time.
        """
        try:
            api_gateway = self._stack.enter_context(ApiGateway(port, app))
        except (OSError, SystemExit):
            raise EngineError(f"Port {port} is taken. Free it, or choose another port: PORT={port + 1}") from None
        given = {"PublicUrl": api_gateway.url, "Architecture": architecture(), **parameters(api_gateway.url)}
        self._echo("Deploying the stack into the emulator (sam deploy)")
        deployed = deployment.deploy(
            self._template,
            name=f"finch-connect-{stage}",
            stage=stage,
            parameters=given,
            endpoint_url=self.endpoint_url,
            clients=self.client,
        )
        deployment.configure(deployed, client_secret, self.client)
        functions = DeployedFunctions(self.client("lambda"), deployed.resources, at_once)
        routes = api_gateway.serve_api(self._template, functions)
        self._echo("Checking each route, the table's TTL, the stream and the delivery of one event")
        deployment.verify(deployed, self.client, api_gateway.url, routes, lambda: functions.failure)
        return RunningStack(api_gateway, deployed, self.client, routes)
