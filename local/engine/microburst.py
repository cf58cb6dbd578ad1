"""Faults of AWS on demand: microburst as a proxy between the functions and the emulator, gone when we are.

It speaks AWS's own protocols, so that botocore believes what it says and its retries are really tried. It breaks
signatures: it stands only before an emulator that does not check them (`LocalStack.start(auth=False)`).
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import requests

from local.engine.stack import RunningStack
from local.engine.supervised import free_port, serve

_SERVICES = ("DYNAMODB", "SECRETS_MANAGER", "SSM", "EVENTBRIDGE", "SQS")
"""As botocore spells them in AWS_ENDPOINT_URL_<SERVICE>: those that our functions call."""

_CONTROL_SECONDS = 10.0


class Kind(enum.StrEnum):
    """What goes wrong with a call."""

    THROTTLED = "throttled"
    ERROR = "500"
    DENIED = "denied"
    """An error that no retry follows: the call fails at once."""
    RESET_BEFORE = "reset before"
    """The connection breaks; AWS never saw the call."""
    RESET_AFTER = "reset after"
    """AWS did what was asked; its answer is lost."""
    SLOW = "slow"
    """The call goes on to AWS after `seconds`."""
    HELD = "held"
    """No answer for `seconds`, and AWS never sees the call."""
    TRUNCATED = "truncated"
    """AWS did what was asked; half its answer arrives."""


_THROTTLES = {"dynamodb": ("ProvisionedThroughputExceededException", 400), "sqs": ("ServiceUnavailable", 503)}
_INTERNAL_ERRORS = {"dynamodb": "InternalServerError", "secretsmanager": "InternalServiceError"}


@dataclass(frozen=True, slots=True)
class AwsFault:
    """One fault of one operation, `times` times (None: until cleared), with a probability.

    `service` is its signing name (`dynamodb`, `secretsmanager`, `ssm`, `events`, `sqs`; `*`: all); `operation` None:
    all of it. `match` is JMESPath over the request's JSON: only calls for which it is true. `seconds` is for SLOW and
    HELD.
    """

    kind: Kind
    service: str = "*"
    operation: str | None = None
    match: str | None = None
    times: int | None = 1
    probability: float = 1.0
    seconds: float = 1.0

    def rule(self) -> dict[str, Any]:
        """Return it in microburst's words."""
        where = {"service": self.service, "operation": self.operation, "body": self.match, "times": self.times}
        rule = {name: value for name, value in where.items() if value is not None}
        return {**rule, "probability": self.probability, **self._effect()}

    def _effect(self) -> dict[str, Any]:
        throttle, status = _THROTTLES.get(self.service, ("ThrottlingException", 400))
        internal = _INTERNAL_ERRORS.get(self.service, "InternalFailure")
        effects: dict[Kind, dict[str, Any]] = {
            Kind.THROTTLED: {"error": {"code": throttle, "status": status, "message": "Rate exceeded"}},
            Kind.ERROR: {"error": {"code": internal, "status": 500, "message": "Broken on demand"}},
            Kind.DENIED: {"error": {"code": "AccessDeniedException", "status": 400, "message": "Denied on demand"}},
            Kind.RESET_BEFORE: {"reset": True},
            Kind.RESET_AFTER: {"response": {"abort_bytes": 0}},
            Kind.SLOW: {"latency": self.seconds * 1000},
            Kind.HELD: {"timeout_ms": self.seconds * 1000},
            Kind.TRUNCATED: {"response": {"abort_frac": 0.5}},
        }
        return effects[self.kind]


@dataclass(frozen=True, slots=True)
class Broken:
    """One call that met a fault: what was called, and what was done to it in microburst's words."""

    rule: int
    service: str
    operation: str | None
    action: str


class Microburst:
    """A running proxy. Of the faults that are on, the first that fits a call is the one it meets."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextlib.contextmanager
    def breaking(self, *faults: AwsFault) -> Iterator[frozenset[int]]:
        """Have these faults on within the context, beside what others have on; yield the numbers of their rules."""
        rules = self._ask("PATCH", "rules", [fault.rule() for fault in faults])
        try:
            yield frozenset(rule["id"] for rule in rules)
        finally:
            own_fields = {"id", "fired_count"}
            if rules:  # to delete what no rule says is to delete all
                self._ask("DELETE", "rules", [{key: rule[key] for key in rule.keys() - own_fields} for rule in rules])

    def broken(self, rules: Iterable[int]) -> list[Broken]:
        """Return the calls that met a fault of these rules, rule by rule in their order."""
        found = [call for rule in rules for call in self._ask("GET", f"fired?limit=2000&rule_id={rule}", None)]
        return [Broken(one["rule_id"], one["service"], one["operation"], one["action"]) for one in found]

    def counts(self) -> tuple[int, int]:
        """Return how many calls came since it started, and how many of them met a fault."""
        requests_seen = self._ask("GET", "stats", None)["requests"]
        return requests_seen["total"], requests_seen["faulted"]

    def _ask(self, method: str, path: str, body: Any) -> Any:
        answer = requests.request(method, f"{self.url}/_microburst/{path}", json=body, timeout=_CONTROL_SECONDS)
        answer.raise_for_status()
        return answer.json()


@contextlib.contextmanager
def microburst(upstream: str) -> Iterator[Microburst]:
    """Run the proxy in front of an emulator. Raises EngineError."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["-m", "microburst", "--upstream", upstream, "--host", "127.0.0.1", "--port", str(port)]
    with serve("The proxy for faults", ".venv-faults", arguments, {}, f"{url}/_microburst/health"):
        yield Microburst(url)


def route_through(stack: RunningStack, proxy: Microburst, **variables: str) -> None:
    """Send all AWS calls of a deployed stack's functions through the proxy, and set other variables of theirs."""
    through = {f"AWS_ENDPOINT_URL_{service}": proxy.url for service in _SERVICES}
    stack.reconfigure(lambda _: {**through, **variables})
