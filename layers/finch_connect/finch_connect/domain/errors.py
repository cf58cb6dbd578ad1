"""The one tree of errors: what went wrong, the HTTP status, a sentence for a person, and fields for the log.

What a person may decide (a denial, a second visit) is not an error: the flow returns it as a value. The text of an
error never contains a code, a state, a cookie, a token or a key. Only its `reason` and its fields are logged.
"""

from __future__ import annotations

import re
from typing import ClassVar

OPERATOR_REASONS = frozenset(
    {
        "bad_request",
        "exchange_refused",
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "payment_required",
        "session_declined",
        "session_url_elsewhere",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
"""The reasons of refusals by Finch that only an operator can fix. The same request is refused every time."""

_ERROR_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LIKE_A_CODE = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-")
UNREADABLE_ERROR = "unreadable"
"""Stands for an error of Finch that is not a word."""


def error_word(text: str | None) -> str | None:
    """Return Finch's own word for an error as it may be logged and stored, or None if there is no word.

    The redirect passes through a browser, so it may have any text. Text that is not a short word, or that looks like an
    authorization code (a UUID), becomes UNREADABLE_ERROR.

    >>> error_word("access_denied"), error_word("<script>"), error_word("")
    ('access_denied', 'unreadable', None)
    """
    if not text:
        return None
    return text if _ERROR_WORD.fullmatch(text) and not _LIKE_A_CODE.search(text) else UNREADABLE_ERROR


class FinchConnectError(Exception):
    """The base of every error that this product raises on purpose.

    `reason` (snake_case, from this source code, never from the network) is for the log and for metrics. `sentence` is
    what a person reads. `fields` are facts that may be logged.
    """

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"
    sentence: ClassVar[str] = "Something went wrong on our side. Please try again in a minute."

    def __init__(self, reason: str, **fields: str | int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fields = fields


class LinkRefusedError(FinchConnectError):
    """The link cannot start a flow. Every cause gets the same answer, and the log has the reason."""

    status = 400
    title = "This link can't be used"
    sentence = (
        "It may be incomplete or too old. Please go back to where you found it and ask for a new link. "
        "Nothing has been shared, and nothing has been changed."
    )


class CallbackRefusedError(FinchConnectError):
    """The callback belongs to no flow of this browser. Nothing was spent, and every cause gets the same answer."""

    status = 400
    title = "We can't finish this here"
    sentence = (
        "This page was opened in a browser that did not start the connection, or the connection is already "
        "finished or too old. If you started in another browser, copy this page's address into that browser within "
        "10 minutes. Nothing has been used up. Otherwise, go back to where you started and begin again."
    )


class CodeUnusedError(CallbackRefusedError):
    """A refused callback of the right browser brought a code. Finch may have a connection without a token here."""


class ReceiptRefusedError(FinchConnectError):
    """The result page was opened without a fresh receipt."""

    status = 400
    title = "This page has expired"
    sentence = (
        "Please ask the team that sent you here about your connection. Opening this page has not changed anything."
    )


class TryAgainError(FinchConnectError):
    """Nothing was spent, and the same request may succeed shortly."""

    status = 503
    title = "Just a moment"
    sentence = (
        "We could not reach a service that we need. Nothing has been lost. Please try again in a minute. If that "
        "doesn't help, please contact the team that sent you here."
    )


class PrefetchError(TryAgainError):
    """The answer to a browser that preloads a page (prefetch, prerender), so that the person's own click asks again."""

    sentence = "Your browser preloaded this page. Open the link again to continue."


class OperatorNeededError(FinchConnectError):
    """Finch refuses every such request until an operator changes something. Nothing was spent."""

    sentence = (
        "This can't be fixed by trying again. Please contact the team that sent you here. Nothing has been shared."
    )


class ConfigurationError(FinchConnectError):
    """The stack's configuration cannot work. Raised at start, before any request."""


class DecisionRefusedError(FinchConnectError):
    """An operator's decision about a token in quarantine cannot be carried out. Nothing was changed."""

    status = 409


class ServiceUnavailableError(TryAgainError):
    """An outside system did not answer in time, or refused: table, vault, keys, fallback or bus."""

    @property
    def may_have_happened(self) -> bool:
        """Return whether the call may have taken effect, because no answer or only a part of it arrived."""
        return self.reason in {"aws_unreachable", "aws_unreadable"}
