"""Guests whose values are no values: text that is not UTF-8, lists that lie beyond memory, allocators that lie."""

from __future__ import annotations

from typing import Final

import pytest
import wasmtime
from tests.patience import tried_again
from tests.tiers import thorough_but

from guesthouse.control.control_client import CommandRefused

from ...boundary.test_import_types import LIES
from ...unit.worker.guests import SCRATCH, data
from ..harness import Scene
from .attackers import SUITE, Attacker, carry_out, installed

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


ENDED: Final = "ended alone, before the host hears of it"
PRINT: Final = ("system.print",)


def prints(pointer: str, length: str) -> str:
    return f"(call $print (i32.const 2) (i32.const {pointer}) (i32.const {length}))"


def receives_into(allocator: str, told: str) -> Attacker:
    """The host asks its allocator for room for `our`."""
    return Attacker(
        f"(call $our (i32.const {SCRATCH}))", ENDED, (told,), calls=("system.our",), allocator=allocator
    )


ATTACKERS: Final = {
    "text that is not UTF-8": Attacker(
        prints("700", "2"),
        ENDED,
        ("trapped: ", "not UTF-8"),
        calls=PRINT,
        more='(data (i32.const 700) "\\ff\\fe")',
    ),
    "text cut within a character": Attacker(
        prints("700", "1"), ENDED, ("trapped: ", "not UTF-8"), calls=PRINT, more=data("€", 700)
    ),
    "text beyond memory": Attacker(
        prints("-16", "4096"), ENDED, ("trapped: ", "outside of its memory"), calls=PRINT
    ),
    "text as long as memory can be": Attacker(
        prints("0", "-1"), ENDED, ("trapped: ", "outside of its memory"), calls=PRINT
    ),
    "a list beyond memory": Attacker(
        "(call $send-ws-text-many (i32.const 4) (i32.const 0x3fffffff)"
        f" (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))",
        ENDED,
        ("trapped: ",),
        calls=("http-server.send-ws-text-many",),
    ),
    "an enum that has no such case": Attacker(
        "(call $print (i32.const 77) (i32.const 0) (i32.const 0))",
        ENDED,
        ("trapped: ", "the case number"),
        calls=PRINT,
    ),
    "a wild place for a result": Attacker(
        "(call $our (i32.const -8))", ENDED, ("trapped: ",), calls=("system.our",)
    ),
    "an allocator that returns wild pointers": receives_into("(i32.const -8)", "trapped: "),
    "an allocator that returns odd pointers": receives_into("(i32.const 0x7fffffff)", "trapped: "),
    "an allocator that traps": receives_into("unreachable", "trapped: "),
    "an allocator that loops for ever": receives_into(
        "(loop (br 0)) unreachable", "its allocator took over 25 ms"
    ),
    "an allocator that grows for ever": receives_into(
        "(loop (drop (memory.grow (i32.const 1))) (br 0)) unreachable", "its allocator took over 25 ms"
    ),
    "an allocator that overwrites everything": Attacker(
        f"(call $our (i32.const {SCRATCH})) unreachable",
        ENDED,
        ("trapped: ",),
        calls=("system.our",),
        allocator="(memory.fill (i32.const 0) (i32.const 255) (i32.const 262144)) (i32.const 1024)",
    ),
}


FIRST: Final = (
    "text that is not UTF-8",
    "text beyond memory",
    "a list beyond memory",
    "an enum that has no such case",
    "a wild place for a result",
    "an allocator that returns wild pointers",
    "an allocator that loops for ever",
    "an allocator that overwrites everything",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(ATTACKERS, *FIRST))
@tried_again
async def test_a_guest_of_malformed_values_ends_alone(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])


@tried_again
async def test_imports_of_another_type_than_the_interfaces_are_not_installed(scene: Scene) -> None:
    async with scene.attack(SUITE, "imports of other types") as attack:
        for number, (component, words) in enumerate(LIES.values()):
            with pytest.raises(CommandRefused) as refused:
                async with installed(scene, f"liar-{number}", bytes(wasmtime.wat2wasm(component))):
                    pass
            text = str(refused.value)
            assert words in text
            assert "\n" not in text
        attack.gets = "it is not installed"
        attack.log = text.partition(" ")[2]
