"""Which part of some content a client asks for (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from starlette.datastructures import Headers

_ONE_RANGE: Final = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.ASCII)


class Unsatisfiable(Enum):
    """The type of `UNSATISFIABLE`."""

    UNSATISFIABLE = auto()


UNSATISFIABLE: Final = Unsatisfiable.UNSATISFIABLE
"""The content has no byte of the range: 416."""


def wanted(headers: Headers, etag: str, size: int) -> range | Unsatisfiable | None:
    """The bytes asked for; None when the whole is, which is also the answer to several ranges at once, to
    what is not in order, and to an `If-Range` that names other content.
    """
    given, condition = headers.get("range"), headers.get("if-range")
    match = None if given is None else _ONE_RANGE.fullmatch(given.strip())
    if match is None or (condition is not None and condition.strip() != etag):
        return None
    first, last = match.groups()
    if not first:
        return _suffix(last, size)
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return range(start, stop) if start < size else UNSATISFIABLE


def _suffix(last: str, size: int) -> range | Unsatisfiable | None:
    if not last:
        return None
    length = min(int(last), size)
    return range(size - length, size) if length else UNSATISFIABLE
