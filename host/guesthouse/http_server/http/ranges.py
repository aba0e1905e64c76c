"""Range requests (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final

from starlette.datastructures import Headers

_RANGES: Final = re.compile(r"(?i:bytes)=([^=]*)", re.ASCII)
_ONE_RANGE: Final = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)
_MAX_DIGITS: Final = 18
"""Numbers with more digits are past the end of any content."""


class Unsatisfiable(Enum):
    """The type of `UNSATISFIABLE`."""

    UNSATISFIABLE = auto()


UNSATISFIABLE: Final = Unsatisfiable.UNSATISFIABLE
"""The range is outside the content: 416."""


def requested_range(
    headers: Headers, etag: str, size: int, modified: str | None = None
) -> range | Unsatisfiable | None:
    """The requested range.

    Args:
        headers: of the request.
        etag: of the content.
        size: of the content, in bytes.
        modified: its `Last-Modified`, if it has one.

    Returns:
        None for the whole content: without a `Range`, with several, another unit or an invalid one, and when
        `If-Range` does not match.
    """
    given, condition = headers.get("range"), headers.get("if-range")
    found = None if given is None else _RANGES.fullmatch(given.strip())
    if found is None or (condition is not None and condition.strip() not in (etag, modified)):
        return None
    ranges = [each.strip(" \t") for each in found[1].split(",") if each.strip(" \t")]
    match = _ONE_RANGE.fullmatch(ranges[0]) if len(ranges) == 1 else None
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
    return int(significant or "0") if len(significant) <= _MAX_DIGITS else 10**_MAX_DIGITS


def _suffix(last: str, size: int) -> range | Unsatisfiable | None:
    if not last:
        return None
    length = _number(last)
    if not length:
        return UNSATISFIABLE
    return range(max(0, size - length), size) if size else None
