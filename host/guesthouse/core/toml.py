"""TOML of users and packages. Every fault is one error, with the remedy."""

from __future__ import annotations

from typing import Any, Final

MOST_BYTES: Final = 256 * 1024
MOST_DOTS: Final = 64
"""Per line, which bounds the parts of a key: parsing takes time quadratic in them."""
_LONGEST: Final = 200


class NotToml(ValueError):
    """A text is not TOML; the message follows the file's name."""


def parse_toml(content: bytes) -> dict[str, Any]:
    """Decode a TOML file, with or without a byte order mark.

    Raises:
        NotToml: it is not TOML, or too large.
    """
    if len(content) > MOST_BYTES:
        raise NotToml(f"is over {MOST_BYTES} bytes: shorten it")
    if any(line.count(b".") > MOST_DOTS for line in content.splitlines()):
        raise NotToml(f"has a line with over {MOST_DOTS} dots: write it in several")
    import tomllib  # most nodes have no file of settings, and start without it

    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise NotToml("is not UTF-8 text: save it as UTF-8") from None
    except RecursionError:
        raise NotToml("nests too deeply: write it flat") from None
    except ValueError as error:  # a huge number raises no `TOMLDecodeError`
        raise NotToml(f"is not TOML: {_one_line(str(error))}; fix that line") from None


def _one_line(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
