"""Checks before a value crosses to the host: what does not fit its WIT type would end the process."""

from __future__ import annotations

from typing import Final

U16_MAX: Final = (1 << 16) - 1
U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1


def checked_text(value: object, what: str) -> str:
    """Return `value` when it is text that has a UTF-8 form.

    Raises:
        TypeError: it is no str.
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


def checked_bytes(value: object, what: str) -> bytes:
    """Return `value` as bytes when it is bytes, a bytearray or a memoryview.

    Raises:
        TypeError: it is neither; an int would quietly have become so many zeros.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"{what} must be bytes, not {type(value).__name__}")


def checked_int(value: object, what: str, low: int, high: int) -> int:
    """Return `value` when it is an int from `low` to `high`.

    Raises:
        TypeError: it is no int.
        ValueError: it is out of that range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{what} must be from {low} to {high}, not {value}")
    return value
