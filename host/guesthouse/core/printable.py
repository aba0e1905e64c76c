"""Text for people: untrusted, with numbers, and in colours, which levels of the log and places of errors have."""

from __future__ import annotations

import os
import re
from typing import Final, TextIO

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


def number_of(count: int, one: str, more: str = "") -> str:
    """A number of things: `number_of(1, "channel")` is "1 channel". `more` is the plural, by default with an s."""
    return f"{count} {one if count == 1 else more or one + 's'}"


_BOLD: Final = "\x1b[1m"
_RED: Final = "\x1b[1;31m"
_YELLOW: Final = "\x1b[1;33m"
_PLAIN: Final = "\x1b[0m"

_LEVEL: Final = re.compile(r"^(\d\d:\d\d:\d\d )(error|warning)\b")
_PLACE: Final = re.compile(
    r"(?m)((?:^|(?<= ))[^\s:]+:\d+(?::\d+)?: |^|(?<= dev: ))((?:fatal )?error|warning)(?=(?:\[\w+\])?: )"
)


def wants_colours(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal whose user has not asked for none."""
    if stream is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "dumb", "unknown"):
        return False
    return stream.isatty()


def coloured(text: str) -> str:
    """Printable text with colours for a line's level, for places such as `app.py:3:5: error: …` or
    `src/lib.rs:3:5: error[E0308]: …`, and for errors that a tool tells without a place.
    """
    text = _LEVEL.sub(lambda found: f"{found[1]}{_of(found[2])}{found[2]}{_PLAIN}", text)
    return _PLACE.sub(_place, text)


def _place(found: re.Match[str]) -> str:
    return f"{_BOLD if found[1] else ''}{found[1]}{_of(found[2])}{found[2]}{_PLAIN}"


def _of(level: str) -> str:
    return _YELLOW if level == "warning" else _RED
