from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from tests.tiers import thorough_after

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.abi.lift import NO_LIMIT, ArgumentLimit
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.abi.signatures import Slots, lift_arguments, lower_result
from guesthouse.wasm.abi.value_budget import MAX_VALUES, SHARED_BYTES
from guesthouse.wasm.engine.host_functions import SMALL_BYTES, Beyond
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.types import (
    BOOL,
    CHAR,
    S8,
    S16,
    STRING,
    U8,
    U16,
    U32,
    U64,
    EnumOf,
    FlagsOf,
    ListOf,
    OptionOf,
    RecordOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.wasm.values import MAX_LIST, Err, Ok, Oversize

from .fake_memory import CoreArguments, FakeMemory

SIZE = 64
MEGABYTE = ArgumentLimit(lambda: 1024 * 1024)
TOP = 2**32 - 1


def number(resource: tuple[str, str]) -> int:
    raise AssertionError("no test here passes a handle")


def read(
    type_: WitType,
    *words: int,
    content: bytes = bytes(SIZE),
    utf8: bool = False,
    limit: ArgumentLimit = NO_LIMIT,
) -> Any:
    """One argument from its core arguments, all of which are `i32`."""
    results = []
    for slots in Slots:
        core = CoreArguments([("i32", word) for word in words], *slots.value)
        lifted = lift_arguments((type_,), slots, number, utf8=utf8, limit=limit)
        results.append(lifted(core.address, FakeMemory(content).linear)[0])
    assert results[0] == results[1]
    return results[0]


def in_memory(type_: WitType, content: bytes) -> Any:
    """The one element of a list, which stands at the front of the memory."""
    return read(ListOf(type_), 0, 1, content=content)[0]


def refused(match: str, run: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    with pytest.raises(GuestTrap, match=match) as caught:
        run(*arguments, **options)
    assert caught.value.cause == ExitCause.TRAP


@pytest.mark.parametrize("type_", [STRING, ListOf(U8), ListOf(BOOL)], ids=["text", "bytes", "bools"])
def test_bytes_are_taken_up_to_the_last_of_the_memory_and_no_further(type_: WitType) -> None:
    assert len(read(type_, 0, SIZE)) == SIZE
    assert len(read(type_, SIZE - 1, 1)) == 1
    assert len(read(type_, SIZE, 0)) == 0
    for start, size in [
        (0, SIZE + 1),
        (SIZE - 1, 2),
        (SIZE, 1),
        (SIZE + 1, 0),
        (TOP, 0),
        (TOP, 1),
        (8, 65_530),
    ]:
        refused(f"pointed to {size} bytes at {start}, outside of its memory", read, type_, start, size)


@pytest.mark.parametrize("type_", [U64, TupleOf((U64, U8))], ids=["numbers", "tuples"])
def test_elements_are_taken_up_to_the_last_of_the_memory_and_no_further(type_: WitType) -> None:
    size = 8 if type_ == U64 else 16
    assert len(read(ListOf(type_), 0, SIZE // size)) == SIZE // size
    assert read(ListOf(type_), SIZE, 0) == []
    for start, count in [(0, SIZE // size + 1), (SIZE, 1), (SIZE + 8, 0), (TOP - 7, 0), (8, SIZE // size)]:
        refused("outside of its memory", read, ListOf(type_), start, count)


@pytest.mark.parametrize(
    ("element", "align"),
    [
        (U16, 2),
        (CHAR, 4),
        (U64, 8),
        (STRING, 4),
        (OptionOf(U16), 2),
        (EnumOf(tuple(map(str, range(257)))), 2),
    ],
    ids=lambda part: str(part)[:24],
)
def test_a_list_begins_at_a_multiple_of_its_elements_alignment(element: WitType, align: int) -> None:
    assert len(read(ListOf(element), align, 2)) == 2
    for start in (align // 2, align + 1, SIZE - 1):
        for count in (0, 1):
            refused(f"not a multiple of {align}", read, ListOf(element), start, count)


def test_a_list_has_as_many_elements_as_the_limit_and_no_more() -> None:
    content = bytes(2 * MAX_LIST + 2)
    assert len(read(ListOf(U16), 0, MAX_LIST, content=content)) == MAX_LIST
    refused("65537 elements", read, ListOf(U16), 0, MAX_LIST + 1, content=content)
    refused(f"{TOP} elements", read, ListOf(EnumOf(("a",))), 0, TOP, content=content)
    assert len(read(ListOf(U8), 0, MAX_LIST + 1, content=content)) == MAX_LIST + 1


def test_a_memory_that_grew_is_asked_for_its_size_anew() -> None:
    sizes = iter([SIZE, 2 * SIZE])
    fake = FakeMemory(b"x" * (2 * SIZE))
    memory = LinearMemory(lambda: fake.linear.base, lambda: next(sizes))
    core = CoreArguments([("i32", SIZE), ("i32", SIZE)], *Slots.RAW.value)
    lifted = lift_arguments((STRING,), Slots.RAW, number)
    refused("outside of its memory of 64 bytes", lifted, core.address, memory)
    memory.look()
    assert lifted(core.address, memory) == ("x" * SIZE,)


NOT_UTF8 = [
    b"\x80",
    b"\xc0\x80",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xff",
    b"ok\xe2\x82",
    b"\xf8\x88\x80\x80\x80",
]


@pytest.mark.parametrize("data", NOT_UTF8, ids=bytes.hex)
def test_text_that_is_not_utf8_is_refused_wherever_it_stands(data: bytes) -> None:
    content = struct.pack("<IIBxxxII", 40, len(data), 1, 40, len(data)).ljust(40, b"\0") + data.ljust(
        24, b"\0"
    )
    for run in (
        lambda: read(STRING, 40, len(data), content=content),
        lambda: read(STRING, 40, len(data), content=content, utf8=True),
        lambda: read(ListOf(STRING), 0, 1, content=content),
        lambda: read(ListOf(OptionOf(STRING)), 8, 1, content=content),
        lambda: read(OptionOf(STRING), 1, 40, len(data), content=content),
    ):
        refused("string that is not UTF-8", run)


def test_text_is_had_as_its_utf8_where_a_call_asks_for_it() -> None:
    data = "é€😀".encode()
    content = struct.pack("<II", 8, len(data)) + data
    assert read(STRING, 8, len(data), content=content, utf8=True) == data
    assert read(STRING, 0, 0, content=content, utf8=True) == b""
    # What holds text further in is as in every other call.
    assert read(ListOf(STRING), 0, 1, content=content, utf8=True) == ["é€😀"]


@pytest.mark.parametrize("count", thorough_after(4, [1, 2, 256, 257, 65_536, 65_537]))
def test_the_number_of_a_case_is_below_the_number_of_cases(count: int) -> None:
    names = tuple(f"n{index}" for index in range(count))
    enum, variant = EnumOf(names), VariantOf(tuple((name, None) for name in names))
    width = 1 if count <= 256 else 2 if count <= 65_536 else 4
    for type_ in (enum, variant):
        assert read(type_, count - 1) == names[-1]
        assert in_memory(type_, (count - 1).to_bytes(width, "little") + bytes(4)) == names[-1]
        for above in {count, TOP, 2**31}:
            refused(f"the case number {above} of a type with {count} cases", read, type_, above)
            if above < 256**width:
                content = above.to_bytes(width, "little") + bytes(4)
                refused(f"the case number {above}", in_memory, type_, content)


@pytest.mark.parametrize(
    "type_", [OptionOf(U8), ResultOf(U8, None), ResultOf(None, None), OptionOf(OptionOf(U8))], ids=str
)
def test_options_and_results_have_two_cases(type_: WitType) -> None:
    padding = (0,) * 2
    for case in (2, 3, 255, 256, TOP):
        refused(f"the case number {case} of a type with 2 cases", read, type_, case, *padding)
        if case < 256:
            refused(f"the case number {case}", in_memory, type_, bytes([case, 0, 0]))


def test_a_wide_payload_is_read_only_in_its_own_case() -> None:
    wide = OptionOf(TupleOf((STRING,) * 7))
    assert read(wide, 0, *[TOP] * 14) is None
    refused("outside of its memory", read, wide, 1, *[TOP] * 14)
    either = ResultOf(STRING, U32)
    assert read(either, 1, TOP, TOP) == Err(TOP)
    refused("outside of its memory", read, either, 0, TOP, TOP)


@pytest.mark.parametrize("code", [0, 0x41, 0xD7FF, 0xE000, 0x10FFFF])
def test_a_char_is_any_scalar_value(code: int) -> None:
    assert read(CHAR, code) == in_memory(CHAR, struct.pack("<I", code)) == chr(code)


@pytest.mark.parametrize("code", [0xD800, 0xDBFF, 0xDFFF, 0x110000, 2**31, TOP])
def test_a_char_is_nothing_else(code: int) -> None:
    refused(f"the char {code}, which", read, CHAR, code)
    refused(f"the char {code}, which", in_memory, CHAR, struct.pack("<I", code))


def test_a_number_in_a_core_argument_is_cut_to_its_width() -> None:
    assert read(U8, 0x1FF) == 255
    assert read(S8, 0x180) == -128
    assert read(U16, 0x54321) == 0x4321
    assert read(S16, 0xFFFF8000) == -(2**15)
    assert read(FlagsOf(("a", "b", "c")), 0xFFFFFFF5) == {"a", "c"}


def test_a_bool_is_true_in_every_form_but_zero() -> None:
    assert [read(BOOL, word) for word in (0, 1, 2, 256, 2**31)] == [False, True, True, True, True]
    assert read(ListOf(BOOL), 0, 4, content=b"\0\1\2\xff") == [False, True, True, True]
    assert read(ListOf(TupleOf((BOOL,))), 0, 3, content=b"\0\x80\2") == [(False,), (True,), (True,)]


def test_a_part_of_a_joined_core_argument_is_cut_to_its_own_type() -> None:
    type_ = VariantOf((("long", U64), ("flag", BOOL), ("case", EnumOf(("a", "b"))), ("letter", CHAR)))
    for slots in Slots:
        lifted = lift_arguments((type_,), slots, number)
        for case, expected in [(0, 2**40), (1, False), (2, "a"), (3, "\0")]:
            core = CoreArguments([("i32", case), ("i64", 2**40)], *slots.value)
            assert lifted(core.address, None)[0][1] == expected


def test_over_sixteen_core_arguments_come_by_address() -> None:
    types, content = (U64,) * 17, struct.pack("<17Q", *range(17))
    for slots in Slots:
        lifted = lift_arguments(types, slots, number)
        memory = FakeMemory(bytes(8) + content).linear
        assert lifted(CoreArguments([("i32", 8)], *slots.value).address, memory) == tuple(range(17))
        for start, match in [
            (4, "not a multiple of 8"),
            (16, "outside"),
            (TOP - 7, "outside"),
            (2**31, "outside"),
        ]:
            core = CoreArguments([("i32", start)], *slots.value)
            refused(match, lifted, core.address, memory)


def test_a_list_of_pointers_to_the_same_text_is_not_copied_without_end() -> None:
    size = 1024 * 1024
    count = SHARED_BYTES // size + 1
    content = struct.pack("<II", 1024, size - 1024) * 64
    content = content.ljust(1024, b"x").ljust(size, b"x")
    assert len(read(ListOf(STRING), 0, count, content=content, limit=MEGABYTE)) == count
    refused("bytes in one call", read, ListOf(STRING), 0, count + 1, content=content, limit=MEGABYTE)
    many = TupleOf((STRING,) * 64)
    refused("bytes in one call", read, ListOf(many), 0, 1, content=content, limit=MEGABYTE)


def test_many_pointers_to_the_same_text_in_one_argument_are_not_copied_without_end() -> None:
    size, count = 1024 * 1024, 64
    content = struct.pack("<III", 1, 1024, size - 1024) * count
    content = content.ljust(1024, b"x").ljust(size, b"x")
    few = TupleOf((OptionOf(STRING),) * (SHARED_BYTES // size + 1))
    assert len(read(ListOf(few), 0, 1, content=content, limit=MEGABYTE)[0]) == SHARED_BYTES // size + 1
    many = ListOf(TupleOf((OptionOf(STRING),) * count))
    refused("bytes in one call", read, many, 0, 1, content=content, limit=MEGABYTE)


@pytest.mark.parametrize("type_", [STRING, ListOf(U8)], ids=["text", "bytes"])
def test_the_length_of_text_and_bytes_is_looked_at_before_any_is_read(type_: WitType) -> None:
    content = bytes([0xFF]) * (SMALL_BYTES + 3)  # no UTF-8: to read it would trap otherwise
    small = ArgumentLimit(lambda: SMALL_BYTES)
    assert len(read(type_, 0, SMALL_BYTES, content=bytes(SMALL_BYTES), limit=small)) == SMALL_BYTES
    refused(
        "passed 65537 bytes to a call that takes 65536",
        read,
        type_,
        0,
        SMALL_BYTES + 1,
        content=content,
        limit=small,
    )
    for size in (2**31, TOP):
        refused("outside of its memory", read, type_, 0, size, content=content, limit=small)


def test_a_call_may_be_told_of_bytes_that_are_too_many_instead_of_getting_them() -> None:
    content, limit = bytes([0xFF]) * (SMALL_BYTES + 3), ArgumentLimit(lambda: SMALL_BYTES, Beyond.MARK)
    found = read(ListOf(U8), 1, SMALL_BYTES + 1, content=content, limit=limit)
    assert isinstance(found, Oversize)
    assert len(found) == SMALL_BYTES + 1
    assert isinstance(read(STRING, 1, SMALL_BYTES + 1, content=content, utf8=True, limit=limit), Oversize)
    refused("to a call that takes", read, STRING, 1, SMALL_BYTES + 1, content=content, limit=limit)


def test_a_call_may_get_the_beginning_of_a_long_text() -> None:
    content, limit = "é".encode() * SMALL_BYTES, ArgumentLimit(lambda: SMALL_BYTES, Beyond.CUT)
    assert read(STRING, 1, SMALL_BYTES + 1, content=b"x" + content, limit=limit) == "é" * (SMALL_BYTES // 2)
    assert read(STRING, 0, SMALL_BYTES + 1, content=b"x" + content, limit=limit) == "x" + "é" * (
        SMALL_BYTES // 2 - 1
    )
    refused("to a call that takes", read, ListOf(U8), 0, SMALL_BYTES + 1, content=content, limit=limit)


def test_a_list_of_pointers_to_the_same_list_is_not_read_without_end() -> None:
    most = MAX_VALUES // MAX_LIST
    content = struct.pack("<II", 1024, MAX_LIST) * most
    content = content.ljust(1024, b"\0") + bytes(MAX_LIST)
    # The lists themselves are values too.
    refused("values in one call", read, ListOf(ListOf(BOOL)), 0, most, content=content)
    assert len(read(ListOf(ListOf(BOOL)), 0, most - 1, content=content)) == most - 1
    # Each call begins anew.
    assert len(read(ListOf(ListOf(BOOL)), 0, most - 1, content=content)) == most - 1


def test_what_is_within_the_elements_of_a_list_counts_too() -> None:
    some = OptionOf(VariantOf((("two", TupleOf((BOOL, BOOL))), ("none", None))))
    wide = RecordOf((("a", TupleOf((U8,) * 10)), ("b", some), ("c", EnumOf(("x",)))))
    within, content = 1 + 11 + 5 + 1, bytes(MAX_LIST * 16)
    most = MAX_VALUES // within
    assert len(read(ListOf(wide), 0, most, content=content)) == most
    refused("values in one call", read, ListOf(wide), 0, most + 1, content=content)


def test_a_component_chooses_no_word_of_the_code_that_reads_its_calls() -> None:
    evil = "x'\"]\n import os\n{}\\"
    record = RecordOf(((evil, U8), ("load", U8)))
    assert read(record, 1, 2) == {evil: 1, "load": 2}
    assert read(EnumOf((evil, "b")), 0) == evil
    assert read(VariantOf(((evil, U8),)), 0, 3) == (evil, 3)
    assert read(FlagsOf((evil,)), 1) == {evil}


@pytest.mark.parametrize("where", [2, 60, SIZE, 2**31, TOP - 3, TOP, -4, -8, 2**32, 2**32 + 8])
def test_a_result_goes_only_where_it_fits(where: int) -> None:
    for value in (Ok(), Err(7)):
        memory = FakeMemory(bytes(SIZE))
        writer = lower_result(ResultOf(None, U32), (), number)
        refused("it pointed to", writer.write, value, memory.linear, where)
        memory.check_guards()
        assert memory.content == bytes(SIZE)


def test_a_result_goes_to_the_very_end_of_the_memory() -> None:
    memory = FakeMemory(bytes(SIZE))
    lower_result(ResultOf(None, U32), (), number).write(Err(7), memory.linear, SIZE - 8)
    assert memory.content[-8:] == struct.pack("<BxxxI", 1, 7)
    memory.check_guards()
