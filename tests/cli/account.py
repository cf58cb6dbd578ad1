"""A stack as the tools find it: its outputs, its link key, and the verification of a link as it does that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import boto3

from finch_connect.config import read
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.flow.links import verify_link
from tests.fakes import FakeLinkKeys
from tests.unit.conftest import ENVIRONMENT

KEY, ISSUER = "k" * 64, "https://connect.team.example.com"
CONFIG = read(ENVIRONMENT)


def taken(link: str) -> LinkRequest:
    """Verify a link as the stack does, and return its request."""
    assert link.startswith("https://connect.example.com/connect?link=")
    return verify_link(parse_qs(urlsplit(link).query)["link"][0], FakeLinkKeys(), CONFIG, datetime.now(UTC))


def make_stack(outputs: Mapping[str, str], parameters: Mapping[str, str] | None = None) -> None:
    """Create the stack `finch-connect` in the in-memory account, with these outputs and parameters."""
    template = {
        "Parameters": {name: {"Type": "String"} for name in parameters or {}},
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": text} for name, text in outputs.items()},
    }
    boto3.client("cloudformation").create_stack(
        StackName="finch-connect",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": name, "ParameterValue": text} for name, text in (parameters or {}).items()],
    )
