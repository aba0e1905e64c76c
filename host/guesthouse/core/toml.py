"""TOML from people and packages. Whatever is wrong with it is one error, with what to do."""

from __future__ import annotations

import tomllib
from typing import Any, Final

MOST_BYTES: Final = 256 * 1024
MOST_DOTS: Final = 64
"""In one line, so that no key has more parts: reading one takes the time of their number squared."""
_LONGEST: Final = 200


class NotToml(ValueError):
    """A text is not TOML; the message goes after the file's name."""


def parse_toml(content: bytes) -> dict[str, Any]:
    """Read the bytes of a TOML file. A byte order mark, which editors of some systems write, is no part of it.

    Raises:
        NotToml: they are not TOML, or more of it than any file of ours has.
    """
    if len(content) > MOST_BYTES:
        raise NotToml(f"is over {MOST_BYTES} bytes: it is to be a short text")
    if any(line.count(b".") > MOST_DOTS for line in content.splitlines()):
        raise NotToml(f"has a line with over {MOST_DOTS} dots: write it in several")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise NotToml("is not UTF-8 text: save it as UTF-8") from None
    except RecursionError:
        raise NotToml("nests too deeply: write it flat") from None
    except ValueError as error:  # a number of thousands of digits too, which is no `TOMLDecodeError`
        raise NotToml(f"is not TOML: {_one_line(str(error))}; fix that line") from None


def _one_line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
