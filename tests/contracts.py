"""Validation against the contracts in `contracts/`."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

CONTRACTS = Path(__file__).parents[1] / "contracts"


@cache
def event_validator(detail_type: str) -> Draft202012Validator:
    """Return the validator for the detail of one event type."""
    schema = json.loads((CONTRACTS / "events" / f"{detail_type.lower().replace(' ', '-')}.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


def validate_event(event: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError unless the event's detail matches its type's schema."""
    event_validator(event["detail-type"]).validate(event["detail"])
