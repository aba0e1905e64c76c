"""How WIT values look in Python.

bool, integers, floats: themselves. char: a `str` of one code point. string: `str`, or `Utf8` where a call
asks for it. `list<u8>`:
`bytes`; other lists: `list`. record: `dict` by WIT field name (lowering ignores further keys, so one
host call serves several versions of a record). tuple: `tuple`. variant: `(case, payload)`, or the case's
name alone when it carries nothing. enum: the case's name. option: the value or None; an option whose
payload can itself be None wraps it in `Some`. result: `Ok` or `Err`. flags: a `frozenset` of names.
own and borrow: the host's number of the resource.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import Any, Final

from msgspec import Struct


class Ok(Struct, frozen=True):
    """The good case of a result."""

    value: Any = None


class Err(Struct, frozen=True):
    """The bad case of a result."""

    value: Any = None


class Some(Struct, frozen=True):
    """A present option whose payload may be None."""

    value: Any = None


class Utf8:
    """A string as the UTF-8 that it is known to be."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


_AT_ONCE: Final = 1024 * 1024
_new_decoder: Final = getincrementaldecoder("utf-8")


def check_utf8(data: bytes) -> None:
    """See that bytes are UTF-8. The text that is made of them to find out, which may take four times as much, is of a
    MiB at a time.

    Raises:
        UnicodeDecodeError: they are not.
    """
    if len(data) <= _AT_ONCE:
        data.decode()
        return
    decode, view = _new_decoder().decode, memoryview(data)
    for start in range(0, len(data), _AT_ONCE):
        decode(view[start : start + _AT_ONCE])
    decode(b"", final=True)


class FirstOf(Struct, frozen=True):
    """A case of a variant or enum that a component's own type may not have, as components are built against
    contracts of any age: of these cases, each with what it carries, the first that the type has is taken.
    """

    cases: tuple[tuple[str, Any], ...]


class Form(Struct, frozen=True, eq=False):
    """A result that is the same each time but for the fields of one record.

    A call that offers the form returns `(form, *values)`. Where the import's type has it, its tree was
    made when the import was linked, and only the fields are written anew.
    """

    path: tuple[str, ...]
    """From the result down to the record: `ok`, `err`, or the name of a variant's case."""
    fields: tuple[str, ...]

    def expand(self, values: tuple[Any, ...]) -> Any:
        """The same as a value of its type."""
        value: Any = dict(zip(self.fields, values, strict=True))
        for step in reversed(self.path):
            value = {"ok": Ok, "err": Err}[step](value) if step in ("ok", "err") else (step, value)
        return value


OK: Final = Ok()


class Oversize(Struct, frozen=True):
    """Stands for bytes that are more than a call takes, which were not read. A call that may get it says what is too
    big by its length; anything else that is done with it raises.
    """

    size: int

    def __len__(self) -> int:
        return self.size


MAX_LIST: Final = 65_536
"""Elements of a list that a guest may pass, other than bytes: millions would hold the worker for seconds."""

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
