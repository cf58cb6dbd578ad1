"""Finch's data: codes, sessions, connections and tokens, in memory, with a clock that is passed in."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

Clock = Callable[[], float]
"""Returns epoch seconds."""

CODE_SECONDS = 600.0
DEFAULT_SESSION_MINUTES = 129_600

LOGINS = {"smallco": "letmein", "largeco": "letmein"}
"""The sandbox's logins (finch docs: testing)."""

PROVIDERS = {
    "gusto": "Gusto",
    "adp_run": "ADP Run",
    "bamboo_hr": "BambooHR",
    "justworks": "Justworks",
    "paychex_flex": "Paychex Flex",
    "rippling": "Rippling",
    "workday": "Workday",
}
ASSISTED_PROVIDERS = {"paycom": "Paycom (assisted)", "insperity": "Insperity (assisted)"}

PRODUCTS = {
    "company": "Company: legal name, address, departments",
    "directory": "Directory: who works there",
    "individual": "Individuals: contact details",
    "employment": "Employment: job, start date, income",
    "payment": "Payments: when people were paid",
    "pay_statement": "Pay statements: what people were paid",
    "benefits": "Benefits: plans and enrollments",
    "ssn": "Social security numbers",
    "documents": "Documents",
    "deduction": "Deductions",
}


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What an application requests from the person on the authorize page."""

    redirect_uri: str
    products: tuple[str, ...]
    state: str | None
    provider: str | None = None
    manual: bool = False
    customer_id: str | None = None
    customer_name: str | None = None
    reauthenticates: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A Connect session. It ends at `expires` (epoch seconds)."""

    authorization: AuthorizationRequest
    expires: float


@dataclass(frozen=True, slots=True)
class Connection:
    """One employer's login at one provider."""

    connection_id: str
    account_id: str
    company_id: str
    provider: str
    username: str
    products: tuple[str, ...]
    customer_id: str | None = None
    customer_name: str | None = None


@dataclass(slots=True)
class Code:
    """An authorization code: valid once, for ten minutes, and only with the redirect URI that it was sent to."""

    connection_id: str
    redirect_uri: str
    products: tuple[str, ...]
    expires: float
    used: bool = False


@dataclass
class Store:
    """All data, under one lock."""

    clock: Clock
    attempts: dict[str, AuthorizationRequest] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self, authorization: AuthorizationRequest) -> str:
        """Store an authorization request. Return the id by which the pages refer to it."""
        with self.lock:
            attempt = uuid.uuid4().hex
            self.attempts[attempt] = authorization
            return attempt

    def open_session(self, authorization: AuthorizationRequest, minutes: int | None) -> str:
        """Create a Connect session that lives `minutes` (None: DEFAULT_SESSION_MINUTES). Return its id."""
        with self.lock:
            session_id = str(uuid.uuid4())
            lifetime = 60.0 * (minutes or DEFAULT_SESSION_MINUTES)
            self.sessions[session_id] = Session(authorization, self.clock() + lifetime)
            return session_id

    def session(self, session_id: str) -> AuthorizationRequest | None:
        """Return a live session's authorization request, or None."""
        session = self.sessions.get(session_id)
        return session.authorization if session is not None and self.clock() < session.expires else None

    def connect(self, authorization: AuthorizationRequest, provider: str, username: str) -> str:
        """Log in. Return a new authorization code. The same login is the same connection (finch docs)."""
        with self.lock:
            connection = self._connection(authorization, provider, username)
            code = str(uuid.uuid4())
            self.codes[code] = Code(
                connection.connection_id,
                authorization.redirect_uri,
                authorization.products,
                expires=self.clock() + CODE_SECONDS,
            )
            return code

    def redeem(self, code: str, redirect_uri: str) -> tuple[str, Connection, tuple[str, ...]] | None:
        """Exchange a code for (token, connection, products), once. Return None if the code is not valid."""
        with self.lock:
            found = self.codes.get(code)
            if found is None or found.used or found.redirect_uri != redirect_uri or self.clock() >= found.expires:
                return None
            found.used = True
            token = f"sim-{uuid.uuid4()}"
            self.tokens[token] = found.connection_id
            return token, self.connections[found.connection_id], found.products

    def connection_of(self, token: str) -> Connection | None:
        """Return a token's connection, or None."""
        with self.lock:
            return self.connections.get(self.tokens.get(token, ""))

    def of_customer(self, customer_id: str) -> Connection | None:
        """Return a customer's connection, or None."""
        with self.lock:
            return next((found for found in self.connections.values() if found.customer_id == customer_id), None)

    def disconnect(self, connection: Connection) -> None:
        """Remove a connection and all its tokens."""
        with self.lock:
            self.connections.pop(connection.connection_id, None)
            self._forget(token for token, of in list(self.tokens.items()) if of == connection.connection_id)

    def _forget(self, tokens: Iterable[str]) -> None:
        for token in list(tokens):
            del self.tokens[token]

    def _connection(self, authorization: AuthorizationRequest, provider: str, username: str) -> Connection:
        known = self.connections.get(authorization.reauthenticates or "") or next(
            (found for found in self.connections.values() if (found.provider, found.username) == (provider, username)),
            None,
        )
        if known is None:
            known = Connection(*_new_ids(), provider=provider, username=username, products=authorization.products)
        if authorization.customer_id is not None and known.customer_id is None:
            known = replace(known, customer_id=authorization.customer_id, customer_name=authorization.customer_name)
        self.connections[known.connection_id] = known
        return known


def _new_ids() -> tuple[str, str, str]:
    """Return ids for a connection, its account and its company."""
    return str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
