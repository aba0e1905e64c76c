"""WIT values in Python.

- bool, integers, floats: the same. char: a `str` of one code point. string: `str`, or `Utf8` for calls that
  ask for it.
- `list<u8>`: `bytes`; other lists: `list`. tuple: `tuple`.
- record: `dict` by WIT field name (lowering ignores additional keys, so one host call serves several versions).
- variant: `(case, payload)`, or the case's name if it has no payload. enum: the case's name.
- option: the value or None, wrapped in `Some` if the payload can be None. result: `Ok` or `Err`.
- flags: a `frozenset` of names. own and borrow: the host's number of the resource.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import Any, Final

from msgspec import Struct


class Ok(Struct, frozen=True):
    """The ok case of a result."""

    value: Any = None


class Err(Struct, frozen=True):
    """The err case of a result."""

    value: Any = None


class Some(Struct, frozen=True):
    """A present option whose payload may be None."""

    value: Any = None


class Utf8(Struct, frozen=True):
    """A string as validated UTF-8."""

    data: bytes | memoryview


_AT_ONCE: Final = 1024 * 1024
_new_decoder: Final = getincrementaldecoder("utf-8")


def check_utf8(data: bytes | memoryview) -> None:
    """Check that bytes are UTF-8, a MiB at a time, because decoding takes up to four times the memory.

    Raises:
        UnicodeDecodeError: they are not.
    """
    if len(data) <= _AT_ONCE:
        str(data, "utf-8")
        return
    decode, view = _new_decoder().decode, memoryview(data)
    for start in range(0, len(data), _AT_ONCE):
        decode(view[start : start + _AT_ONCE])
    decode(b"", final=True)


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    if data.isascii():
        return True
    try:
        check_utf8(data)
    except UnicodeDecodeError:
        return False
    return True


class FirstOf(Struct, frozen=True):
    """A case of a variant or enum that a component's own type may lack, because components are built against
    contracts of any age: the first of these cases, with payloads, that the type has.
    """

    cases: tuple[tuple[str, Any], ...]


class Form(Struct, frozen=True, eq=False):
    """A result that is constant except for the fields of one record.

    A call with this form returns `(form, *values)`. If the import's type has the form, the constant part was
    lowered when the import was linked, and only the fields are written.
    """

    path: tuple[str, ...]
    """From the result down to the record: `ok`, `err`, or the name of a variant's case."""
    fields: tuple[str, ...]

    def expand(self, values: tuple[Any, ...]) -> Any:
        """The result as a value of its type."""
        value: Any = dict(zip(self.fields, values, strict=True))
        for step in reversed(self.path):
            value = {"ok": Ok, "err": Err}[step](value) if step in ("ok", "err") else (step, value)
        return value


OK: Final = Ok()


class Oversize(Struct, frozen=True):
    """In place of bytes over a call's limit, which were not read. Has their length; any
    other use raises.
    """

    size: int

    def __len__(self) -> int:
        return self.size


MAX_LIST: Final = 65_536
"""Elements of a list from a guest, other than bytes: millions would block the worker for seconds."""

INTEGERS: Final = {
    "s8": "b",
    "u8": "B",
    "s16": "h",
    "u16": "H",
    "s32": "i",
    "u32": "I",
    "s64": "q",
    "u64": "Q",
}
"""Their codes in `struct`."""
