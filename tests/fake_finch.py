"""In-memory implementations of Finch's ports: the exchange and Connect sessions."""

from __future__ import annotations

from dataclasses import dataclass, field

from finch_connect.domain.errors import TryAgainError
from finch_connect.domain.grant import AlreadyConnected, Exchange, Grant, SessionOpened
from finch_connect.domain.link_claims import LinkRequest
from finch_connect.domain.secret import Secret
from finch_connect.flow.ports import Deadline


@dataclass
class FakeFinch:
    """`ports.Finch`. It returns `answers` in order, and repeats the last one."""

    answers: list[Exchange]
    introspected: Grant | None = None
    exchanges: list[tuple[str, str, str]] = field(default_factory=list)

    def exchange(self, *, code: Secret, redirect_uri: str, client_secret: Secret, deadline: Deadline) -> Exchange:  # noqa: ARG002  # has no latency
        self.exchanges.append((code.reveal(), redirect_uri, client_secret.reveal()))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def introspect(self, grant: Grant, *, deadline: Deadline) -> Grant:  # noqa: ARG002  # has no latency
        return self.introspected or grant


class FakeSessions:
    """`ports.FinchSessions`. `connected` has the connection of each customer who is already connected."""

    def __init__(self) -> None:
        self.connected: dict[str, str] = {}
        self.opened: list[tuple[str, str]] = []
        self.refuses = False
        self.url = "https://connect.example.com/authorize?session=5a8c"

    def open(
        self,
        request: LinkRequest,
        *,
        redirect_uri: str,  # noqa: ARG002  # this fake's sessions do not redirect
        minutes: int,  # noqa: ARG002  # this fake's sessions do not expire
        client_secret: Secret,  # noqa: ARG002  # any value is accepted
        deadline: Deadline,  # noqa: ARG002  # has no latency
    ) -> SessionOpened | AlreadyConnected:
        if self.refuses:
            raise TryAgainError("session_refused")
        if request.customer_id in self.connected:
            return AlreadyConnected(self.connected[request.customer_id])
        self.opened.append(("new", request.customer_id))
        return SessionOpened(self.url)

    def reauthenticate(
        self,
        request: LinkRequest,  # noqa: ARG002  # the connection id is enough
        connection_id: str,
        *,
        redirect_uri: str,  # noqa: ARG002
        minutes: int,  # noqa: ARG002
        client_secret: Secret,  # noqa: ARG002
        deadline: Deadline,  # noqa: ARG002
    ) -> SessionOpened:
        self.opened.append(("reauthenticate", connection_id))
        return SessionOpened(self.url)
