"""The stage on which all cases run: the stack behind the proxy, one simulated Finch, and everybody's inbox."""

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
from finch_connect.domain.flow import Flow
from local.browser import Browser, Page
from local.engine import RunningStack
from local.engine.microburst import Microburst
from local.engine.supervised import EngineError
from local.simulator import Simulator
from tests.conftest import Customer, Inbox

REQUEST_BUDGET_SECONDS = 15.0
CALL_TIMEOUT_SECONDS = 1.5
LATEST_ANSWER_SECONDS = 22.0
"""A person has an answer by then: well past the budget (a busy machine), well before SLOW_SECONDS."""
SLOW_SECONDS = 45.0
TIMEOUT_SECONDS = 90.0
_RELAY_SECONDS = 3.0
_LONG_AGO = {"N": "1000"}
_IN_A_WORD = {"Connection Established": "connected", "Connection Reauthorized": "connected"}


@dataclass
class Harness:
    """What a case needs; everything that several cases may do at once is safe to do so."""

    stack: RunningStack
    proxy: Microburst
    finch: Simulator
    inbox: Inbox
    sweeping: threading.RLock = field(default_factory=threading.RLock)
    """Held while rows are made overdue and swept: what is overdue for one case is not yet for another's sweep."""
    streaming: bool = True
    """Whether the emulator brings the relay its records."""
    _mailbox: threading.Lock = field(default_factory=threading.Lock)
    _dead_letters: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The stack's harness, which is in the names of what it has."""
        return self.stack.deployed.stage

    def person(self, **facts: Any) -> Person:
        """Return a customer with a link, a browser and an employer of its own."""
        return Person(self.stack, self.finch, **{"username": f"smallco+{uuid.uuid4().hex[:8]}", **facts}, harness=self)

    def published(self, person: Person) -> tuple[str, ...]:
        """Return in a word each the events of this person's flow, once however often each came."""
        with self._mailbox:
            events = self.inbox.of(person)
        kinds = {event["detail"]["event_id"]: event["detail-type"] for event in events}
        return tuple(_IN_A_WORD.get(kind, kind.removeprefix("Connection ").lower()) for kind in kinds.values())

    def bring(self, *items: dict[str, Any]) -> list[str]:
        """Bring the relay these rows as the stream does; return the flows whose records it names as failed."""
        changes = [
            {"Keys": {"id": item["id"]}, "NewImage": item, "SequenceNumber": str(place)}
            for place, item in enumerate(items)
        ]
        event = {"Records": [{"eventName": "MODIFY", "dynamodb": change} for change in changes]}
        failed = [int(one["itemIdentifier"]) for one in self.stack.invoke("RelayFunction", event)["batchItemFailures"]]
        return [items[place]["id"]["S"].removeprefix("flow#") for place in failed]

    def dead_letters(self) -> str:
        """Return what is in the relay's dead-letter queue, as one text."""
        sqs, queue = self.stack.client("sqs"), self.stack.deployed.resources["RelayDeadLetterQueue"]
        with self._mailbox:
            while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
                for message in messages:
                    self._dead_letters.append(message["Body"])
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return "\n".join(self._dead_letters)

    @contextmanager
    def without_stream(self) -> Iterator[None]:
        """Keep the emulator from bringing the relay anything: the cases do that themselves, one record at a time."""
        functions = self.stack.client("lambda")
        name = self.stack.deployed.resources["RelayFunction"]
        (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        self.streaming = False
        yield
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
        self.streaming = True

    def sweep(self) -> bool:
        """Run the sweeper; tell whether it ran to its end."""
        return self._runs("SweeperFunction")

    def reconfigure(self, functions: Collection[str], **variables: str) -> None:
        """Change these functions' variables, and wait until they run with them."""
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

        Only those of this very emulator, which they know by its port: another's functions have the same names.
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
    except OSError:  # gone, or not ours
        return set()


def _is_dead(process: Path) -> bool:
    """Tell whether all of its threads are gone: before that its parent does not know."""
    try:
        return len(list((process / "task").iterdir())) == 1 and "\nState:\tZ" in (process / "status").read_text()
    except OSError:
        return True


@dataclass
class Person(Customer):
    """A customer whose story is counted: exchanges, tokens, events."""

    browser: Browser = field(default_factory=Browser)
    harness: Harness = field(kw_only=True)
    codes: list[str] = field(default_factory=list)

    def approve(self, authorize_url: str) -> str:
        """Approve at Finch, and remember the code."""
        callback = super().approve(authorize_url)
        self.codes.append(callback.partition("code=")[2].partition("&")[0])
        return callback

    @property
    def connection_id(self) -> str:
        """The connection that Finch has made of this person's login."""
        made = [one for one in list(self.finch.store.connections.values()) if one.username == self.username]
        return made[0].connection_id if made else "none"

    @property
    def exchanges(self) -> int:
        """How often Finch was asked to exchange one of this person's codes."""
        return len([call for call in self.finch.calls_to("/auth/token") if call.code in self.codes])

    @property
    def secret_name(self) -> str:
        """Where this person's token belongs."""
        return f"finch/{self.harness.name}/connections/{self.connection_id}"

    def tokens(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return what of this person's flow is in the vault: one entry for each token, however often it was put."""
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

    def waiting(self) -> list[str]:
        """Return the parameters that hold a token of this person's flow."""
        path = f"/finch/{self.harness.name}/unstored"
        pages = self.stack.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
        return [one["Name"] for page in pages for one in page["Parameters"] if self.flow_id in one["Name"]]

    def known_row(self) -> Flow:
        """Read the flow's row, which is there."""
        row = self.row()
        assert row is not None
        return row

    def lease(self) -> str | None:
        """Return until when the connection's row is leased, or None."""
        item = self._item(f"connection#{self.connection_id}")
        return item["due_at"]["N"] if "due_at" in item else None

    def time_passes(self) -> None:
        """Make everything overdue that this person's flow has still open, as minutes or days would; then sweep."""
        with self.harness.sweeping:
            if self.lease() is not None:
                self._make_overdue(f"connection#{self.connection_id}")
            if (row := self.row()) is not None and row.due_at is not None:
                self._make_overdue(f"flow#{self.flow_id}")
            self.harness.sweep()

    def comes_to_rest(self) -> None:
        """Let time pass until nothing remains to be done; what the relay does, it does first."""
        relay = time.monotonic() + (_RELAY_SECONDS if self.harness.streaming else 0)

        def is_at_rest() -> bool:
            if self.is_at_rest():
                return True
            if time.monotonic() > relay or self.known_row().settled_at is None or self.known_row().status == "unstored":
                self.time_passes()  # before there is an outcome the relay has nothing to publish
            return False

        wait_for(
            is_at_rest, timeout=TIMEOUT_SECONDS, problem=lambda: f"something is left to be done: {self.known_row()}"
        )
        assert self.waiting() == [], "no token waits any more"

    def is_at_rest(self) -> bool:
        """Tell whether the outcome is told and marked, and the connection free for others."""
        row = self.known_row()
        return row.due_at is None and row.published_at is not None and self.lease() is None

    def _make_overdue(self, key: str) -> None:
        client = self.stack.client("dynamodb")
        try:
            client.update_item(
                TableName=self.stack.outputs["TableName"],
                Key={"id": {"S": key}},
                UpdateExpression="SET due_at = :past",
                ConditionExpression="attribute_exists(due_at)",
                ExpressionAttributeValues={":past": _LONG_AGO},
            )
        except client.exceptions.ConditionalCheckFailedException:  # done meanwhile
            return

    def item(self) -> dict[str, Any]:
        """Read the flow's row as the table and the stream have it."""
        return self._item(f"flow#{self.flow_id}")

    def _item(self, key: str) -> dict[str, Any]:
        answer = self.stack.client("dynamodb").get_item(
            TableName=self.stack.outputs["TableName"], Key={"id": {"S": key}}, ConsistentRead=True
        )
        item: dict[str, Any] = answer.get("Item", {})
        return item

    def open_link(self) -> Page:
        """Open the link, and press its button where it asks."""
        page = self.browser.get(self.link())
        if page.status == 200 and "form_nonce" in page.text:
            fields = {
                name: page.text.partition(f'name="{name}" value="')[2].partition('"')[0]
                for name in ("link", "form_nonce")
            }
            page = self.browser.post(f"{self.stack.public_url}/connect", fields, {"Sec-Fetch-Site": "same-origin"})
        return page

    def tries_until_connected(self) -> None:
        """Connect, however often it takes."""
        callback = self.approve(until(lambda: self.open_link().location or ""))
        until(lambda: self.answer_in(self.come_back(callback)) == "connected")

    def answer_in(self, page: Page) -> str:
        """Return in a word what an answer says."""
        if page.status == 303 and page.location is not None and "finch_receipt=" in page.location:
            return str(self.receipt(page)["status"])
        if page.status == 303:
            return "on to Finch"
        return {202: "in progress", 503: "try again", 500: "broken"}.get(page.status, str(page.status))


def _hidden(page: Page, name: str) -> str:
    return page.text.partition(f'name="{name}" value="')[2].partition('"')[0]


until = partial(wait_for, timeout=TIMEOUT_SECONDS)
"""Waits until something holds, and returns it."""
