"""Views of a guest's memory and of the engine's arguments: made seldom, and never of more than there is."""

from __future__ import annotations

import ctypes
import gc

import pytest
from wasmtime import wat2wasm

from guesthouse.wasm.abi.memory import GuestMemory
from guesthouse.wasm.abi.signatures import lower_result
from guesthouse.wasm.abi.value_budget import has_pointers
from guesthouse.wasm.engine.native import MOST_KEPT, slots
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

from ...boundary.harness import Calls, apart, guest, run


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
    data = bytearray(range(256)) * (2 * MOST_KEPT * 4 // 256)
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
        assert len(views) <= MOST_KEPT
    assert bytes(view_of(start + 8)) == bytes(range(8, 12))


def calls_of_many_functions(count: int, depth: int) -> bytes:
    """A component that lowers a call so often, and makes each of them from so many places of its stack."""
    claims = '(export "claims" (func (param "channel-id" u32) (result (option string))))'
    imports = "".join(f'(import "host" "f{n}" (func $f{n} (param i32 i32)))' for n in range(count))
    calls = "".join(f"(call $f{n} (i32.const 7) (i32.const 64))" for n in range(count))
    deep = f"""(func $deep (param i32) (if (i32.eqz (local.get 0)) (then return))
      {calls} (call $deep (i32.sub (local.get 0) (i32.const 1))))"""
    text = guest(f"(call $deep (i32.const {depth}))", claims, more=imports + deep)
    lowered = '(canon lower (func $host "claims") (memory $memory) (realloc $realloc))'
    assert lowered in text
    made = "".join(f"(core func $f{n} {lowered})" for n in range(count))
    given = "".join(f'(export "f{n}" (func $f{n}))' for n in range(count))
    text = text.replace("(core module $main", f"{made}(core module $main", 1)
    return bytes(wat2wasm(text.replace('(export "claims" (func $claims))', given, 1)))


def test_all_functions_share_them() -> None:
    """A guest has 1,500 functions, and calls each from as many places of its stack as it likes: it is charged for no
    view.
    """
    count, depth = 64, 128
    heard: list[int] = []
    component = apart(
        calls_of_many_functions(count, depth),
        Calls({"claims": lambda owner, channel_id: heard.append(channel_id)}),
        ("test:types/guest", "run"),
    )
    run(component)
    assert heard == [7] * count * depth
    kinds = {type(slots(4).__self__)}  # type: ignore[attr-defined] # the method of a dict
    kept = [each for each in gc.get_objects() if type(each) in kinds]
    assert len(kept) < count
    assert sum(map(len, kept)) < count * depth


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
