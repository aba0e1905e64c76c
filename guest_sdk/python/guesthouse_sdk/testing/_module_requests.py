"""The forms of requests to the fake host's runtime modules, and of their answers."""

from __future__ import annotations

import json
from typing import Any, Final

Reply = tuple[bytes, bytes | None]
"""The body of an answer, and its blob."""

OK: Final = b'"Ok"'


class BadRequest(Exception):
    """A request is not of a known form."""


def parse(body: bytes) -> Any:
    """Decode a request.

    Raises:
        BadRequest: it is not JSON.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None


def tagged(value: Any) -> tuple[str, Any]:
    """Name and fields of `"Name"` or `{"Name": fields}`.

    Raises:
        BadRequest: it is neither.
    """
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict) and len(value) == 1:
        return next(iter(value.items()))
    raise BadRequest("an action is a name, or an object with one name")


def as_bytes(value: Any, name: str) -> bytes:
    """Bytes from text or a list of numbers.

    Raises:
        BadRequest: it is neither.
    """
    try:
        return value.encode() if isinstance(value, str) else bytes(list(value))
    except (TypeError, ValueError):
        raise BadRequest(f"{name} is neither a list of bytes nor a string") from None


def encoded(value: Any) -> bytes:
    """The body of an answer."""
    return json.dumps(value, separators=(",", ":")).encode()


def error(kind: str, text: str | None = None) -> bytes:
    """An answer that says why not."""
    return encoded({"Err": kind if text is None else {kind: {"error": text}}})
