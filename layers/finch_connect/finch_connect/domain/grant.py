"""Finch's answers as the flow sees them: to the exchange of a code, and to the request for a Connect session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finch_connect.domain.secret import Secret

GRANT_TEXTS = ("connection_id", "customer_id", "provider_id", "client_type", "connection_type")
"""What Finch says of a connection: the names of its texts. `products` and `entity_ids` are lists of texts."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Finch's answer to a successful exchange. Only the token is certain (Finch docs: older applications).

    `granted_at` is when Finch's answer arrived, in epoch ms. `entity_count` is how many entities Finch named, if
    `entity_ids` has not all of them.
    """

    access_token: Secret
    finch_request_id: str | None
    connection_id: str | None = None
    customer_id: str | None = None
    provider_id: str | None = None
    client_type: str | None = None
    connection_type: str | None = None
    products: tuple[str, ...] | None = None
    entity_ids: tuple[str, ...] = ()
    granted_at: int | None = None
    entity_count: int | None = None

    @classmethod
    def from_facts(cls, access_token: Secret, finch_request_id: str | None, facts: Mapping[str, Any]) -> Grant:
        """Return a grant with what `facts` says of the connection; names that are not a grant's are ignored."""
        texts: dict[str, Any] = {name: facts.get(name) for name in GRANT_TEXTS}
        products = facts.get("products")
        return cls(
            access_token,
            finch_request_id,
            products=None if products is None else tuple(products),
            entity_ids=tuple(facts.get("entity_ids") or ()),
            entity_count=facts.get("entity_count"),
            **texts,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """Return what Finch said of the connection, by Finch's names and in JSON's types, without what it left out."""
        lists = {
            "products": None if self.products is None else list(self.products),
            "entity_ids": list(self.entity_ids) or None,
            "entity_count": self.entity_count,
        }
        known = {name: getattr(self, name) for name in GRANT_TEXTS} | lists
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Declined:
    """Finch refused for certain (4xx, or 429 and 503 until the budget was used up). There is no token.

    `finch_error` is Finch's own word (`errors.error_word`).
    """

    reason: str
    finch_request_id: str | None
    finch_error: str | None = None


@dataclass(frozen=True, slots=True)
class Unclear:
    """The code was sent and no usable answer arrived. Finch may have a connection for which the stack has no token.

    `finch_error` is Finch's own word (`errors.error_word`).
    """

    reason: str
    finch_request_id: str | None
    finch_error: str | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the code left the function, so the claim may be released."""

    reason: str


Exchange = Grant | Declined | Unclear | NotSent


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A Connect session: where to send the browser."""

    connect_url: str


@dataclass(frozen=True, slots=True)
class AlreadyConnected:
    """Finch answered `connection_already_exists`. This connection can only be re-authenticated."""

    connection_id: str
