"""The harness of the fault tests: the stack behind the proxy, simulated Finch, and the consumer's queue."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.waiting import wait_for
from finch_connect.domain.flow import Flow, Status
from local.browser import Browser, Page
from local.engine import RunningStack
from local.engine.microburst import Microburst
from local.engine.supervised import EngineError
from local.simulator import Simulator
from tests.conftest import Customer, Inbox

REQUEST_BUDGET_SECONDS = 15.0
CALL_TIMEOUT_SECONDS = 1.5
LATEST_ANSWER_SECONDS = 22.0
"""Limit of a person's wait: well over the budget, for a busy machine, and well under SLOW_SECONDS."""
SLOW_SECONDS = 45.0
TIMEOUT_SECONDS = 90.0
_RELAY_SECONDS = 3.0
_LONG_AGO = {"N": "1000"}
_SHORT_TYPES = {"Connection Established": "connected", "Connection Reauthorized": "connected"}


@dataclass
class Harness:
    """What a case needs. Several cases may use it at the same time."""

    stack: RunningStack
    proxy: Microburst
    finch: Simulator
    inbox: Inbox
    sweep_lock: threading.RLock = field(default_factory=threading.RLock)
    """Taken while rows are made overdue and swept, because a sweep handles the overdue rows of all cases."""
    streaming: bool = True
    """Whether the emulator delivers the stream's records to the relay."""
    _queue_lock: threading.Lock = field(default_factory=threading.Lock)
    _dead_letters: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The deployment's stage, which is part of its resources' names."""
        return self.stack.deployed.stage

    def person(self, **facts: Any) -> Person:
        """Return a new customer with its own link, browser and employer."""
        return Person(self.stack, self.finch, **{"username": f"smallco+{uuid.uuid4().hex[:8]}", **facts}, harness=self)

    def published(self, person: Person) -> tuple[str, ...]:
        """Return the short types of the events of this person's flow; an event delivered several times counts once."""
        with self._queue_lock:
            events = self.inbox.of(person)
        kinds = {event["detail"]["event_id"]: event["detail-type"] for event in events}
        return tuple(_SHORT_TYPES.get(kind, kind.removeprefix("Connection ").lower()) for kind in kinds.values())

    def deliver(self, *items: dict[str, Any]) -> list[str]:
        """Deliver these rows to the relay as the stream does; return the flows of the records it reports as failed."""
        changes = [
            {"Keys": {"id": item["id"]}, "NewImage": item, "SequenceNumber": str(index)}
            for index, item in enumerate(items)
        ]
        event = {"Records": [{"eventName": "MODIFY", "dynamodb": change} for change in changes]}
        failed = [int(one["itemIdentifier"]) for one in self.stack.invoke("RelayFunction", event)["batchItemFailures"]]
        return [items[index]["id"]["S"].removeprefix("flow#") for index in failed]

    def dead_letters(self) -> str:
        """Return the bodies of all messages in the relay's dead-letter queue so far, as one text."""
        sqs, queue = self.stack.client("sqs"), self.stack.deployed.resources["RelayDeadLetterQueue"]
        with self._queue_lock:
            while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
                for message in messages:
                    self._dead_letters.append(message["Body"])
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return "\n".join(self._dead_letters)

    @contextmanager
    def without_stream(self) -> Iterator[None]:
        """Stop the emulator from delivering records to the relay; the cases deliver theirs themselves."""
        functions = self.stack.client("lambda")
        name = self.stack.deployed.resources["RelayFunction"]
        (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        self.streaming = False
        yield
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
        self.streaming = True

    def sweep(self) -> bool:
        """Run the sweeper; return whether it finished without an error."""
        return self._runs("SweeperFunction")

    def reconfigure(self, functions: Collection[str], **variables: str) -> None:
        """Change these functions' environment variables and wait until the functions run again."""
        self.stack.reconfigure(lambda one: variables if one in functions else {})
        for function in functions:
            until(partial(self._runs, function))

    def _runs(self, logical_id: str) -> bool:
        try:
            self.stack.invoke(logical_id, {"Records": []})
        except EngineError:
            return False
        return True

    def kill(self, logical_id: str) -> int:
        """Kill a function's processes, as a crash would; return how many there were.

        Functions of other emulators have the same names, so the emulator's port must match too.
        """
        port = urlsplit(self.stack.client("lambda").meta.endpoint_url).port
        name = self.stack.deployed.resources[logical_id]
        marks = {f"GATEWAY_PORT={port}".encode(), f"AWS_LAMBDA_FUNCTION_NAME={name}".encode()}
        found = [
            process for process in Path("/proc").iterdir() if process.name.isdigit() and marks <= _variables(process)
        ]
        for process in found:
            os.kill(int(process.name), signal.SIGKILL)
        until(lambda: all(map(_is_dead, found)))
        return len(found)


def _variables(process: Path) -> set[bytes]:
    try:
        return set((process / "environ").read_bytes().split(b"\0"))
    except OSError:  # it has ended, or belongs to another user
        return set()


def _is_dead(process: Path) -> bool:
    """Return whether all of its threads have ended: its parent does not notice earlier."""
    try:
        return len(list((process / "task").iterdir())) == 1 and "\nState:\tZ" in (process / "status").read_text()
    except OSError:
        return True


@dataclass
class Person(Customer):
    """A customer whose exchanges, tokens and events are counted."""

    browser: Browser = field(default_factory=Browser)
    harness: Harness = field(kw_only=True)
    codes: list[str] = field(default_factory=list)

    def approve(self, authorize_url: str) -> str:
        """Approve at Finch and remember the code; return the callback's URL."""
        callback = super().approve(authorize_url)
        self.codes.append(callback.partition("code=")[2].partition("&")[0])
        return callback

    @property
    def connection_id(self) -> str:
        """The connection that Finch made for this person's login, or `none`."""
        made = [one for one in list(self.finch.store.connections.values()) if one.username == self.username]
        return made[0].connection_id if made else "none"

    @property
    def exchanges(self) -> int:
        """How many exchange requests Finch received for this person's codes."""
        return len([call for call in self.finch.calls_to("/auth/token") if call.code in self.codes])

    @property
    def secret_name(self) -> str:
        """The name of the secret for this person's token."""
        return f"finch/{self.harness.name}/connections/{self.connection_id}"

    def tokens(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the contents of the secret's versions that belong to this person's flow, without duplicates."""
        client = self.stack.client("secretsmanager")
        try:
            versions = client.list_secret_version_ids(SecretId=name or self.secret_name, IncludeDeprecated=True)[
                "Versions"
            ]
        except client.exceptions.ResourceNotFoundException:
            return []
        texts = {
            client.get_secret_value(SecretId=name or self.secret_name, VersionId=version["VersionId"])["SecretString"]
            for version in versions
        }
        return [content for content in map(json.loads, texts) if content["flow_id"] == self.flow_id]

    def in_fallback(self) -> list[str]:
        """Return the names of the fallback's parameters with a token of this person's flow."""
        path = f"/finch/{self.harness.name}/unstored"
        pages = self.stack.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
        return [one["Name"] for page in pages for one in page["Parameters"] if self.flow_id in one["Name"]]

    def known_row(self) -> Flow:
        """Read the flow's row, which must exist."""
        row = self.row()
        assert row is not None
        return row

    def lease(self) -> str | None:
        """Return when the lease on the connection's row ends (epoch ms), or None if it is not leased."""
        item = self._item(f"connection#{self.connection_id}")
        return item["due_at"]["N"] if "due_at" in item else None

    def let_time_pass(self) -> None:
        """Make this person's unfinished rows overdue, as minutes or days would, and run the sweeper."""
        with self.harness.sweep_lock:
            if self.lease() is not None:
                self.make_overdue(f"connection#{self.connection_id}", "due_at")
            if (row := self.row()) is not None and row.due_at is not None:
                past = ("due_at", "deadline") if row.status is Status.STARTED else ("due_at",)
                self.make_overdue(f"flow#{self.flow_id}", *past)
            self.harness.sweep()

    def wait_until_finished(self) -> None:
        """Let time pass until nothing remains to be done. The relay gets a few seconds before the sweeper runs."""
        relay_ends = time.monotonic() + (_RELAY_SECONDS if self.harness.streaming else 0)

        def is_finished() -> bool:
            if self.is_finished():
                return True
            row = self.known_row()
            if time.monotonic() > relay_ends or row.settled_at is None or row.status == "unstored":
                self.let_time_pass()  # without an outcome the relay has nothing to publish
            return False

        wait_for(is_finished, timeout=TIMEOUT_SECONDS, problem=lambda: f"the flow is not finished: {self.known_row()}")
        assert self.in_fallback() == [], "a token is left in the fallback"

    def is_finished(self) -> bool:
        """Return whether the outcome is published and marked as published, and the connection is not leased."""
        row = self.known_row()
        return row.due_at is None and row.published_at is not None and self.lease() is None

    def make_overdue(self, key: str, *times: str) -> None:
        """Set these times of a row to long ago, if the row still waits for something."""
        client = self.stack.client("dynamodb")
        try:
            client.update_item(
                TableName=self.stack.outputs["TableName"],
                Key={"id": {"S": key}},
                UpdateExpression="SET " + ", ".join(f"{name} = :past" for name in times),
                ConditionExpression="attribute_exists(due_at)",
                ExpressionAttributeValues={":past": _LONG_AGO},
            )
        except client.exceptions.ConditionalCheckFailedException:  # finished in the meantime
            return

    def item(self) -> dict[str, Any]:
        """Read the flow's row as a DynamoDB item."""
        return self._item(f"flow#{self.flow_id}")

    def _item(self, key: str) -> dict[str, Any]:
        answer = self.stack.client("dynamodb").get_item(
            TableName=self.stack.outputs["TableName"], Key={"id": {"S": key}}, ConsistentRead=True
        )
        item: dict[str, Any] = answer.get("Item", {})
        return item

    def open_link(self) -> Page:
        """Open the link; if it shows the confirm page, press the button."""
        page = self.browser.get(self.link())
        if page.status == 200 and "form_nonce" in page.text:
            fields = {
                name: page.text.partition(f'name="{name}" value="')[2].partition('"')[0]
                for name in ("link", "form_nonce")
            }
            page = self.browser.post(f"{self.stack.public_url}/connect", fields, {"Sec-Fetch-Site": "same-origin"})
        return page

    def connect_with_retries(self) -> None:
        """Retry each step until the person is connected."""
        callback = self.approve(until(lambda: self.open_link().location or ""))
        until(lambda: self.answer_of(self.come_back(callback)) == "connected")

    def answer_of(self, page: Page) -> str:
        """Return a short name for an answer: the receipt's status, or what the page shows."""
        if page.status == 303 and page.location is not None and "finch_receipt=" in page.location:
            return str(self.receipt(page)["status"])
        if page.status == 303:
            return "redirect to Finch"
        return {202: "in progress", 503: "try again", 500: "server error"}.get(page.status, str(page.status))


until = partial(wait_for, timeout=TIMEOUT_SECONDS)
"""Wait until a callable returns something true, and return that. Raises TimeoutError."""
