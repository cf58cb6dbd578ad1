"""The rules for every text from outside: when it counts as absent, and which characters it may not have."""

from __future__ import annotations

import re

# C0 and C1 controls; line and paragraph separators; the characters that embed, override or isolate a direction of
# writing, with which a name can look like another (Unicode TR 36); surrogates, which UTF-8 cannot express.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def is_blank(text: str) -> bool:
    """Return whether a text says nothing. A blank parameter, claim or field counts as absent (RFC 6749 section 3.1).

    >>> is_blank(""), is_blank(" "), is_blank("0")
    (True, True, False)
    """
    return not text.strip()


def is_fit(text: str) -> bool:
    """Return whether a text has no control, surrogate, line separator or override of the direction of writing.

    Everything else may be in a name, also what Python calls not printable: a no-break space, a soft hyphen, the joiners
    in an emoji.

    >>> is_fit("Acme\\u00a0GmbH"), is_fit("Acme\\u202eHbmG")
    (True, False)
    """
    return _UNFIT.search(text) is None
