"""JSON requests to runtime modules, and their answers. Pure.

A request is in serde's externally tagged form: `"Name"`, or `{"Name": fields}`. Bytes are lists of numbers, as
serde writes them, or a string, which stands for its UTF-8.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from guesthouse.core.json_text import MOST_BYTES, read_json

OK: Final = b'{"Ok":null}'


class BadRequest(Exception):
    """A request is not of a known form; the text says why."""


def parse(body: bytes, most_bytes: int = MOST_BYTES) -> Any:
    """Decode a request's body.

    Raises:
        BadRequest: it is not JSON, or too large.
    """
    try:
        return read_json(body, most_bytes)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadRequest("the body is not JSON") from None
    except ValueError as error:
        raise BadRequest(f"the body is not a request: {error}") from None


def tagged(value: Any) -> tuple[str, Any]:
    """The name and the fields of an externally tagged value; None for the fields when there are none.

    Raises:
        BadRequest: it is something else.
    """
    if isinstance(value, str):
        return value, None
    if isinstance(value, dict) and len(value) == 1:
        ((name, fields),) = value.items()
        return name, fields
    raise BadRequest("an action is a name, or an object with one name")


def field(fields: Any, name: str, kind: type, default: Any = ...) -> Any:
    """A field of a type; required unless it has a default.

    Raises:
        BadRequest: it is missing, or of another type.
    """
    value = fields.get(name, default) if isinstance(fields, dict) else default
    if value is default and default is not ...:
        return value
    if value is ... or (kind is not object and type(value) is not kind):
        raise BadRequest(f"{name} is missing, or not of type {kind.__name__}")
    return value


def as_bytes(value: Any, name: str) -> bytes:
    """Bytes from a list of numbers or a string.

    Raises:
        BadRequest: it is neither.
    """
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, list) and all(type(item) is int for item in value):
            return bytes(value)
    except ValueError:  # a number that is not a byte
        pass
    raise BadRequest(f"{name} is neither a list of bytes nor a string")


def encoded(value: Any) -> bytes:
    """Encode an answer's body."""
    return json.dumps(value, separators=(",", ":")).encode()


def error(kind: str, text: str | None = None) -> bytes:
    """An `Err` answer."""
    return encoded({"Err": kind if text is None else {kind: {"error": text}}})
