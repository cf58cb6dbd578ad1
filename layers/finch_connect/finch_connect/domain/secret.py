"""A value that must not be shown. One explicit call returns its text, and nothing that prints does."""

from __future__ import annotations

import hmac
from typing import Final, final


@final
class Secret:
    """Text that is never shown: `repr`, `str`, `format` and pickling reveal nothing of it.

    `reveal()` is the only way to read the text, so a search for `reveal(` finds every place that handles a secret.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        """Return the secret text, for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")

    def __eq__(self, other: object) -> bool:
        """Compare in constant time, so that no caller has to remember to."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]  # a secret must not be a dictionary key
