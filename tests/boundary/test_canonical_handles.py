from __future__ import annotations

import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from guesthouse.wasm.abi.handles import Handles
from guesthouse.wasm.abi.signatures import Slots, lift_arguments, lower_parameters, lower_result
from guesthouse.wasm.engine.fiber import CURRENT
from guesthouse.wasm.errors import GuestTrap, OutOfRange, UnsupportedType
from guesthouse.wasm.types import Handle, ListOf, OptionOf, TupleOf, WitType

from . import abi_model as model
from .fake_memory import CoreArguments, FakeMemory

RESOURCE = ("wasi:io/poll@0.2.0", "pollable")
OWN, BORROW = Handle(True, RESOURCE), Handle(False, RESOURCE)
NUMBER = model.RESOURCE


def number(resource: tuple[str, str]) -> int:
    assert resource == RESOURCE
    return NUMBER


@pytest.fixture
def handles() -> Iterator[Handles]:
    """Of the guest whose turn it is."""
    before, held = CURRENT.fiber, Handles()
    CURRENT.fiber = SimpleNamespace(handles=held)
    yield held
    CURRENT.fiber = before


def read(type_: WitType, *words: int, content: bytes = bytes(64)) -> Any:
    core = CoreArguments([("i32", word) for word in words], *Slots.RAW.value)
    return lift_arguments((type_,), Slots.RAW, number)(core.address, FakeMemory(content).linear)[0]


def test_a_borrowed_handle_is_the_resource_that_the_guest_holds(handles: Handles) -> None:
    index = handles.add(NUMBER, 2**32 - 1)
    for _ in range(2):
        assert read(BORROW, index) == (NUMBER, 2**32 - 1)
        assert read(OptionOf(BORROW), 1, index) == (NUMBER, 2**32 - 1)
    assert read(ListOf(BORROW), 0, 1, content=struct.pack("<I", index)) == [(NUMBER, 2**32 - 1)]


def test_a_handle_that_is_passed_on_is_held_no_more(handles: Handles) -> None:
    index = handles.add(NUMBER, 5)
    assert read(OWN, index) == (NUMBER, 5)
    for type_ in (OWN, BORROW):
        with pytest.raises(GuestTrap, match=f"the handle {index}, which it does not hold"):
            read(type_, index)


def test_a_handle_that_is_not_there_is_not_looked_for(handles: Handles) -> None:
    index = handles.add(NUMBER, 5)
    assert read(OptionOf(OWN), 0, index) is None
    assert read(OWN, index) == (NUMBER, 5)


@pytest.mark.parametrize("index", [0, 2, 2**31, 2**32 - 1])
def test_a_number_that_is_no_handle_is_refused(index: int, handles: Handles) -> None:
    assert handles.add(NUMBER, 5) == 1
    passed: list[tuple[WitType, list[int]]] = [(OWN, [index]), (BORROW, [index]), (OptionOf(OWN), [1, index])]
    for type_, words in passed:
        with pytest.raises(GuestTrap, match="which it does not hold"):
            read(type_, *words)


def test_a_handle_of_another_resource_is_refused(handles: Handles) -> None:
    index = handles.add(NUMBER + 1, 5)
    with pytest.raises(GuestTrap, match="which it does not hold"):
        read(BORROW, index)


def test_a_resource_that_is_returned_is_held_by_the_guest(handles: Handles) -> None:
    memory = FakeMemory(bytes(64))
    slot = CoreArguments([("i64", 0)], 0, 16)
    lower_result(OWN, (), number).write((NUMBER, 5), memory.linear, slot.address)
    index = int.from_bytes(slot.bytes_of(0, 8), "little")
    lower_result(TupleOf((OWN, OWN)), (), number).write(((NUMBER, 6), (NUMBER, 7)), memory.linear, 0)
    indices = (index, *struct.unpack_from("<II", memory.content))
    [(_, passed)] = lower_parameters((OWN,), number)(((NUMBER, 8),), memory.linear)
    assert [handles.get(NUMBER, each) for each in (*indices, passed)] == [
        (NUMBER, each) for each in (5, 6, 7, 8)
    ]
    assert len({*indices, passed}) == 4


def test_a_resource_has_a_number_that_fits(handles: Handles) -> None:
    slot = CoreArguments([("i64", 0)], 0, 16)
    with pytest.raises(OutOfRange, match="4294967296 does not fit u32"):
        lower_result(OWN, (), number).write((NUMBER, 2**32), FakeMemory(b"").linear, slot.address)


def test_a_handle_of_an_unknown_resource_is_not_supported() -> None:
    for owned in (True, False):
        with pytest.raises(UnsupportedType, match="unknown resource"):
            lift_arguments((Handle(owned),), Slots.RAW, number)
        with pytest.raises(UnsupportedType, match="unknown resource"):
            lower_result(Handle(owned), (), number)


def test_what_a_call_borrows_it_cannot_give_away(handles: Handles) -> None:
    """The canonical ABI's `num_lends`, as in the reference tests of resources."""
    index = handles.add(NUMBER, 7)
    both = TupleOf((BORROW, OWN))
    core = CoreArguments([("i32", index), ("i32", index)], *Slots.RAW.value)
    lifted = lift_arguments((both,), Slots.RAW, number)
    with pytest.raises(GuestTrap, match="same call borrows"):
        lifted(core.address, FakeMemory(b"").linear)
    # The next call borrows nothing yet.
    alone = lift_arguments((OWN,), Slots.RAW, number)
    one = CoreArguments([("i32", index)], *Slots.RAW.value)
    assert alone(one.address, FakeMemory(b"").linear) == ((NUMBER, 7),)


def test_indices_are_used_again_and_never_for_two_at_once(handles: Handles) -> None:
    first = [handles.add(NUMBER, resource) for resource in range(3)]
    assert first == [1, 2, 3]
    handles.take(NUMBER, 2)
    assert handles.add(NUMBER, 9) == 2
    assert handles.add(NUMBER, 10) == 4
    for _ in range(1000):
        handles.take(NUMBER, handles.add(NUMBER, 11))
    assert handles.add(NUMBER, 12) == 5
    assert [handles.get(NUMBER, index)[1] for index in (1, 2, 3, 4, 5)] == [0, 9, 2, 10, 12]
