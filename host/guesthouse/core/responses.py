"""A process's answer to an HTTP request in the JSON form: `{"status": 200, "headers": {}}`, with the body as blob.
A header's value may be a list. Pure.
"""

from __future__ import annotations

import json
from typing import Any, Final

from guesthouse.core.messages import HttpResponse

MAX_HEAD: Final = 2**20
"""Bytes of the JSON: more than the headers that a response may have."""

_MOST_BRACKETS: Final = 500
"""Anywhere in the JSON: each may be a level of nesting, which takes stack when decoding. A guest's stack is small,
and Python 3.14 does not detect the end of a stack that it did not create.
"""
_MOST_COMMAS: Final = 16_384
_STATUS_END: Final = 2**16


def answer_of(head: bytes, mime: str | None, payload: bytes | None) -> HttpResponse | None:
    """The answer that a response and its blob represent; None when it is of another form."""
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
    """A header's values: one, or a list, as for several cookies."""
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    """A JSON value as text; a lone surrogate is a UnicodeError."""
    text = str(value)
    text.encode()
    return text
