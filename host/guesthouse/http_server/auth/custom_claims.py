"""Custom claims: a small JSON object that whoever issues a token puts into it, for the process whose clients show it.
Pure.

They travel as text, from the token to the guest, so that no number is changed on the way.
"""

from __future__ import annotations

import json
from typing import Any, Final

from guesthouse.core.errors import GuesthouseError
from guesthouse.core.json_text import read_json

MOST_BYTES: Final = 1024
"""Of UTF-8, without white space: a token with them still fits a cookie."""
MOST_VALUES: Final = 64
"""Members and elements in all, at any depth."""
MOST_LEVELS: Final = 16
_MOST_WRITTEN: Final = 16 * MOST_BYTES
"""As they are given, with white space and escapes."""


class BadClaims(GuesthouseError):
    """Claims cannot be put into a token."""


class _DuplicateName(ValueError):
    """An object has two members of one name, of which decoders choose different ones."""


def read_custom_claims(text: bytes) -> str | None:
    """Check claims and write them without white space; None for `null` and for nothing at all.

    Raises:
        BadClaims: they are not a JSON object, or one that is too large.
    """
    if not text.strip():
        return None
    try:
        read_json(text, _MOST_WRITTEN)
        claims = json.loads(text, object_pairs_hook=_object)
    except _DuplicateName as error:
        raise BadClaims(f"claims: {error}") from None
    except (ValueError, RecursionError):
        raise BadClaims("claims: they are not JSON in UTF-8, or far too large") from None
    return None if claims is None else _written(claims)


def read_signed_claims(claims: object) -> str | None:
    """The same of a token that this node has signed; None if they are no claims."""
    try:
        return _written(claims)
    except BadClaims:
        return None


def _written(claims: object) -> str:
    if not isinstance(claims, dict):
        raise BadClaims("claims: they are not a JSON object")
    if _values(claims, 1) > MOST_VALUES:
        raise BadClaims(f"claims: they have more than {MOST_VALUES} values")
    written = json.dumps(claims, ensure_ascii=False, separators=(",", ":"))
    if len(written.encode(errors="replace")) > MOST_BYTES:
        raise BadClaims(f"claims: they take more than {MOST_BYTES} bytes without white space")
    return written


def _values(value: Any, level: int) -> int:
    """How many values one holds.

    Raises:
        BadClaims: it is nested too deeply.
    """
    if not isinstance(value, dict | list):
        return 0
    if level > MOST_LEVELS:
        raise BadClaims(f"claims: they are nested more than {MOST_LEVELS} levels deep")
    held = value.values() if isinstance(value, dict) else value
    return len(value) + sum(_values(each, level + 1) for each in held)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _DuplicateName("a name is twice in one object")
    return made
