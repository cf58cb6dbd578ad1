"""Runs the real functions on moto and records their AWS calls, the effect on the index, and their logs."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import botocore.handlers
import jwt

from benchmarks.scale.work import Due
from finch_connect import observability
from local.browser import Browser
from local.simulator.person import approve
from tests.handlers.container import Context, handler_of
from tests.handlers.test_events import Account
from tests.template import load_template

HOST = "connect.example.com"
RETURN_URL = "https://app.example.com/organizations/5f0c7a52/settings/integrations/payroll/connected"

type Row = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class RecordedCall:
    """One AWS call of a function. For a write, it has the row before and after."""

    function: str
    action: str
    before: Row | None = None
    after: Row | None = None

    @property
    def due(self) -> Due:
        """How the write changed the row's entry in the index."""
        old, new = _index_entry(self.before), _index_entry(self.after)
        if old == new:
            return Due.OUTSIDE if old is None else Due.STAYS
        if old is None:
            return Due.ENTERS
        return Due.LEAVES if new is None else Due.MOVES


def _index_entry(row: Row | None) -> Any:
    return None if row is None or "due" not in row else (row["due"], row["due_at"])


@dataclass
class Functions:
    """The functions of one account. Each invocation runs in a fresh container."""

    account: Account
    calls: list[RecordedCall] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)

    def invoke(self, function: str, event: Any) -> Any:
        """Run a function once, and record its calls and its log."""
        output = io.StringIO()
        handler = observability.logger.registered_handler
        assert isinstance(handler, logging.StreamHandler)
        before = handler.setStream(output)
        with self._recording(function), contextlib.redirect_stdout(output):
            answer = handler_of(function)(event, Context())
        handler.setStream(before)
        self.logs.setdefault(function, []).append(output.getvalue())
        return answer

    def connect(self, link_id: str, customer_id: str) -> list[RecordedCall]:
        """Connect one customer, and return the recorded calls."""
        start = len(self.calls)
        callback = approve(Browser(), self.open(link_id, customer_id)["headers"]["Location"])
        assert self.invoke("callback", self._request(callback))["statusCode"] == 303
        self.relay(self.calls[start:])
        return self.calls[start:]

    def abandon(self, link_id: str, customer_id: str) -> list[RecordedCall]:
        """Open a link, make it overdue, sweep, and publish its event. Return the recorded calls."""
        start = len(self.calls)
        self.open(link_id, customer_id)
        row = self.calls[-1].after or {}
        self.account.dynamodb.update_item(
            TableName="flows",
            Key={"id": row["id"]},
            UpdateExpression="SET due_at = :then, deadline = :then",
            ExpressionAttributeValues={":then": row["started_at"]},
        )
        self.invoke("sweeper", {})
        self.relay(self.calls[start:])
        return self.calls[start:]

    def open(self, link_id: str, customer_id: str) -> Any:
        """Open a link, store its cookie, and return the response."""
        answer = self.invoke(
            "connect", self._request(f"https://{HOST}/connect?link={self._link(link_id, customer_id)}")
        )
        assert answer["statusCode"] == 303
        self._cookies = [cookie.partition(";")[0] for cookie in answer["cookies"]]
        return answer

    def relay(self, changes: list[RecordedCall]) -> None:
        """Invoke the relay with each change that passes the stream's filter, one record at a time."""
        for change in changes:
            if change.after is not None and passes_filter(change):
                images = {"NewImage": change.after} | ({"OldImage": change.before} if change.before else {})
                event = {"Records": [{"dynamodb": {"SequenceNumber": "1", **images}}]}
                assert self.invoke("relay", event) == {"batchItemFailures": []}

    _cookies: list[str] = field(default_factory=list)

    def _request(self, url: str) -> dict[str, Any]:
        parts = urlsplit(url)
        return {
            "routeKey": f"GET {parts.path}",
            "rawQueryString": parts.query,
            "cookies": self._cookies,
            "headers": {},
            "requestContext": {"requestId": "Ab1cDe2fGh3iJkL=", "domainName": HOST, "http": {"method": "GET"}},
        }

    def _link(self, link_id: str, customer_id: str) -> str:
        secret = json.loads(self.account.secrets.get_secret_value(SecretId="finch/dev/config/link-key")["SecretString"])
        now = int(time.time())
        claims = {
            "aud": "finch-connect",
            "sub": customer_id,
            "jti": link_id,
            "iat": now,
            "exp": now + 600,
            "return_url": RETURN_URL,
            "nonce": "b0d5b6c6f7f34f0f9a9d0c5f3a1b2c3d",
            "metadata": {"account": "5f0c7a52", "plan": "gold", "source": "onboarding-mail-2"},
        }
        return jwt.encode(claims, secret["key"], algorithm="HS256", headers={"kid": secret["kid"]})

    @contextmanager
    def _recording(self, function: str) -> Iterator[None]:
        """Record the calls of botocore sessions created inside. The account's clients are older and not recorded."""

        def before(params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
            sent = json.loads(params["body"] or "{}")
            row = sent.get("Key") or sent.get("Item")
            context["key"] = {"id": row["id"]} if row else None
            context["before"] = self._row(context["key"])

        def after(model: Any, context: Mapping[str, Any], **_: Any) -> None:
            action = f"{model.service_model.signing_name}:{model.name}"
            self.calls.append(RecordedCall(function, action, context["before"], self._row(context["key"])))

        listeners: list[tuple[str, Any]] = [("before-call", before), ("after-call", after)]
        botocore.handlers.BUILTIN_HANDLERS.extend(listeners)
        try:
            yield
        finally:
            for listener in listeners:
                botocore.handlers.BUILTIN_HANDLERS.remove(listener)

    def _row(self, key: Row | None) -> Row | None:
        if key is None:
            return None
        found: Row | None = self.account.dynamodb.get_item(TableName="flows", Key=key).get("Item")
        return found


def passes_filter(change: RecordedCall) -> bool:
    """Return whether the template's event source mapping would pass this change to the relay."""
    images = {"dynamodb": {"OldImage": change.before or {}, "NewImage": change.after or {}}}
    return any(_matches(pattern, images) for pattern in stream_filters())


def stream_filters() -> list[Any]:
    """Return the filter patterns of the relay's event source mapping."""
    stream = load_template()["Resources"]["RelayFunction"]["Properties"]["Events"]["Outcomes"]["Properties"]
    return [json.loads(one["Pattern"]) for one in stream["FilterCriteria"]["Filters"]]


def _matches(pattern: Any, content: Any) -> bool:
    if isinstance(pattern, list):
        return content in pattern
    return all(name in content and _matches(part, content[name]) for name, part in pattern.items())
