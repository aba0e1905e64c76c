"""Compiles generated source, once for all components: those of one SDK import functions of the same types."""

from __future__ import annotations

from functools import lru_cache
from types import CodeType
from typing import Final

MOST_KEPT: Final = 1024
"""Sources. A Python guest has about twenty until it asks for its first message."""
MOST_CHARACTERS: Final = 8192
"""Of a source that is kept: a component may have types with more."""


def code_of(text: str, name: str) -> CodeType:
    """The code of a source, which tracebacks show by this name."""
    return _kept(text, name) if len(text) <= MOST_CHARACTERS else compile(text, name, "exec")


def indented(text: str, by: str) -> str:
    """Lines of source, further to the right."""
    return "".join(f"{by}{line}" for line in text.splitlines(keepends=True))


@lru_cache(MOST_KEPT)
def _kept(text: str, name: str) -> CodeType:
    return compile(text, name, "exec")
