"""What Finch knows: codes, sessions, connections and tokens. Pure memory with a clock that is given."""

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
class Asked:
    """What an authorize page asks the person for."""

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
    """A Connect session; it ends at `expires` (epoch seconds)."""

    asked: Asked
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
    """An authorization code: used once, within ten minutes, with the redirect URI it was sent to."""

    connection_id: str
    redirect_uri: str
    products: tuple[str, ...]
    expires: float
    used: bool = False


@dataclass
class Store:
    """Everything, under one lock."""

    clock: Clock
    attempts: dict[str, Asked] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def begin(self, asked: Asked) -> str:
        """Remember what a page asks for; return the id under which its forms name it."""
        with self.lock:
            attempt = uuid.uuid4().hex
            self.attempts[attempt] = asked
            return attempt

    def open_session(self, asked: Asked, minutes: int | None) -> str:
        """Make a Connect session that lives that many minutes."""
        with self.lock:
            session_id = str(uuid.uuid4())
            lifetime = 60.0 * (minutes or DEFAULT_SESSION_MINUTES)
            self.sessions[session_id] = Session(asked, self.clock() + lifetime)
            return session_id

    def session(self, session_id: str) -> Asked | None:
        """Return what a live session asks for, or None."""
        session = self.sessions.get(session_id)
        return session.asked if session is not None and self.clock() < session.expires else None

    def connect(self, asked: Asked, provider: str, username: str) -> str:
        """Log in; return a new authorization code. The same login is the same connection (finch docs)."""
        with self.lock:
            connection = self._connection(asked, provider, username)
            code = str(uuid.uuid4())
            expires = self.clock() + CODE_SECONDS
            self.codes[code] = Code(connection.connection_id, asked.redirect_uri, asked.products, expires)
            return code

    def redeem(self, code: str, redirect_uri: str) -> tuple[str, Connection, tuple[str, ...]] | None:
        """Exchange a code for (token, connection, products), once; None when it is not good."""
        with self.lock:
            found = self.codes.get(code)
            if found is None or found.used or found.redirect_uri != redirect_uri or self.clock() >= found.expires:
                return None
            found.used = True
            token = f"sim-{uuid.uuid4()}"
            self.tokens[token] = found.connection_id
            return token, self.connections[found.connection_id], found.products

    def connection_of(self, token: str) -> Connection | None:
        """Return the connection a token stands for, or None."""
        with self.lock:
            return self.connections.get(self.tokens.get(token, ""))

    def of_customer(self, customer_id: str) -> Connection | None:
        """Return the connection that a customer has already, or None."""
        with self.lock:
            return next((found for found in self.connections.values() if found.customer_id == customer_id), None)

    def disconnect(self, connection: Connection) -> None:
        """Remove a connection and all tokens of it."""
        with self.lock:
            self.connections.pop(connection.connection_id, None)
            self._forget(token for token, of in list(self.tokens.items()) if of == connection.connection_id)

    def _forget(self, tokens: Iterable[str]) -> None:
        for token in list(tokens):
            del self.tokens[token]

    def _connection(self, asked: Asked, provider: str, username: str) -> Connection:
        known = self.connections.get(asked.reauthenticates or "") or next(
            (found for found in self.connections.values() if (found.provider, found.username) == (provider, username)),
            None,
        )
        if known is None:
            known = Connection(*_new_ids(), provider=provider, username=username, products=asked.products)
        if asked.customer_id is not None and known.customer_id is None:
            known = replace(known, customer_id=asked.customer_id, customer_name=asked.customer_name)
        self.connections[known.connection_id] = known
        return known


def _new_ids() -> tuple[str, str, str]:
    """Return ids for a connection, its account and its company."""
    return str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4())
