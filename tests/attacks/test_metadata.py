"""Row 40: no link starts a flow whose event the bus would refuse for ever."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from finch_connect.domain.states import base64url
from tests.attacks.conftest import Untouched, refused
from tests.attacks.test_links import claims_of, open_link
from tests.conftest import Customer

UNPUBLISHABLE: dict[str, dict[str, Any]] = {
    "NaN": {"score": float("nan")},
    "Infinity": {"score": [float("inf")]},
    "an integer of 65 bits": {"id": 2**64},
    "a lone surrogate": {"name": "\ud800"},
    "a thousand levels": json.loads('{"a":' * 1000 + "1" + "}" * 1000),
    "more than 2 KB in UTF-8": {"name": "\u00fc" * 1020},
}


@pytest.mark.parametrize("metadata", UNPUBLISHABLE.values(), ids=UNPUBLISHABLE)
def test_40_a_link_with_metadata_that_the_bus_would_refuse_is_refused(
    customer: Customer, untouched: Untouched, metadata: dict[str, Any]
) -> None:
    """Its flow could be connected, and its event would never be published."""
    kid, key = customer.stack.link_key()
    claims = {**claims_of(customer), "metadata": metadata}
    parts = [json.dumps(part, ensure_ascii=False) for part in ({"alg": "HS256", "kid": kid}, claims)]
    signed = ".".join(base64url(part.encode(errors="backslashreplace")) for part in parts)
    mac = base64url(hmac.new(key.encode(), signed.encode(), hashlib.sha256).digest())
    with untouched():
        assert refused(open_link(customer, f"{signed}.{mac}"))
