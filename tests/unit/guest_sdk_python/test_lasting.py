"""A component's lasting objects are made immortal: a small memory with objects, beside what only looks like some."""

from __future__ import annotations

import gc
import struct
from array import array
from types import CodeType, FunctionType
from typing import Any, Final

import pytest
import wasmtime
from guesthouse_sdk import _lasting_note
from guesthouse_sdk._lasting_note import BEGINNING, lasting_note
from guesthouse_sdk.freeing import UnknownRuntimeError
from guesthouse_sdk.lasting import IMMORTAL, with_lasting_objects

START: Final = 1024
TYPE: Final = 0x2000
OTHER_TYPE: Final = 0x3000


def note(*words: int, total: int | None = None) -> bytes:
    """A note with these words."""
    numbers = len(words), (sum(words) if total is None else total) & 0xFFFF_FFFF
    return b"".join((*BEGINNING, struct.pack(f"<II{len(words)}I", *numbers, *words)))


def text_of(content: bytes) -> str:
    """As a string of WebAssembly's text."""
    return "".join(f"\\{byte:02x}" for byte in content)


def component(*segments: tuple[int, bytes]) -> bytes:
    """A component with a core module whose memory begins with these parts."""
    parts = (f'(data (i32.const {address}) "{text_of(content)}")' for address, content in segments)
    return bytes(wasmtime.wat2wasm(f"(component (core module (memory 2) {' '.join(parts)}))"))


def word(content: bytes, of: bytes, offset: int) -> int:
    """A word of a component, so many bytes from the only place of `of`."""
    assert content.count(of) == 1
    found: int = struct.unpack_from("<I", content, content.index(of) + offset)[0]
    return found


def one(count: int, type_: int = TYPE) -> bytes:
    """An object."""
    return struct.pack("<II", count, type_) + b"the object"


def test_an_object_that_was_noted_is_immortal_and_the_note_is_gone() -> None:
    made = component((8, b"before"), (START, one(3) + b"its rest"), (4096, note(START, TYPE)))
    changed = with_lasting_objects(made)
    assert word(changed, b"the object", -8) == IMMORTAL
    assert word(changed, b"the object", -4) == TYPE
    assert b"lasting-objects" not in changed
    assert len(changed) == len(made)
    differ = [at for at, (was, now) in enumerate(zip(made, changed, strict=True)) if was != now]
    of_note = made.index(b"guesthouse:")
    place = made.index(b"the object") - 8
    assert all(place <= at < place + 4 or at >= of_note for at in differ)


@pytest.mark.parametrize(
    "content",
    [one(3, OTHER_TYPE), one(0), one(0x10000), one(0x1234_5678), one(IMMORTAL), one(2**32 - 1)],
    ids=["another type", "no reference", "an address", "a large address", "immortal", "negative"],
)
def test_what_is_no_such_object_any_more_is_left_alone(content: bytes) -> None:
    made = component((START, content), (4096, note(START, TYPE)))
    assert word(with_lasting_objects(made), b"the object", -8) == struct.unpack_from("<I", content)[0]


@pytest.mark.parametrize("address", [0, START - 4, START + 14, 3000, 2**32 - 4], ids=hex)
def test_addresses_without_content_are_skipped(address: int) -> None:
    content = one(3)
    made = component((START, content), (4096, note(address, TYPE)))
    assert content in with_lasting_objects(made)


@pytest.mark.parametrize(
    "wrong",
    [
        note(START, TYPE, total=5),
        note(START, TYPE, 7),
        note(START, TYPE)[:-8],
        b"".join(BEGINNING),
        b"".join(BEGINNING) + b"\xff" * 8,
        b"",
    ],
    ids=["total", "odd", "cut", "alone", "too many", "none"],
)
def test_without_a_whole_note_nothing_is_changed(wrong: bytes) -> None:
    made = component((START, one(3)), (4096, wrong))
    assert with_lasting_objects(made) == made


def test_the_whole_note_is_found_behind_what_looks_like_one() -> None:
    made = component((START, one(3)), (4096, b"".join(BEGINNING) + b"\1" * 16), (8192, note(START, TYPE)))
    assert word(with_lasting_objects(made), b"the object", -8) == IMMORTAL


def test_memory_that_is_placed_in_an_unknown_way_is_refused() -> None:
    text = text_of(note(START, TYPE))
    module = f'(core module (import "e" "g" (global i32)) (memory 1) (data (global.get 0) "{text}"))'
    with pytest.raises(UnknownRuntimeError, match="unknown way"):
        with_lasting_objects(bytes(wasmtime.wat2wasm(f"(component {module})")))


def noted() -> dict[int, int]:
    """The addresses of types by those of objects, of a note of this interpreter."""
    content = lasting_note()
    words = array(_lasting_note.WORD)
    words.frombytes(content[len(b"".join(BEGINNING)) + 8 :])
    return dict(zip(words[::2], words[1::2], strict=True))


class Kept:
    """Has what lasts, and an instance and a list, which do not."""

    items: list[Any] = []  # noqa: RUF012 - it is looked at as it is


KEPT: Final = Kept()


@pytest.mark.thorough
@pytest.mark.slow
def test_functions_code_types_and_names_last_and_objects_of_an_app_do_not() -> None:
    def function() -> tuple[str, int]:
        return "a text that only this function has", 123_456_789

    gc.unfreeze()  # another test may have had everything frozen, as a build has after the note
    found = noted()
    assert found[id(function)] == id(FunctionType)
    assert found[id(function.__code__)] == id(CodeType)
    assert found[id(function.__code__.co_consts)] == id(tuple)
    assert found[id(Kept)] == id(type)
    assert found[id(struct)] == id(type(struct))
    assert found[id(struct.__dict__)] == id(dict)
    assert id(KEPT) not in found
    assert id(Kept.items) not in found
    assert id(KEPT.__dict__) not in found
