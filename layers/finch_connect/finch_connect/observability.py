"""The one logger and the one set of metrics. What is logged: our own reasons, hashes and ids; never what came in."""

from __future__ import annotations

import traceback

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = "FinchConnect"

# The service's name comes from the template (POWERTOOLS_SERVICE_NAME): it holds the stage, and metrics have it.
logger = Logger()
_metrics = Metrics(namespace=NAMESPACE)


def count(name: str, number: int = 1) -> None:
    """Add to a metric (CamelCase name), in CloudWatch's embedded format, one log line each."""
    _metrics.add_metric(name=name, unit=MetricUnit.Count, value=number)
    _metrics.flush_metrics()


def measure(name: str, milliseconds: float) -> None:
    """Add a duration to a metric (CamelCase name)."""
    _metrics.add_metric(name=name, unit=MetricUnit.Milliseconds, value=milliseconds)
    _metrics.flush_metrics()


def log_unexpected(error: BaseException) -> None:
    """Log an error that nobody foresaw: its class and where it was raised, not its text, which could hold anything."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    logger.error("unexpected_error", error=type(error).__name__, where=where)
