"""The one logger and the one set of metrics. What is logged: our own reasons, hashes and ids; never what came in."""

from __future__ import annotations

import traceback

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = "FinchConnect"

COUNTED = frozenset(
    {
        # What became of a request to connect and of a callback (docs/operations.md says what each means).
        *("Started", "ConfirmationShown", "NotStartable", "SessionUnavailable"),
        *("Connected", "Denied", "Failed", "Quarantined", "Orphaned", "Unstored", "AnswerRepeated"),
        *("Refused", "TryAgain", "UnexpectedError"),
        # What needs a person whatever the outcome was.
        *("TokenLost", "CredentialsRefused", "SecretUnreadable"),
        # Relay and sweeper.
        *("Published", "DeadLettered"),
        *("Swept", "SweptAbandoned", "SweptOrphaned", "SweptStored", "SweptRecovered", "SweptPublished", "SweptStuck"),
    }
)
MEASURED = frozenset({"PublishLag"})
"""Every metric there is, by name. Tests hold the code, the alarms and docs/operations.md to it."""

# The service's name comes from the template (POWERTOOLS_SERVICE_NAME): it holds the stage, and metrics have it.
logger = Logger()
_metrics = Metrics(namespace=NAMESPACE)


def count(name: str, number: int = 1, *, reason: str | None = None) -> None:
    """Add to one of COUNTED, in CloudWatch's embedded format, one log line each.

    With a reason it is counted twice in that line: for the service, and for the service and this reason. Reasons are
    words of this source code, so they are few, as each is a metric of its own, and hold no secret.
    """
    _emit(name, MetricUnit.Count, number, reason)


def count_outcome(status: str, reason: str | None) -> None:
    """Count what became of a flow, when it is settled, and what in it needs a person."""
    count(status.capitalize(), reason=reason)
    if reason == "token_lost":
        count("TokenLost")
    if reason == "invalid_client":
        count("CredentialsRefused")


def measure(name: str, milliseconds: float) -> None:
    """Note one of MEASURED."""
    _emit(name, MetricUnit.Milliseconds, milliseconds, None)


def log_unexpected(error: BaseException) -> None:
    """Log an error that nobody foresaw: its class and where it was raised, not its text, which could hold anything."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    logger.error("unexpected_error", error=type(error).__name__, where=where)


def _emit(name: str, unit: MetricUnit, value: float, reason: str | None) -> None:
    _metrics.add_metric(name=name, unit=unit, value=value)
    if reason is not None:
        _metrics.add_dimensions(service=logger.service, reason=reason)
    _metrics.flush_metrics()
