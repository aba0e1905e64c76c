"""Which part of some content a client asks for (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from starlette.datastructures import Headers

_RANGES: Final = re.compile(r"(?i:bytes)=([^=]*)", re.ASCII)
_ONE_RANGE: Final = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)
_FAR: Final = 18
"""Digits of a number that is past the end of anything, when there are more."""


class Unsatisfiable(Enum):
    """The type of `UNSATISFIABLE`."""

    UNSATISFIABLE = auto()


UNSATISFIABLE: Final = Unsatisfiable.UNSATISFIABLE
"""The content has no byte of the range: 416."""


def wanted(
    headers: Headers, etag: str, size: int, modified: str | None = None
) -> range | Unsatisfiable | None:
    """The bytes asked for; None when the whole is, which is also the answer to several ranges at once, to another unit,
    to what is not in order, and to an `If-Range` that names other content, by its tag or the time of its last change.
    """
    given, condition = headers.get("range"), headers.get("if-range")
    found = None if given is None else _RANGES.fullmatch(given.strip())
    if found is None or (condition is not None and condition.strip() not in (etag, modified)):
        return None
    asked = [each.strip(" \t") for each in found[1].split(",") if each.strip(" \t")]
    match = _ONE_RANGE.fullmatch(asked[0]) if len(asked) == 1 else None
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return _suffix(last, size)
    start, end = _number(first), _number(last) if last else size
    if end < start and last:
        return None
    return range(start, min(end + 1, size)) if start < size else UNSATISFIABLE


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _FAR else 10**_FAR


def _suffix(last: str, size: int) -> range | Unsatisfiable | None:
    if not last:
        return None
    length = _number(last)
    if not length:
        return UNSATISFIABLE
    return range(max(0, size - length), size) if size else None
