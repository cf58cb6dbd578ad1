"""The one tree of errors: what went wrong, the HTTP status, a person's sentence, and fields for the log.

What a person may decide (they said no, they came back twice) is no error: the flow returns it as a value.
The text of an error never holds a code, a state, a cookie, a token or a key: only its `reason` and fields are logged.
"""

from __future__ import annotations

from typing import ClassVar


class FinchConnectError(Exception):
    """Base of every error this product raises on purpose.

    `reason` (snake_case, from the source code, never from the network) is for the log and for metrics;
    `sentence` is what a person reads; `fields` are loggable facts.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"
    sentence: ClassVar[str] = "Something went wrong on our side. Please try again in a minute."

    def __init__(self, reason: str, **fields: str | int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fields = fields


class LinkRefusedError(FinchConnectError):
    """The link cannot start a flow. Every cause gives the same answer; the log tells them apart."""

    status = 400
    title = "This link can't be used"
    sentence = (
        "It may be incomplete or too old. Go back to where you found it and ask for a new link. "
        "Nothing was shared, and nothing was changed."
    )


class CallbackRefusedError(FinchConnectError):
    """The callback does not belong to a flow of this browser. Nothing was spent; every cause looks the same."""

    status = 400
    title = "We can't finish this here"
    sentence = (
        "This page was opened in a browser that did not start the connection, or the connection was already "
        "finished or is too old. If you started in another browser, open this very address there within "
        "10 minutes: nothing was used up. Otherwise go back to where you started and begin again."
    )


class ReceiptRefusedError(FinchConnectError):
    """The result page was opened without a fresh receipt."""

    status = 400
    title = "This page has expired"
    sentence = (
        "What became of your connection is known to the team that sent you here: please ask them. "
        "Nothing was changed by opening this page."
    )


class TryAgainError(FinchConnectError):
    """Nothing was spent and the same request may succeed shortly."""

    status = 503
    title = "Just a moment"
    sentence = "We could not reach a service that we need. Nothing was lost: please try again in a minute."


class PrefetchError(TryAgainError):
    """A browser that looks ahead (prefetch, prerender) gets this, so that the person's own click asks again."""

    sentence = "Your browser looked ahead. Open the link to go on."


class ConfigurationError(FinchConnectError):
    """The stack is configured so that it cannot work. Raised at start, before any request."""


class ServiceUnavailableError(TryAgainError):
    """An outside system did not answer in time or refused to work: table, vault, keys, fallback or bus."""

    @property
    def may_have_happened(self) -> bool:
        """Tell whether what was asked may have been done all the same: no answer came, or half of one."""
        return self.reason in {"aws_unreachable", "aws_unreadable"}
