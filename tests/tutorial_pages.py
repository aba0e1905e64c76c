"""Reads the tutorials of `docs/`, so that tests can do what they say.

A page's code blocks with a `title="…"` are files of the package; `console` blocks are commands, after `$`, and what
they print. In a content tab (`=== "Python"`) are those for one language.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).parents[1] / "docs"
_TAB: Final = re.compile(r'=== "(.+)"')
_FENCE: Final = re.compile(r'( *)```(\w+)(?: title="([^"]+)")?')


@dataclass(frozen=True)
class File:
    """A file of the package."""

    path: str
    content: str


@dataclass(frozen=True)
class Command:
    """A command, and what it prints; None where the page does not say."""

    line: str
    output: str | None


def tabs(page: str) -> set[str]:
    """The languages that a page is in."""
    return set(_TAB.findall((DOCS / page).read_text()))


def steps(page: str, tab: str | None = None) -> Iterator[File | list[Command]]:
    """What the page has one do, in its order: files to write, and blocks of commands."""
    lines = iter((DOCS / page).read_text().splitlines())
    inside: str | None = None
    for line in lines:
        if line and not line.startswith(" "):
            found = _TAB.fullmatch(line)
            inside = found[1] if found else None
        fence = _FENCE.fullmatch(line)
        if fence is None:
            continue
        indent, language, title = fence[1], fence[2], fence[3]
        block = []
        for inner in lines:
            if inner == f"{indent}```":
                break
            block.append(inner)
        if inside not in (None, tab):
            continue
        text = textwrap.dedent("\n".join(block)) + "\n"
        if language == "console":
            yield list(_commands(text))
        elif title:
            yield File(title, text)


def _commands(text: str) -> Iterator[Command]:
    first, *others = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not first, f"a console block begins with what is no command: {first}"
    for each in others:
        line, _, output = each.partition("\n")
        yield Command(line, output.strip() or None)
