"""Untrusted text on a terminal."""

from __future__ import annotations

import re

# Whatever moves the cursor, is invisible or changes text direction: C0, C1, surrogates, and Unicode's own
# (format characters, fillers, and tags, which can hide a whole text).
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def printable(text: str) -> str:
    """Text with every character that a terminal interprets shown as an escape."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)
