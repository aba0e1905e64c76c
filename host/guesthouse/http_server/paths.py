"""Paths as clients ask for them and as processes bind them. Pure.

A path is compared segment by segment, each decoded once, so `/a%2Fb` never meets a binding of `/a/b`.
Whatever another layer might read as a different path (empty, `.` and `..` segments, encoded slashes,
backslashes, control characters, bytes that are not UTF-8) names nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, unquote_to_bytes

from guesthouse.address import ProcessId, canonical
from guesthouse.errors import BadProcessId, GuesthouseError
from guesthouse.message import Pairs

Segments: TypeAlias = tuple[str, ...]

MAX_PATH: Final = 2048
"""Bytes of a path, as asked for or bound."""

MAX_QUERY_PARAMS: Final = 256

_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN = re.compile(r"[/\\\x00-\x1f\x7f]")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)


class BadPath(GuesthouseError, ValueError):
    """Text that should be a path is not one that can be bound or asked for."""


@dataclass(frozen=True, slots=True)
class ProcessPath:
    """A path under a process: `/<process-id>/<segments>`."""

    process: ProcessId
    segments: Segments
    directory: bool
    """Whether the path ended in a slash after its last segment."""
    bare: bool
    """Whether it is `/<process-id>` without a slash after it."""

    @property
    def path(self) -> str:
        """The path as its process knows it, without the process id."""
        return "/" + "/".join(self.segments)


def split(raw_path: str) -> tuple[Segments, bool]:
    """Return the decoded segments of an absolute path, and whether it ended in a slash.

    Raises:
        BadPath: the path is relative, too long, or has a segment that no path may have.
    """
    if not raw_path.startswith("/") or len(raw_path) > MAX_PATH:
        raise BadPath(f"a path starts with '/' and has at most {MAX_PATH} bytes")
    parts = raw_path[1:].split("/")
    directory = parts[-1] == ""
    if directory:
        parts.pop()
    return tuple(_decoded(part) for part in parts), directory


def split_process_path(raw_path: str) -> ProcessPath:
    """Read `/<process-id>/...`.

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
    return ProcessPath(process, segments[1:], directory, bare=len(segments) == 1 and not directory)


def query_params(query: str) -> Pairs:
    """The parameters of a query string, in order; those past `MAX_QUERY_PARAMS` are left out."""
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
        raise BadPath("the path has an empty, '.' or '..' segment, or a character that no path has")
    return text


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A bound path. A segment `:name` takes any one segment and delivers it as a parameter."""

    text: str
    segments: Segments

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """Read a path as a process binds it, such as `/items/:id`.

        Raises:
            BadPath: it is not absolute, has an empty, `.` or `..` segment or a character that no path
                has, names a parameter twice, or is too long.
        """
        if text == "/":
            return cls("/", ())
        if not text.startswith("/") or len(text.encode(errors="replace")) > MAX_PATH:
            raise BadPath(f"{text[:80]!a} cannot be bound: start with '/', at most {MAX_PATH} bytes")
        segments = tuple(text[1:].split("/"))
        for segment in segments:
            _check_bound(segment)
        names = [segment for segment in segments if segment.startswith(":")]
        if len(names) != len(set(names)):
            raise BadPath(f"{text[:80]!a} cannot be bound: a parameter is named twice")
        return cls(text, segments)

    @property
    def rank(self) -> tuple[bool, ...]:
        """Sorts patterns of one length: those with literal segments further left come first."""
        return tuple(segment.startswith(":") for segment in self.segments)

    def match(self, segments: Segments) -> Pairs | None:
        """The parameters when this pattern takes the path, else None."""
        if len(segments) != len(self.segments):
            return None
        params: list[tuple[str, str]] = []
        for expected, given in zip(self.segments, segments, strict=True):
            if expected.startswith(":"):
                params.append((expected[1:], given))
            elif expected != given:
                return None
        return tuple(params)


def _check_bound(segment: str) -> None:
    if segment in ("", ".", "..") or _FORBIDDEN.search(segment) is not None:
        raise BadPath(f"{segment[:80]!a} is not a segment of a path that can be bound")
    if segment.startswith(":") and _PARAMETER.fullmatch(segment[1:]) is None:
        raise BadPath(f"{segment[:80]!a} does not name a parameter: write ':' and a word")
    try:
        segment.encode()
    except UnicodeEncodeError:
        raise BadPath("a bound path is not UTF-8") from None
