"""What a process answers to an HTTP request in the JSON form: `{"status": 200, "headers": {}}`, the blob being the
body; a header's value may be a list. Pure.
"""

from __future__ import annotations

import json
from typing import Any, Final

from guesthouse.core.messages import HttpResponse

MAX_HEAD: Final = 2**20
"""Bytes of the JSON: more than the headers may have that HTTP lets a process answer."""

_MOST_BRACKETS: Final = 500
"""In the JSON, wherever they stand. Each may be a level of nesting, for which a reader takes stack: a guest's is small,
and Python 3.14 does not look for the end of a stack that is not its own.
"""
_MOST_COMMAS: Final = 16_384
_STATUS_END: Final = 2**16


def answer_of(head: bytes, mime: str | None, payload: bytes | None) -> HttpResponse | None:
    """The answer that a response and its blob stand for; None when it is of another form."""
    if len(head) > MAX_HEAD or head.count(b",") > _MOST_COMMAS:
        return None
    if head.count(b"[") + head.count(b"{") > _MOST_BRACKETS:
        return None
    try:
        answer = json.loads(head)
        status, headers = int(answer["status"]), answer.get("headers", {})
        pairs = tuple(
            (_text(name), _text(each)) for name, value in headers.items() for each in _values(value)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    return HttpResponse(status, pairs, payload or b"", mime) if 0 <= status < _STATUS_END else None


def _values(value: Any) -> list[Any]:
    """A header's values: one, or a list of them, as several cookies are."""
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    """A value of JSON as text that can be sent; JSON can hold what Unicode cannot (a UnicodeError)."""
    text = str(value)
    text.encode()
    return text
