"""JSON that comes from outside: clients, processes, other nodes. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


def is_text(text: str) -> bool:
    """Whether it has a UTF-8 form. Half a surrogate pair has none, as Python makes it of bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_json(text: bytes) -> Any:
    r"""Read JSON in UTF-8 to the letter of RFC 8259.

    Python's own reader also takes NaN, UTF-16 and half a surrogate pair (`"\ud800"`), which is a text that has no
    UTF-8 form: it could be neither sent on nor written down.

    Raises:
        ValueError: it is something else, nested too deeply, or has a number that is out of range.
    """
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
