"""Notes, when a component is built, which objects of the interpreter outlive every process: `lasting.py` reads the note
in the finished component.
"""

from __future__ import annotations

import gc
import types
from array import array
from collections.abc import Iterable
from typing import Any, Final

BEGINNING: Final = (b"guesthouse:", b"lasting-objects:")
"""Of a note, in two parts: joined, it is in the component only where a note is."""
WORD: Final = "L"
"""The code of an address, in `array`: as wide as a pointer."""

_KINDS: Final = frozenset(
    (
        types.BuiltinFunctionType,
        types.CellType,
        types.ClassMethodDescriptorType,
        types.CodeType,
        types.FunctionType,
        types.GenericAlias,
        types.GetSetDescriptorType,
        types.MappingProxyType,
        types.MemberDescriptorType,
        types.MethodDescriptorType,
        types.ModuleType,
        types.WrapperDescriptorType,
        *(bytes, classmethod, complex, float, frozenset, int, property, staticmethod, str, tuple, type),
    )
)
"""What code consists of. Others, as an app's own and its lists and dicts, are freed once nothing refers to them."""


def lasting_note() -> bytes:
    """Addresses of the objects that there are now, each followed by the address of its type."""
    gc.collect()
    found = _found(gc.get_objects())
    total = sum(found) & 0xFFFF_FFFF
    numbers = len(found).to_bytes(4, "little") + total.to_bytes(4, "little")
    return b"".join((*BEGINNING, numbers, found.tobytes()))


def _found(tracked: Iterable[Any]) -> array[int]:
    found, seen = array(WORD), set[int]()
    for each in tracked:
        if not _lasts(each):
            continue
        found.extend((id(each), id(type(each))))
        of_code = isinstance(each, types.ModuleType | type)  # has a dict of names, which lasts, too
        left = [
            part
            for part in gc.get_referents(each)
            if not gc.is_tracked(part) or (of_code and type(part) is dict)
        ]
        while left:
            part = left.pop()
            if id(part) in seen or not (type(part) is dict or type(part) in _KINDS):
                continue
            seen.add(id(part))
            found.extend((id(part), id(type(part))))
            left += _untracked_parts(part)
    return found


def _lasts(value: Any) -> bool:
    return type(value) in _KINDS or isinstance(value, type)


def _untracked_parts(value: Any) -> list[Any]:
    """What an object refers to that the garbage collector does not list."""
    if type(value) is types.CodeType:
        names = (value.co_name, value.co_qualname, value.co_filename, value.co_names, value.co_consts)
        return [*names, value.co_linetable, value.co_exceptiontable, *value.co_names, *value.co_consts]
    if type(value) is tuple:
        return list(value)
    if type(value) is dict:
        return [
            part for part in gc.get_referents(value) if not gc.is_tracked(part) and type(part) is not dict
        ]
    return []
