"""AWS faults on demand: microburst as a proxy between the functions and the emulator. It ends when this process ends.

It implements AWS's protocols, so botocore handles its errors as AWS's and really retries. It invalidates request
signatures, so it works only in front of an emulator that does not check them (`LocalStack.start(auth=False)`).
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
"""The services that the functions call, as botocore spells them in AWS_ENDPOINT_URL_<SERVICE>."""

_CONTROL_SECONDS = 10.0


class Kind(enum.StrEnum):
    """How a call fails."""

    THROTTLED = "throttled"
    ERROR = "500"
    DENIED = "denied"
    """An error that botocore does not retry, so the call fails at once."""
    RESET_BEFORE = "reset before"
    """The connection breaks before AWS gets the call."""
    RESET_AFTER = "reset after"
    """AWS executes the call, and its response is lost."""
    SLOW = "slow"
    """AWS gets the call after `seconds`."""
    HELD = "held"
    """No response for `seconds`, and AWS never gets the call."""
    TRUNCATED = "truncated"
    """AWS executes the call, and half of its response arrives."""


_THROTTLES = {"dynamodb": ("ProvisionedThroughputExceededException", 400), "sqs": ("ServiceUnavailable", 503)}
_INTERNAL_ERRORS = {"dynamodb": "InternalServerError", "secretsmanager": "InternalServiceError"}


@dataclass(frozen=True, slots=True)
class AwsFault:
    """A fault of one operation. It applies `times` times (None: until cleared), each with a probability.

    `service` is the signing name (`dynamodb`, `secretsmanager`, `ssm`, `events`, `sqs`; `*`: all services). `operation`
    None: all operations. `match` is a JMESPath expression on the request's JSON: the fault applies only where it is
    true. `seconds` is for SLOW and HELD.
    """

    kind: Kind
    service: str = "*"
    operation: str | None = None
    match: str | None = None
    times: int | None = 1
    probability: float = 1.0
    seconds: float = 1.0

    def rule(self) -> dict[str, Any]:
        """Return the fault as a rule of microburst."""
        conditions = {"service": self.service, "operation": self.operation, "body": self.match, "times": self.times}
        rule = {name: value for name, value in conditions.items() if value is not None}
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
class BrokenCall:
    """A call that a fault was applied to. `action` is microburst's name for what it did."""

    rule: int
    service: str
    operation: str | None
    action: str


class Microburst:
    """A running proxy. It applies the first active fault that matches a call."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextlib.contextmanager
    def breaking(self, *faults: AwsFault) -> Iterator[frozenset[int]]:
        """Add these faults to the active ones for the duration of the context. Yield the ids of their rules."""
        rules = self._control("PATCH", "rules", [fault.rule() for fault in faults])
        try:
            yield frozenset(rule["id"] for rule in rules)
        finally:
            added = {"id", "fired_count"}
            if rules:  # an empty DELETE would remove all rules
                self._control("DELETE", "rules", [{key: rule[key] for key in rule.keys() - added} for rule in rules])

    def broken(self, rules: Iterable[int]) -> list[BrokenCall]:
        """Return the calls that these rules were applied to, by rule and then in order."""
        found = [call for rule in rules for call in self._control("GET", f"fired?limit=2000&rule_id={rule}", None)]
        return [BrokenCall(one["rule_id"], one["service"], one["operation"], one["action"]) for one in found]

    def counts(self) -> tuple[int, int]:
        """Return the number of calls since the start, and how many of them a fault was applied to."""
        counted = self._control("GET", "stats", None)["requests"]
        return counted["total"], counted["faulted"]

    def _control(self, method: str, path: str, body: Any) -> Any:
        answer = requests.request(method, f"{self.url}/_microburst/{path}", json=body, timeout=_CONTROL_SECONDS)
        answer.raise_for_status()
        return answer.json()


@contextlib.contextmanager
def microburst(upstream: str) -> Iterator[Microburst]:
    """Run the proxy in front of the emulator at `upstream` (a URL). Raises EngineError."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["-m", "microburst", "--upstream", upstream, "--host", "127.0.0.1", "--port", str(port)]
    with serve("The fault proxy", ".venv-faults", arguments, {}, f"{url}/_microburst/health"):
        yield Microburst(url)


def route_through(stack: RunningStack, proxy: Microburst, **variables: str) -> None:
    """Send all AWS calls of a deployed stack's functions through the proxy, and set the given variables in them."""
    through = {f"AWS_ENDPOINT_URL_{service}": proxy.url for service in _SERVICES}
    stack.reconfigure(lambda _: {**through, **variables})
