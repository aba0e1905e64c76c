"""Components that were cut off, damaged or made up: no plan comes of them that the engine would not follow."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Final

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from guesthouse.wasm.binary.byte_reader import COMPONENT, UnsupportedComponent, encoded_section, sections
from guesthouse.wasm.plan.planner import take_apart

from . import shapes
from .soundness import ENGINE, check

FLIPS: Final = examples(150)
"""Of each component."""


@cache
def whole(name: str) -> bytes:
    return bytes(wasmtime.wat2wasm(shapes.PLANNED[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", shapes.PLANNED)
def test_a_component_cut_off_anywhere_but_between_definitions_is_refused(name: str) -> None:
    content = whole(name)
    between = {section.start for section in sections(content, 0, len(content), COMPONENT)}
    planned = {size for size in range(len(content)) if check(content[:size]) is not None}
    assert planned <= between


@pytest.mark.slow
@pytest.mark.parametrize("name", shapes.PLANNED)
def test_a_damaged_component_is_refused_or_makes_a_sound_plan(name: str) -> None:
    content, random, sound = whole(name), Random(name), 0
    for _ in range(FLIPS):
        damaged = bytearray(content)
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            damaged[random.randrange(8, len(damaged))] = random.choice(
                (0, 1, 2, 0x7F, 0xFF, random.randrange(256))
            )
        sound += check(bytes(damaged)) is not None
    assert 0 < sound < FLIPS


@given(st.lists(st.tuples(st.integers(0, 13), st.binary(max_size=24)), max_size=6))
def test_made_up_sections_are_refused_or_make_a_sound_plan(made: list[tuple[int, bytes]]) -> None:
    check(COMPONENT + b"".join(encoded_section(kind, body) for kind, body in made))


@given(st.sampled_from(sorted(shapes.PLANNED)), st.integers(1, 11), st.binary(max_size=12))
def test_more_definitions_at_the_end_are_refused_or_make_a_sound_plan(
    name: str, kind: int, body: bytes
) -> None:
    check(whole(name) + encoded_section(kind, b"\x01" + body))


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        (9, b"\x00\x00\x00", "section of the kind 9"),
        (12, b"", "section of the kind 12"),
        (2, b"\x01\x02", "by the unknown form 2"),
        (2, b"\x01\x00\x00\x01\x01x\x11\x00", "something other than instances"),
        (5, b"\x01\x02", "by the unknown form 2"),
        (5, b"\x01\x00\x00\x00", "refers to the definition 0 of 0"),
        (5, b"\x01\x01\x01\x03\x01x\x01\x00", "where one of"),
        (6, b"\x01\x01\x03\x00\x00", "unknown kind 3"),
        (6, b"\x01\x01\x02\x01\x00", "an enclosing component that does not exist"),
        (6, b"\x01\x01\x02\x7f\x00", "an enclosing component that does not exist"),
        (6, b"\x01\x00\x04\x01\x00\x01x", "core definition of the sort 4"),
        (6, b"\x01\x00\x00\x01\x00\x04none", "the export 'none' of a module"),
        (6, b"\x01\x00\x02\x01\x00\x03run", "the export 'run' of a module"),
        (6, b"\x01\x03\x00\x01\x03run", "the export 'run' of an instance"),
        (8, b"\x01\x00\x01", "where one of"),
        (8, b"\x01\x0c", "built-in function 0xc"),
        (10, b"\x01\x02\x01x\x01\x00", "where one of"),
        (11, b"\x01\x00\x01x\x01\x00\x02", "where one of"),
        (11, b"\x01\x00\x01x\x02\x00\x00", "definition of the sort 2"),
        (7, b"\xc1\x9a\x0c", "has 200001 definitions at once, over 200000"),
    ],
)
def test_an_unknown_definition_is_named(kind: int, body: bytes, says: str) -> None:
    with pytest.raises(UnsupportedComponent, match=says):
        take_apart(whole("guest") + encoded_section(kind, body), ENGINE)
