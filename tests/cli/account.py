"""The link key and configuration of a stack, and the verification of a link as that stack does it."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

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
