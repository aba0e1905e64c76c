"""Guests whose values are no values: text that is not UTF-8, lists that lie beyond memory, allocators that lie."""

from __future__ import annotations

from typing import Final

import pytest

from guesthouse.worker.boundary.types import F64, STRING, FunctionType

from ...unit.worker.contract import PUSHED
from ...unit.worker.guests import SCRATCH, data
from ..harness import Scene, tried_again
from .attackers import Attacker, carry_out

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDED: Final = "ended alone, before the host hears of it"
PRINT: Final = ("system.print",)
TEXT: Final = ("http-server.send-ws-text",)


def function(result: object, *params: object) -> FunctionType:
    return FunctionType(tuple((f"p{number}", param) for number, param in enumerate(params)), result)  # type: ignore[arg-type, misc]


def prints(pointer: str, length: str) -> str:
    return f"(call $print (i32.const 2) (i32.const {pointer}) (i32.const {length}))"


def receives_into(allocator: str, told: str) -> Attacker:
    """The host asks its allocator for room for `our`."""
    return Attacker(
        f"(call $our (i32.const {SCRATCH}))", ENDED, (told,), calls=("system.our",), allocator=allocator
    )


NAN_CHANNELS: Final = "".join(
    f"(call $send-ws-text (f64.const {number}) (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))"
    for number in ("nan:0x7ffffffffffff", "-nan", "inf")
)
REENTERING: Final = """
  (core module $table (table (export "table") 1 funcref))
  (core instance $table (instantiate $table))"""

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
    "NaN and infinity for a channel": Attacker(
        NAN_CHANNELS,
        "channel-not-found",
        calls=TEXT,
        types={"send-ws-text": function(PUSHED, F64, STRING)},
        lives=True,
    ),
}


@pytest.mark.parametrize("name", ATTACKERS)
@tried_again
async def test_a_guest_of_malformed_values_ends_alone(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])
