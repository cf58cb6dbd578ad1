"""Finch's answers as the flow sees them: to the exchange of a code, and to the request for a Connect session."""

from __future__ import annotations

from dataclasses import dataclass

from finch_connect.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Grant:
    """What Finch answered to the exchange. Only the token is certain to be there (finch docs: older applications)."""

    access_token: Secret
    request_id: str | None
    connection_id: str | None = None
    customer_id: str | None = None
    provider_id: str | None = None
    client_type: str | None = None
    connection_type: str | None = None
    products: tuple[str, ...] | None = None
    entity_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declined:
    """Finch said no for certain (4xx, or 429/503 until the budget was gone): there is no token anywhere."""

    reason: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Unclear:
    """The code was sent and no usable answer came: Finch may hold a connection that we have no token for."""

    reason: str
    request_id: str | None


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing of the code left this function: the claim may be released."""

    reason: str


Exchange = Grant | Declined | Unclear | NotSent


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A Connect session: where to send the person."""

    connect_url: str


@dataclass(frozen=True, slots=True)
class AlreadyConnected:
    """Finch answered `connection_already_exists`: this connection can only be re-authenticated."""

    connection_id: str
