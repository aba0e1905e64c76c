"""The fake host's bindings: which paths reach the process."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from guesthouse_sdk._native.http_server import BindError_BadPath, BindError_TooMany
from guesthouse_sdk._native.types import Err
from guesthouse_sdk._paths import params_of

_FORBIDDEN = re.compile(r"[/\\*?#\x00-\x1f\x7f]")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)

BindingT = TypeVar("BindingT")


@dataclass
class Bindings(Generic[BindingT]):
    """Paths, with `:name` for a parameter and `*name` for what is left, and what was said about each."""

    has_room: Callable[[], bool]
    bound: dict[str, BindingT] = field(default_factory=dict)

    def bind(self, path: str, binding: BindingT) -> None:
        """Bind a path, again if it was bound.

        Raises:
            Err: with the `bind-error`.
        """
        if not _is_good(path):
            raise Err(BindError_BadPath())
        if path not in self.bound and not self.has_room():
            raise Err(BindError_TooMany())
        self.bound[path] = binding

    def unbind(self, path: str) -> None:
        """Forget a path; one that is not bound is none."""
        self.bound.pop(path, None)

    def match(self, path: str) -> tuple[str, BindingT, dict[str, str]] | None:
        """The bound path that `path` is, its binding, and its parameters. An exact path goes first."""
        if path in self.bound:
            return path, self.bound[path], {}
        for pattern, binding in sorted(self.bound.items(), key=_rank):
            params = params_of(pattern, path)
            if params is not None:
                return pattern, binding, params
        return None


def _rank(bound: tuple[str, object]) -> list[int]:
    """Patterns with literal segments further left come first, and those that go on after the same beginning."""
    return [*({":": 1, "*": 2}.get(segment[:1], 0) for segment in bound[0].split("/")), 3]


def _is_good(path: str) -> bool:
    if path == "/":
        return True
    segments = path[1:].split("/")
    names = [segment[1:] for segment in segments if segment[:1] in (":", "*") and segment != "*"]
    wildcards = sum(segment.startswith("*") for segment in segments)
    good = path.startswith("/") and len(names) == len(set(names)) and wildcards <= 1
    return good and all(map(_is_segment, segments))


def _is_segment(segment: str) -> bool:
    if segment.startswith((":", "*")):
        return segment == "*" or _PARAMETER.fullmatch(segment[1:]) is not None
    return segment not in ("", ".", "..") and _FORBIDDEN.search(segment) is None
