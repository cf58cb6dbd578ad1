"""The one logger and the one set of metrics. Reasons, hashes and ids are logged, never what a request contained."""

from __future__ import annotations

import traceback

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from finch_connect.domain.errors import OPERATOR_REASONS

NAMESPACE = "FinchConnect"

COUNTED = frozenset(
    {
        # The outcomes of requests to connect and of callbacks (docs/operations.md explains each).
        *("Started", "ConfirmationShown", "NotStartable", "SessionUnavailable"),
        *("Connected", "Denied", "Failed", "Quarantined", "Orphaned", "Unstored", "AnswerRepeated", "CodeUnused"),
        *("Refused", "TryAgain", "Preloaded", "UnexpectedError"),
        # What needs an operator.
        *("TokenLost", "CredentialsRefused", "SecretUnreadable", "OperatorErrors"),
        # Relay and sweeper.
        *("Published", "DeadLettered"),
        *("Swept", "SweptAbandoned", "SweptOrphaned", "SweptStored", "SweptRecovered", "SweptPublished", "SweptStuck"),
    }
)
MEASURED = frozenset({"PublishLag"})
"""All metrics. Tests compare them with the code, the alarms and docs/operations.md."""

# The service's name is in POWERTOOLS_SERVICE_NAME. It contains the stage, and every metric has it as a dimension.
logger = Logger()
_metrics = Metrics(namespace=NAMESPACE)


def count(name: str, number: int = 1, *, reason: str | None = None) -> None:
    """Add to one of COUNTED with a log line in CloudWatch's embedded metric format.

    With a reason, the line counts twice: for the service, and for the service with this reason. Each reason is a metric
    of its own. They are words of this source code, so they are few and contain no secret.
    """
    _emit(name, MetricUnit.Count, number, reason)


def count_outcome(status: str, reason: str | None) -> None:
    """Count a flow's outcome, and whether it needs an operator."""
    count(status.capitalize(), reason=reason)
    if reason == "token_lost":
        count("TokenLost")
    if reason is not None:
        count_operator_error(reason)


def count_operator_error(reason: str) -> None:
    """Count a refusal by Finch if only an operator can fix it: CredentialsRefused, or OperatorErrors for all others."""
    if reason == "invalid_client":
        count("CredentialsRefused")
    elif reason in OPERATOR_REASONS:
        count("OperatorErrors", reason=reason)


def measure(name: str, milliseconds: float) -> None:
    """Record one of MEASURED."""
    _emit(name, MetricUnit.Milliseconds, milliseconds, None)


def log_unexpected(error: BaseException) -> None:
    """Log an unexpected error: its class and where it was raised, but not its text, which may contain a secret."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    logger.error("unexpected_error", error=type(error).__name__, where=where)


def _emit(name: str, unit: MetricUnit, value: float, reason: str | None) -> None:
    _metrics.add_metric(name=name, unit=unit, value=value)
    if reason is not None:
        _metrics.add_dimensions(service=logger.service, reason=reason)
    _metrics.flush_metrics()
