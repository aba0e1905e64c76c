"""The instructions that can take long are found as the engine reads the others."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import Module, WasmtimeError

from guesthouse.wasm.binary.byte_reader import UnsupportedComponent, encoded_number, encoded_section
from guesthouse.wasm.binary.core_module import CODE, read_module
from guesthouse.wasm.binary.instructions import Found, Long, long_instructions

from ...boundary.harness import ENGINE

END = b"\x0b"
FILL = b"\xfc\x0b\x00"
UNREACHABLE = b"\x00"
"""After it the engine takes any values to be there."""
MOST_OPERAND_BYTES = 18
RETURN = b"\x0f"
TAIL = b"\xfd\x0c" + b"\xb0" * 16 + b"\x1a" + RETURN + END
"""A vector that is dropped, and the end. None of it is valid if what comes before it takes its first bytes."""
BLOCKS = (0x02, 0x03, 0x04)
PREFIXES = {0xFB: 64, 0xFC: 64, 0xFD: 512, 0xFE: 128}
OTHER_OPERANDS = {
    b"\x1c": (b"\x01\x7f", b"\x01\x70", b"\x01\x7b"),  # select with a type
    b"\xd0": (b"\x70",),  # ref.null
    b"\x28": (
        b"\x40\x00\x00",
        b"\xc0\x00\x00\x00",
        b"\x80\x80\x00\x80\x00",
    ),  # i32.load, with a memory's number
    b"\xfd\x54": (b"\x40\x00\x00\x0f", b"\x00\x80\x01\x03"),  # v128.load8_lane
    b"\x0e": (b"\x02\x00\x00\x00", b"\x01\x80\x00\x00", b"\x81\x00\x00\x00"),  # br_table
    b"\x02": (b"\x40", b"\x7f", b"\x80\x00"),  # block
    b"\x41": (b"\xff\xff\xff\xff\x07", b"\x80\x80\x80\x80\x78", b"\xfc\x0b\x00"),  # i32.const
    b"\x42": (b"\xff" * 9 + b"\x00", b"\x80" * 9 + b"\x7f"),  # i64.const
    b"\x43": (FILL + b"\x00",),  # f32.const
}


def module(body: bytes) -> bytes:
    """One with a function of this body, and one of everything that it may name."""
    function = b"\x00" + body
    code = b"\x01" + encoded_number(len(function)) + function
    return b"\0asm\x01\0\0\0" + b"".join(
        encoded_section(kind, content)
        for kind, content in (
            (1, b"\x01\x60\x01\x7f\x00"),  # a type: (param i32)
            (3, b"\x01\x00"),
            (4, b"\x01\x70\x00\x01"),
            (5, b"\x01\x00\x01"),
            (6, b"\x01\x7f\x01\x41\x00\x0b"),
            (9, b"\x01\x03\x00\x01\x00"),  # elements, which declare the function
            (12, b"\x01"),
            (10, code),
            (11, b"\x01\x01\x00"),
        )
    )


def is_valid(body: bytes) -> bool:
    try:
        Module.validate(ENGINE, module(body))
    except WasmtimeError:
        return False
    return True


def found_in(body: bytes) -> list[Found]:
    return list(long_instructions(body, 0, len(body)))


def opcodes() -> Iterator[bytes]:
    for opcode in range(256):
        if opcode not in PREFIXES:
            yield bytes((opcode,))
    for prefix, count in PREFIXES.items():
        for number in range(count):
            yield bytes((prefix,)) + encoded_number(number)


def forms(opcode: bytes) -> Iterator[bytes]:
    """The instruction with each of its operands that the engine takes: the shortest of zeros, and odd ones."""
    end = (RETURN + END if opcode[0] in BLOCKS else b"") + TAIL
    zeros = (bytes(count) for count in range(MOST_OPERAND_BYTES))
    shortest = next((each for each in zeros if is_valid(UNREACHABLE + opcode + each + end)), None)
    if shortest is not None:
        yield opcode + shortest
    for operands in OTHER_OPERANDS.get(opcode, ()):
        assert is_valid(UNREACHABLE + opcode + operands + end), (opcode, operands)
        yield opcode + operands


@pytest.mark.slow
def test_every_instruction_that_the_engine_takes_is_read_to_its_end() -> None:
    known = 0
    for form in all_forms():
        known += 1
        *before, last = found_in(form + FILL + END)
        assert last == Found(Long.MEMORY_FILL, len(form), len(form + FILL), (0,), last.length), form.hex()
        assert all(each.end == len(form) for each in before), form.hex()
        assert (last.length is not None) <= (form[0] == 0x41), form.hex()
    assert known > 430  # 172 of WebAssembly 1.0, 236 of vectors, and later ones


@pytest.mark.parametrize(
    ("form", "what", "operands"),
    [
        ("40 00", Long.MEMORY_GROW, (0,)),
        ("d2 05", Long.REF_FUNC, (5,)),
        ("fc 09 01", Long.DATA_DROP, (1,)),
        ("fc 0d 80 01", Long.ELEM_DROP, (128,)),
        ("fc 08 05 00", Long.MEMORY_INIT, (5, 0)),
        ("fc 0a 00 01", Long.MEMORY_COPY, (0, 1)),
        ("fc 8b 80 00 80 00", Long.MEMORY_FILL, (0,)),
        ("fc 0c 81 01 02", Long.TABLE_INIT, (129, 2)),
        ("fc 0e 00 00", Long.TABLE_COPY, (0, 0)),
        ("fc 0f 03", Long.TABLE_GROW, (3,)),
    ],
)
def test_each_of_them_is_found_however_its_numbers_are_written(
    form: str, what: Long, operands: tuple[int, ...]
) -> None:
    content = bytes.fromhex(form)
    assert found_in(content + END) == [Found(what, 0, len(content), operands, None)]


@pytest.mark.parametrize(
    ("constant", "count"),
    [
        ("41 00", 0),
        ("41 3f", 63),
        ("41 40", None),  # -64
        ("41 c0 00", 64),
        ("41 80 80 10", 262144),
        ("41 ff ff ff ff 07", 2**31 - 1),
        ("41 7f", None),
        ("41 80 80 80 80 78", None),
        ("42 05", None),
        ("41 05 01", None),  # nop after it
    ],
)
def test_a_constant_before_it_is_its_count(constant: str, count: int | None) -> None:
    (found,) = found_in(bytes.fromhex(constant) + FILL + END)
    assert found.length == count


@pytest.mark.parametrize(
    "form", ["06 40", "1f 40 00", "fb 00 00", "fe 00 02 00", "fc 20", "fd 94 02", "ff", "1c 02"]
)
def test_what_is_not_known_is_refused(form: str) -> None:
    with pytest.raises(UnsupportedComponent, match="unknown here"):
        found_in(bytes.fromhex(form) + END)


@pytest.mark.parametrize(
    "form", ["41", "41 80", "0e", "0e 05 00", "0e ff ff ff ff 0f", "fc", "fc 0b", "fc 0a 00"]
)
def test_what_is_cut_off_is_refused(form: str) -> None:
    with pytest.raises(UnsupportedComponent):
        found_in(bytes.fromhex(form))


def test_many_instructions_are_read_without_much_memory_or_time() -> None:
    body = (b"\x41\x01\x1a" * 3000 + FILL) * 100 + b"\x01" * 1_000_000 + FILL + END
    assert len(found_in(body)) == 101


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        found = found_in(body)
    except UnsupportedComponent:
        return
    assert all(0 <= each.start < each.end <= len(body) for each in found)


@cache
def all_forms() -> list[bytes]:
    return [form for opcode in opcodes() for form in forms(opcode)]


@pytest.mark.slow
@given(st.data())
def test_instructions_are_read_one_after_the_other(data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(all_forms()), max_size=30))
    body = b"".join(some)
    bounds = {sum(map(len, some[:number])) for number in range(len(some) + 1)}
    for each in found_in(body):
        assert {each.start, each.end} <= bounds


def test_the_reader_agrees_with_the_engine_on_where_a_function_ends() -> None:
    content = module(UNREACHABLE + FILL + END)
    reader = read_module(content).reader(CODE)
    assert reader.number() == 1
    assert [each.what for each in long_instructions(content, reader.at + 2, reader.end)] == [Long.MEMORY_FILL]
