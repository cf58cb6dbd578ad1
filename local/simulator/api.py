"""The part of Finch's API that a connection needs (finch docs, and what Finch's own SDK expects).

The body of an error is `{statusCode, status, code, message, name, finch_code?}`. Every response has the header
`Finch-Request-Id`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request

from local.simulator.store import AuthorizationRequest, Connection, Store

LONGEST_TEXT = 255
LONGEST_MINUTES = 129_600
_AUTH_METHODS = {"assisted", "credential", "oauth", "api_token"}

api = Blueprint("api", __name__)


class ApiError(Exception):
    """An error response of Finch."""

    def __init__(self, status: int, name: str, message: str, finch_code: str | None = None, **more: Any) -> None:
        super().__init__(message)
        self.body = {"statusCode": status, "status": status, "code": status, "message": message, "name": name, **more}
        if finch_code is not None:
            self.body["finch_code"] = finch_code
        self.status = status


@api.errorhandler(ApiError)
def _error(error: ApiError) -> tuple[Response, int]:
    return jsonify(error.body), error.status


@api.post("/auth/token")
def token() -> Response:
    """Exchange an authorization code. Takes no Authorization header and no grant_type (finch docs: redirect)."""
    body = _json_body()
    for name in ("client_id", "client_secret", "code", "redirect_uri"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise ApiError(401, "invalid_request_error", f"{name} is required")
    _check_client(body["client_id"], body["client_secret"])
    redeemed = _store().redeem(body["code"], body["redirect_uri"])
    if redeemed is None:
        raise ApiError(400, "invalid_grant_error", "The authorization code is invalid or has expired")
    access_token, connection, products = redeemed
    answer = {
        "access_token": access_token,
        "token_type": "bearer",
        "client_type": _simulator().client_type,
        "connection_type": "provider",
        "entity_ids": [connection.company_id],
        "products": list(products),
        "provider_id": connection.provider,
        **_ids(connection),
    }
    return jsonify(answer)


@api.get("/introspect")
def introspect() -> Response:
    """Describe a token's connection."""
    connection = _bearer()
    answer = {
        "id": connection.connection_id,
        "client_id": _simulator().client_id,
        "client_type": _simulator().client_type,
        "connection_type": "provider",
        "connection_status": {"status": "connected"},
        "entities": [
            {"id": connection.company_id, "name": connection.username, "source_id": None, "status": "connected"}
        ],
        "payroll_provider_id": connection.provider,
        "provider_id": connection.provider,
        "products": list(connection.products),
        "username": connection.username,
        "manual": False,
        "customer_email": None,
        **_ids(connection),
    }
    return jsonify(answer)


@api.post("/disconnect")
def disconnect() -> Response:
    """Remove the connection and all its tokens. This cannot be undone."""
    _store().disconnect(_bearer())
    return jsonify({"status": "success"})


@api.get("/employer/company")
def company() -> Response:
    """Return one sample record, so that a consumer can see that its token works."""
    connection = _bearer()
    sample = {
        "id": connection.company_id,
        "legal_name": f"{connection.username.capitalize()}, Inc.",
        "entity": {"type": "corporation", "subtype": "c_corporation"},
        "primary_email": None,
        "primary_phone_number": None,
        "departments": [{"name": "Engineering", "parent": None}],
        "ein": None,
        "locations": [],
        "accounts": [],
    }
    return jsonify(sample)


@api.post("/connect/sessions")
def new_session() -> Response:
    """Open a Connect session. A customer who is already connected is refused (seen in practice)."""
    _basic()
    body = _json_body()
    _check(body, "customer_id", _is_text, required=True)
    _check(body, "customer_name", _is_text, required=True)
    _check(body, "products", _is_texts, required=True)
    _check(body, "customer_email", _is_text)
    _check(body, "integration", _is_integration)
    _check(body, "manual", lambda value: isinstance(value, bool))
    _check(body, "sandbox", lambda value: value in {"finch", "provider"})
    _check_common(body)
    known = _store().of_customer(body["customer_id"])
    if known is not None:
        context = {"customer_id": body["customer_id"], "connection_id": known.connection_id}
        message = "This customer is already connected"
        raise ApiError(400, "bad_request", message, "connection_already_exists", context=context)
    authorization = AuthorizationRequest(
        redirect_uri=_redirect_uri(body),
        products=tuple(body["products"]),
        state=None,
        provider=(body.get("integration") or {}).get("provider"),
        manual=bool(body.get("manual")),
        customer_id=body["customer_id"],
        customer_name=body["customer_name"],
    )
    return _open_session(authorization, body)


@api.post("/connect/sessions/reauthenticate")
def reauthenticate() -> Response:
    """Open a session that renews a connection: its ids stay the same, its token is new."""
    _basic()
    body = _json_body()
    _check(body, "connection_id", _is_text, required=True)
    _check(body, "products", _is_texts)
    _check_common(body)
    known = _store().connections.get(body["connection_id"])
    if known is None:
        raise ApiError(404, "not_found_error", "There is no such connection")
    authorization = AuthorizationRequest(
        redirect_uri=_redirect_uri(body),
        products=tuple(body.get("products") or known.products),
        state=None,
        provider=known.provider,
        customer_id=known.customer_id,
        customer_name=known.customer_name,
        reauthenticates=known.connection_id,
    )
    return _open_session(authorization, body)


def _open_session(authorization: AuthorizationRequest, body: Mapping[str, Any]) -> Response:
    session_id = _store().open_session(authorization, body.get("minutes_to_expire"))
    connect_url = f"{_simulator().url}/authorize?session={session_id}"
    return jsonify({"session_id": session_id, "connect_url": connect_url})


def _check_common(body: Mapping[str, Any]) -> None:
    _check(body, "minutes_to_expire", _is_minutes)
    _check(body, "redirect_uri", lambda value: value in _simulator().redirect_uris)


def _check(body: Mapping[str, Any], name: str, fits: Callable[[Any], bool], *, required: bool = False) -> None:
    value = body.get(name)
    if (value is None and required) or (value is not None and not fits(value)):
        raise ApiError(400, "bad_request", f"{name} is invalid")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_minutes(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LONGEST_MINUTES


def _is_integration(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_text(value.get("provider")):
        return False
    return value.get("auth_method") is None or value["auth_method"] in _AUTH_METHODS


def _redirect_uri(body: Mapping[str, Any]) -> str:
    return str(body.get("redirect_uri") or next(iter(_simulator().redirect_uris), ""))


def _json_body() -> dict[str, Any]:
    if request.mimetype != "application/json":
        raise ApiError(400, "bad_request", "Content-Type must be application/json")
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise ApiError(400, "bad_request", "The body must be a JSON object")
    if not request.headers.get("Finch-API-Version"):
        raise ApiError(400, "bad_request", "Finch-API-Version is required")
    return body


def _check_client(client_id: str, client_secret: str) -> None:
    simulator = _simulator()
    same_secret = hmac.compare_digest(client_secret.encode(), simulator.client_secret.encode())
    if client_id != simulator.client_id or not same_secret:
        raise ApiError(401, "invalid_client_error", "The client credentials are invalid")


def _basic() -> None:
    kind, _, credentials = request.headers.get("Authorization", "").partition(" ")
    try:
        client_id, _, client_secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        client_id = client_secret = ""
    if kind.lower() != "basic":
        raise ApiError(401, "invalid_request_error", "Basic authentication is required")
    _check_client(client_id, client_secret)


def _bearer() -> Connection:
    kind, _, access_token = request.headers.get("Authorization", "").partition(" ")
    connection = _store().connection_of(access_token) if kind.lower() == "bearer" else None
    if connection is None:
        raise ApiError(401, "invalid_request_error", "The access token is invalid", "reauthenticate_user")
    return connection


def _ids(connection: Connection) -> dict[str, Any]:
    ids = {
        "connection_id": connection.connection_id,
        "account_id": connection.account_id,
        "company_id": connection.company_id,
        "customer_id": connection.customer_id,
        "customer_name": connection.customer_name,
    }
    return {name: value for name, value in ids.items() if value is not None or name.startswith("customer")}


def _store() -> Store:
    store: Store = _simulator().store
    return store


def _simulator() -> Any:
    return current_app.config["SIMULATOR"]
