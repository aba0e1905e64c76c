"""The JSON forms of requests to runtime modules and of their answers. Pure.

A request is serde's externally tagged form: `"Name"`, or `{"Name": fields}`. Bytes are lists of numbers, as
serde writes them, or text, which stands for its UTF-8.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from guesthouse.core.json_text import MOST_BYTES, read_json

OK: Final = b'{"Ok":null}'


class BadRequest(Exception):
    """A request is not of a known form; the text says what is wrong with it."""


def parse(body: bytes, most_bytes: int = MOST_BYTES) -> Any:
    """Read a request's body.

    Raises:
        BadRequest: it is not JSON, or more than that.
    """
    try:
        return read_json(body, most_bytes)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise BadRequest("the body is not JSON") from None
    except ValueError as error:
        raise BadRequest(f"the body is no request: {error}") from None


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
    """A field of that type; without a default it has to be there.

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
    """Bytes from a list of numbers or a text.

    Raises:
        BadRequest: it is neither.
    """
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, list) and all(type(item) is int for item in value):
            return bytes(value)
    except ValueError:  # a number that is no byte
        pass
    raise BadRequest(f"{name} is neither a list of bytes nor a text")


def encoded(value: Any) -> bytes:
    """An answer's body."""
    return json.dumps(value, separators=(",", ":")).encode()


def error(kind: str, text: str | None = None) -> bytes:
    """An answer that says why not."""
    return encoded({"Err": kind if text is None else {kind: {"error": text}}})
