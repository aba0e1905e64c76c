"""Checks values before they are passed to the host: what does not fit its WIT type would end the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

U16_MAX: Final = (1 << 16) - 1
U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1
MAX_ELEMENTS: Final = 65_536
"""Elements of a list that is passed to the host, bytes and strings aside: a longer one would end the process."""
MAX_HEADERS: Final = 1024
"""Headers of an HTTP response."""
MAX_SUBPROTOCOLS: Final = 256
"""Subprotocols of a binding; the host has a lower limit of its own."""
MAX_NAMED: Final = 256
"""Capabilities and processes in one call."""
MAX_ON_EXIT: Final = 64
"""Requests of an on-exit."""

T = TypeVar("T")


def checked_list(values: Iterable[T], what: str, most: int = MAX_ELEMENTS) -> list[T]:
    """Return values as a list that the host accepts.

    Raises:
        ValueError: there are too many.
    """
    elements = list(values)
    if len(elements) > most:
        raise ValueError(f"{what} may be at most {most}, not {len(elements)}: pass fewer")
    return elements


def in_parts(values: list[T]) -> Iterator[list[T]]:
    """Split values into lists that the host accepts, in order."""
    if len(values) <= MAX_ELEMENTS:
        yield values
    else:
        yield from (values[at : at + MAX_ELEMENTS] for at in range(0, len(values), MAX_ELEMENTS))


def checked_text(value: object, what: str) -> str:
    """Return `value` if it is a string that can be encoded as UTF-8.

    Raises:
        TypeError: it is not a str.
        ValueError: it has a lone surrogate.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{what} has no UTF-8 form: {error}") from None
    return value


MESSAGE: Final = "a str or bytes (or see send_json)"
"""What a message can be, in errors."""


def checked_bytes(value: object, what: str, wanted: str = "bytes") -> bytes:
    """Return `value` as bytes when it is bytes, a bytearray or a memoryview.

    Raises:
        TypeError: it is neither; an int would silently become that many zeros.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"{what} must be {wanted}, not {type(value).__name__}")


def checked_int(value: object, what: str, low: int, high: int) -> int:
    """Return `value` if it is an int from `low` to `high`.

    Raises:
        TypeError: it is not an int.
        ValueError: it is out of that range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{what} must be from {low} to {high}, not {value}")
    return value
