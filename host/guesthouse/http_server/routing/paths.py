"""Request paths and bound paths. Pure.

Paths are compared by segments, each percent-decoded once, so `/a%2Fb` does not match a binding of `/a/b`. Paths that
another layer might interpret differently (empty, `.` and `..` segments, encoded slashes, backslashes, control
characters, invalid UTF-8) are rejected.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, unquote_to_bytes

from msgspec import Struct

from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.errors import BadProcessId, GuesthouseError
from guesthouse.core.messages import Pairs

Segments: TypeAlias = tuple[str, ...]

MAX_PATH: Final = 2048
"""Maximum bytes of a requested or bound path."""

MAX_QUERY_PARAMS: Final = 256

WHOLE_SERVER: Final = "*"
"""Target of OPTIONS for the whole server (RFC 9112, section 3.2.4)."""

_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f]")
_NO_LITERAL = re.compile(r"[*?#]")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)


class BadPath(GuesthouseError, ValueError):
    """A path cannot be bound or requested."""


class ProcessPath(Struct, frozen=True):
    """A path under a process: `/<process-id>/<segments>`."""

    process: ProcessId
    segments: Segments
    directory: bool
    """Whether the path ended in a slash."""

    @property
    def path(self) -> str:
        """The path without the process id."""
        return "/" + "/".join(self.segments)


def below_process(raw_path: str) -> str:
    """What follows the process id in a path; empty if that is all."""
    end = raw_path.find("/", 1)
    return "" if end < 0 else raw_path[end:]


def split(raw_path: str) -> tuple[Segments, bool]:
    """Return the decoded segments of an absolute path, and whether it ended in a slash.

    Raises:
        BadPath: the path is relative, too long, or has an invalid segment.
    """
    if not raw_path.startswith("/") or len(raw_path) > MAX_PATH:
        raise BadPath(f"a path starts with '/' and has at most {MAX_PATH} bytes")
    parts = raw_path[1:].split("/")
    directory = parts[-1] == ""
    if directory:
        parts.pop()
    return tuple(_decoded(part) for part in parts), directory


def split_process_path(raw_path: str) -> ProcessPath:
    """Parse `/<process-id>/...`.

    Raises:
        BadPath: as `split`, or the first segment is not a process id.
    """
    segments, directory = split(raw_path)
    if not segments:
        raise BadPath("the path names no process")
    try:
        process = canonical(ProcessId.parse(segments[0]))
    except BadProcessId as error:
        raise BadPath(str(error)) from None
    return ProcessPath(process, segments[1:], directory)


def query_params(query: str) -> Pairs:
    """The first `MAX_QUERY_PARAMS` parameters of a query string, in order."""
    cut = "&".join(query.split("&", MAX_QUERY_PARAMS)[:MAX_QUERY_PARAMS])
    return tuple(parse_qsl(cut, keep_blank_values=True))


def _decoded(part: str) -> str:
    if _PERCENT.search(part) is not None:
        raise BadPath("a '%' in the path is not followed by two hexadecimal digits")
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeError:
        raise BadPath("the path is not UTF-8") from None
    if text in ("", ".", "..") or _FORBIDDEN.search(text) is not None:
        raise BadPath("the path has an empty, '.' or '..' segment, or an invalid character")
    return text


class SegmentKind(IntEnum):
    """Kind of a bound path's segment. Of two matching bindings, the one with the lower kind further left wins."""

    LITERAL = 0
    PARAMETER = 1
    """`:name`: any one segment."""
    WILDCARD = 2
    """`*` or `*name`: one or more segments."""


_END: Final = 3
"""Sorts after all kinds, so that a longer pattern wins over its prefix."""


class PathPattern(Struct, frozen=True):
    """A bound path. `:name` matches one segment, `*name` one or more; both are delivered as parameters. `*` matches
    the same as `*name` but is not delivered.
    """

    text: str
    segments: Segments
    kinds: tuple[SegmentKind, ...]

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Parse a path as a process binds it, such as `/items/:id` or `/files/*path`.

        Raises:
            BadPath: it is relative or too long, has an invalid segment, a repeated parameter, or two wildcards.
        """
        if text == "/":
            return cls("/", (), ())
        if not text.startswith("/") or len(text.encode(errors="replace")) > MAX_PATH:
            raise BadPath(f"{text[:80]!a} cannot be bound: start with '/', at most {MAX_PATH} bytes")
        given = text[1:].split("/")
        kinds = tuple(_KINDS.get(segment[:1], SegmentKind.LITERAL) for segment in given)
        segments = tuple(map(_bound_segment, given, kinds))
        named = [segment for segment in zip(kinds, segments, strict=True) if segment[0] and segment[1] != "*"]
        if len(named) != len({segment[1:] for _, segment in named}):
            raise BadPath(f"{text[:80]!a} cannot be bound: a parameter is repeated")
        if kinds.count(SegmentKind.WILDCARD) > 1:
            raise BadPath(f"{text[:80]!a} cannot be bound: only one segment may be a wildcard")
        return cls(text, segments, kinds)

    @property
    def literal(self) -> bool:
        """Whether it has no parameters or wildcards."""
        return not any(self.kinds)

    @property
    def rank(self) -> tuple[int, ...]:
        """Sort key: literal segments further left come first."""
        return (*self.kinds, _END)

    def match(self, segments: Segments) -> Pairs | None:
        """The parameters if this pattern matches the path, else None."""
        more = len(segments) - len(self.segments)
        params: list[tuple[str, str]] = []
        place = 0
        for expected, kind in zip(self.segments, self.kinds, strict=True):
            taken = 1 + more if kind is SegmentKind.WILDCARD else 1
            given = segments[place : place + taken]
            if taken < 1 or len(given) < taken or (kind is SegmentKind.LITERAL and given != (expected,)):
                return None
            if kind and expected != "*":
                params.append((expected[1:], "/".join(given)))
            place += taken
        return tuple(params) if place == len(segments) else None


_KINDS: Final = {":": SegmentKind.PARAMETER, "*": SegmentKind.WILDCARD}


def _bound_segment(segment: str, kind: SegmentKind) -> str:
    """Check a segment of a bound path. A literal one is percent-decoded, like those of requested paths."""
    if kind is not SegmentKind.LITERAL:
        if segment != "*" and _PARAMETER.fullmatch(segment[1:]) is None:
            raise BadPath(f"{segment[:80]!a} does not name a parameter: write {segment[:1]!r} and a name")
        return segment
    if _NO_LITERAL.search(segment) is not None:
        raise BadPath(f"{segment[:80]!a} is not a valid path segment: percent-encode *, ? and #")
    try:
        literal = segment if _PERCENT.search(segment) else unquote_to_bytes(segment).decode()
        literal.encode()
    except UnicodeError:
        raise BadPath("a bound path is not UTF-8") from None
    if literal in ("", ".", "..") or _FORBIDDEN.search(literal) is not None:
        raise BadPath(f"{segment[:80]!a} is not a valid path segment")
    return literal
