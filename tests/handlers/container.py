"""Run a function in this process, as a fresh container does."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from tests.template import ROOT


def handler_of(function: str) -> Callable[[Any, Any], Any]:
    """Load a function's module as a fresh container does, and return its handler."""
    spec = importlib.util.spec_from_file_location(f"app_{function}", ROOT / "functions" / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    handler: Callable[[Any, Any], Any] = app.handler
    return handler


class Context:
    """The part of Lambda's context that the handlers read."""

    function_name = "function"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:eu-central-1:000000000000:function:function"
    aws_request_id = "request-1"

    def get_remaining_time_in_millis(self) -> int:
        return 25_000
