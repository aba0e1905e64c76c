from __future__ import annotations

import contextlib
import math
import random
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples

from guesthouse.wasm.abi.layout import MAX_DEPTH, MAX_FLAT_PARAMS
from guesthouse.wasm.abi.signatures import Slots, lift_arguments, lower_parameters, lower_result
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.types import (
    F32,
    F64,
    STRING,
    U8,
    ListOf,
    OptionOf,
    ResultOf,
    TupleOf,
    VariantOf,
    WitType,
)
from guesthouse.wasm.values import Ok

from . import abi_model as model
from .fake_memory import CoreArguments, FakeMemory
from .values import comparable, values_of, wit_types

ROOM = 64 * 1024
slots = st.sampled_from(Slots)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""To draw types takes longer than to convert their values."""
typed_values = wit_types.flatmap(lambda type_: st.tuples(st.just(type_), values_of(type_)))
arguments = st.lists(typed_values, min_size=1, max_size=6)


def number(resource: tuple[str, str]) -> int:
    return model.RESOURCE


def lowered(types: list[WitType], values: list[Any], guest: model.Model) -> model.Core:
    """The core arguments that a guest passes."""
    together = TupleOf(tuple(types))
    if len(model.flat_of(together)) <= MAX_FLAT_PARAMS:
        return guest.lower_flat(together, tuple(values))
    address = guest.room(model.align_of(together), model.size_of(together))
    guest.store(together, tuple(values), address)
    return [("i32", address)]


@unhurried
@given(arguments=arguments, slots=slots, garbage=st.integers(0, 255), start=st.integers(0, 9))
def test_what_a_guest_passes_is_what_a_host_call_gets(
    arguments: list[tuple[WitType, Any]], slots: Slots, garbage: int, start: int
) -> None:
    types, values = [type_ for type_, _ in arguments], [value for _, value in arguments]
    guest = model.Model(bytearray([garbage]) * ROOM, top=start)
    core = CoreArguments(lowered(types, values, guest), *slots.value, garbage=garbage)
    memory = FakeMemory(guest.memory)
    read = lift_arguments(tuple(types), slots, number)
    assert comparable(read(core.address, memory.linear)) == comparable(tuple(values))
    # The memory ends where the last of it is used.
    exact = FakeMemory(guest.memory[: guest.top])
    assert comparable(read(core.address, exact.linear)) == comparable(tuple(values))


@unhurried
@given(typed=typed_values, start=st.integers(0, 9))
def test_what_a_host_call_returns_is_what_the_guest_finds(typed: tuple[WitType, Any], start: int) -> None:
    type_, value = typed
    writer = lower_result(type_, (), number)
    assert writer.by_address is (len(model.flat_of(type_)) > 1)
    if not writer.by_address:
        slot = CoreArguments([("i64", 2**64 - 1)], 0, 16)
        writer.write(value, FakeMemory(b"").linear, slot.address)
        bits = int.from_bytes(slot.bytes_of(0, 8), "little")
        assert bits < 2 ** model.WIDTH[model.flat_of(type_)[0]]
        assert comparable(model.Model(bytearray()).lift_flat(type_, [bits])) == comparable(value)
        return
    where = model.up(start, model.align_of(type_))
    memory = FakeMemory(bytes([0xCC]) * ROOM, top=where + model.size_of(type_))
    writer.write(value, memory.linear, where)
    assert comparable(model.Model(memory.content).load(type_, where)) == comparable(value)
    assert memory.content[:where] == bytes([0xCC]) * where
    memory.check_guards()


@unhurried
@given(arguments=arguments)
def test_parameters_reach_an_export(arguments: list[tuple[WitType, Any]]) -> None:
    types, values = [type_ for type_, _ in arguments], tuple(value for _, value in arguments)
    memory = FakeMemory(bytes(ROOM), top=1)
    core = lower_parameters(tuple(types), number)(values, memory.linear)
    assert [kind for kind, _ in core] == model.flat_params(types)
    assert all(0 <= bits < 2 ** model.WIDTH[kind] for kind, bits in core)
    guest, together = model.Model(memory.content), TupleOf(tuple(types))
    if len(model.flat_of(together)) <= MAX_FLAT_PARAMS:
        found = guest.lift_flat(together, [bits for _, bits in core])
    else:
        found = guest.load(together, core[0][1])
    assert comparable(found) == comparable(values)


def test_an_export_without_parameters_gets_none() -> None:
    assert lower_parameters((), number)((), FakeMemory(b"").linear) == []


def hostile_words(seed: int, count: int, size: int) -> bytes:
    """Words as a hostile guest would choose them: near every edge there is."""
    chance = random.Random(seed)
    edges = [0, 1, 2, 3, 4, 8, 31, 255, 256, size - 8, size - 4, size - 1, size, size + 1]
    edges += [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xD800, 0x10FFFF, 0x110000, 0x61626364, 0xC3A9C3A9]

    def word() -> int:
        kind = chance.random()
        if kind < 0.45:
            return chance.randrange(4)
        if kind < 0.7:
            return chance.randrange(0, size, 4)
        return chance.choice(edges) if kind < 0.95 else chance.randrange(2**32)

    return b"".join(struct.pack("<I", word()) for _ in range(count))


SMALL = 256


@settings(unhurried, max_examples=examples(100))
@given(
    types=st.lists(wit_types, min_size=1, max_size=4),
    slots=slots,
    seed=st.integers(0, 2**32),
)
def test_a_guest_that_passes_anything_gets_what_the_abi_says_or_dies(
    types: list[WitType], slots: Slots, seed: int
) -> None:
    content, cores = hostile_words(seed, SMALL // 4, SMALL), model.flat_params(types)
    words = hostile_words(seed + 1, 2 * len(cores), SMALL)
    bits = [
        int.from_bytes(words[8 * index : 8 * index + model.WIDTH[core] // 8], "little")
        for index, core in enumerate(cores)
    ]
    read = lift_arguments(tuple(types), slots, number)
    core = CoreArguments(list(zip(cores, bits, strict=True)), *slots.value)
    guest, together = model.Model(bytearray(content)), TupleOf(tuple(types))
    try:
        if len(model.flat_of(together)) <= MAX_FLAT_PARAMS:
            expected = guest.lift_flat(together, bits)
        else:
            start = bits[0]
            if start % model.align_of(together) or start + model.size_of(together) > SMALL:
                raise model.Trap
            expected = guest.load(together, start)
    except model.Trap:
        for guard in (0, 0x61):
            with pytest.raises(GuestTrap):
                read(core.address, FakeMemory(content, guard).linear)
        return
    for guard in (0, 0x61):
        memory = FakeMemory(content, guard)
        assert comparable(read(core.address, memory.linear)) == comparable(expected)
        assert memory.content == content


@unhurried
@given(type_=wit_types, seed=st.integers(0, 2**32), top=st.integers(0, SMALL))
def test_a_guest_without_room_dies_and_nothing_is_written_outside_of_its_memory(
    type_: WitType, seed: int, top: int
) -> None:
    chance = random.Random(seed)
    value = _longest(type_)
    writer = lower_result(type_, (), number)
    if not writer.by_address:
        return
    memory = FakeMemory(bytes(SMALL), top=top)
    where = chance.choice([0, 1, 4, 8, SMALL - 16, SMALL - 8, SMALL - 1, SMALL, 2**31, 2**32 - 8, 2**32 - 1])
    fits = where % model.align_of(type_) == 0 and where + model.size_of(type_) <= SMALL
    if fits:
        with contextlib.suppress(GuestTrap):
            writer.write(value, memory.linear, where)
    else:
        with pytest.raises(GuestTrap, match="it pointed to"):
            writer.write(value, memory.linear, where)
    memory.check_guards()


def _longest(type_: WitType) -> Any:
    """A value of the type that takes room."""
    model_case = model.payloads(type_)
    parts = model.fields(type_)
    if parts is not None:
        return model.of_fields(type_, [_longest(part) for part in parts])
    if model_case is not None:
        last = len(model_case) - 1
        payload = model_case[last]
        return model.of_case(type_, last, _longest(payload) if payload else None)
    if type_ == ListOf(U8):
        return bytes(100)
    if isinstance(type_, ListOf):
        return [_longest(type_.element)] * 5
    if type_ == STRING:
        return "long " * 20
    return model.Model(bytearray()).lift_flat(type_, [1])


DEEP = MAX_DEPTH - 2
"""The arguments together are a level too, and so is what is innermost."""


@pytest.mark.parametrize(
    "wrap",
    [
        lambda type_: TupleOf((type_,)),
        lambda type_: ListOf(type_),
        lambda type_: OptionOf(type_),
        lambda type_: ResultOf(type_, None),
        lambda type_: VariantOf((("nothing", None), ("some", type_))),
    ],
    ids=["tuple", "list", "option", "result", "variant"],
)
def test_values_as_deep_as_types_may_be_pass_both_ways(wrap: Any) -> None:
    type_: WitType = STRING
    value: Any = "deep"
    for _ in range(DEEP):
        outer = wrap(type_)
        value = _wrapped(outer, type_, value)
        type_ = outer
    guest = model.Model(bytearray(ROOM))
    core = CoreArguments(lowered([type_], [value], guest), *Slots.RAW.value)
    assert lift_arguments((type_,), Slots.RAW, number)(core.address, FakeMemory(guest.memory).linear) == (
        value,
    )
    memory = FakeMemory(bytes(ROOM), top=4096)
    parameters = lower_parameters((type_,), number)((value,), memory.linear)
    found = CoreArguments(parameters, *Slots.RAW.value)
    assert lift_arguments((type_,), Slots.RAW, number)(found.address, memory.linear) == (value,)


def _wrapped(outer: WitType, inner: WitType, value: Any) -> Any:
    if isinstance(outer, ListOf):
        return [value]
    if isinstance(outer, TupleOf):
        return (value,)
    if isinstance(outer, ResultOf):
        return Ok(value)
    return model.of_case(outer, 1, value)


def test_a_nan_stays_a_nan() -> None:
    core = CoreArguments([("f32", 0x7FA00001), ("f64", 0xFFF4000000000001)], *Slots.TAGGED.value)
    read = lift_arguments((F32, F64), Slots.TAGGED, number)(core.address, None)
    assert all(map(math.isnan, read))
