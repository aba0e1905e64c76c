"""Views of a guest's memory and of the engine's arguments: made seldom, and never of more than there is."""

from __future__ import annotations

import ctypes

import pytest

from guesthouse.wasm.abi.memory import GuestMemory
from guesthouse.wasm.abi.signatures import lower_result
from guesthouse.wasm.abi.value_budget import has_pointers
from guesthouse.wasm.engine.native import slots
from guesthouse.wasm.errors import GuestTrap, WrongType
from guesthouse.wasm.types import (
    STRING,
    U8,
    U32,
    EnumOf,
    ListOf,
    OptionOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.wasm.values import Err, Utf8


class Growing:
    """A memory of which only the first bytes are the guest's yet."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(range(64))
        self.size = size
        self.asked = 0
        self._keep = (ctypes.c_char * 64).from_buffer(self.bytes)
        self.memory = GuestMemory(lambda: ctypes.addressof(self._keep), self._size_now)
        self.asked = 0

    def _size_now(self) -> int:
        self.asked += 1
        return self.size


def test_the_engine_is_asked_for_the_size_only_when_something_lies_beyond_the_view() -> None:
    growing = Growing(16)
    memory = growing.memory
    growing.size = 32
    assert (memory.size, memory.view.nbytes, growing.asked) == (16, 16, 0)
    view, size = memory.check(16, 16)
    assert (size, view.nbytes, memory.size, growing.asked) == (32, 32, 32, 1)
    assert view[31] == 31
    assert view is memory.view


@pytest.mark.parametrize(("offset", "size"), [(32, 1), (0, 33), (2**32 - 1, 2**32 - 1)])
def test_what_lies_outside_of_a_memory_that_grew_is_refused(offset: int, size: int) -> None:
    growing = Growing(16)
    growing.size = 32
    with pytest.raises(GuestTrap, match="outside of its memory of 32 bytes"):
        growing.memory.check(offset, size)
    assert growing.memory.view.nbytes == 32


def test_views_of_arguments_are_kept_by_address_and_not_without_end() -> None:
    data = bytearray(range(256)) * 16
    keep = (ctypes.c_char * len(data)).from_buffer(data)
    start = ctypes.addressof(keep)
    view_of = slots(4)
    first = view_of(start)
    assert first is view_of(start)
    assert (first.nbytes, bytes(first), bytes(view_of(start + 3))) == (4, bytes(range(4)), bytes(range(3, 7)))
    data[0] = 99
    assert first[0] == 99
    views: dict[int, memoryview] = view_of.__self__  # type: ignore[attr-defined] # the method of a dict
    for at in range(0, len(data), 4):
        view_of(start + at)
        assert len(views) <= 256
    assert bytes(view_of(start + 8)) == bytes(range(8, 12))


@pytest.mark.parametrize(
    ("type_", "value", "points"),
    [
        (ResultOf(None, EnumOf(("full", "gone"))), Err("gone"), False),
        (TupleOf((U32, EnumOf(("text", "binary")))), (7, "binary"), False),
        (OptionOf(U32), 7, False),
        (OptionOf(STRING), Utf8(b"abc"), True),
        (OptionOf(ListOf(U8)), b"abc", True),
        (ListOf(U32), [7], True),
        (
            VariantOf((("none", None), ("deep", TupleOf((U32, OptionOf(ListOf(U32))))))),
            ("deep", (7, [7])),
            True,
        ),
    ],
    ids=lambda part: str(part)[:24],
)
def test_only_results_that_refer_to_other_memory_need_the_guests_allocator(
    type_: WitType, value: object, points: bool
) -> None:
    asked: list[int] = []

    def allocate(alignment: int, size: int) -> int:
        asked.append(size)
        return 40

    memory = Growing(64).memory
    memory.allocate = allocate
    lower_result(type_, (), lambda name: 0).write(value, memory, 0)
    assert has_pointers(type_) is bool(asked) is points


@pytest.mark.parametrize(("type_", "value"), [(STRING, b"abc"), (ListOf(U8), Utf8(b"abc")), (STRING, 7)])
def test_an_optional_text_is_no_bytes_and_bytes_are_no_text(type_: WitType, value: object) -> None:
    with pytest.raises(WrongType):
        lower_result(OptionOf(type_), (), lambda name: 0).write(value, Growing(64).memory, 0)
