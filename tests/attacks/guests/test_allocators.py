"""Guests whose allocator gives room that there is not, or the same twice, or moves the end of memory while it does.

The host asks it for room for each part of a result: of `our` four texts, of the next message some ten parts.
"""

from __future__ import annotations

from typing import Final

import pytest
from tests.patience import tried_again
from tests.tiers import thorough_but

from ...unit.worker.guests import RETURN, SCRATCH
from ..harness import Scene
from .attackers import Attacker, carry_out

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


END: Final = "(i32.mul (memory.size) (i32.const 65536))"
SIZE: Final = "(local.get 3)"
GROW: Final = "(if (i32.lt_u (memory.size) (i32.const 256)) (then (drop (memory.grow (i32.const 1)))))"
ITS_OWN: Final = "it reads what it wrote over itself"
OUTSIDE: Final = ("trapped: it pointed to", "outside of its memory")


def gives(where: str, told: tuple[str, ...] = (), more: str = "", call: str = "") -> Attacker:
    """An allocator that gives that place, whatever is asked for."""
    body = call or f"(call $our (i32.const {SCRATCH}))"
    calls = ("http-server.send-ws-text-many",) if call else ("system.our",)
    gets = "it is ended" if told else ITS_OWN
    return Attacker(body, gets, told, calls=calls, allocator=f"{more} {where}", lives=not told)


MANY: Final = f"""(call $send-ws-text-many
  (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))"""
"""Its result is a list of pairs of numbers, one for each of eight channels that there are not."""
OVER: Final = f"(call $our (i32.sub {END} (i32.const 4)))"


def reaches(name: str) -> Attacker:
    """An allocator that makes a call that blocks, when the host makes room for its process's state."""
    return Attacker(
        f"""(call $set-state (i32.const 0) (i32.const 5) (i32.const {SCRATCH}))
        (call $get-state (i32.const {SCRATCH}))""",
        "it is ended",
        ("trapped: its allocator called the host",),
        calls=("system.set-state", "system.get-state"),
        more=f"""(import "table" "table" (table 1 funcref)) (elem (i32.const 0) ${name})""",
        allocator="(call_indirect (param i32) (i32.const 2048) (i32.const 0)) (i32.const 2048)",
        table=True,
    )


ATTACKERS: Final = {
    "an allocator that waits for messages": reaches("receive"),
    "an allocator that waits for state": reaches("get-state"),
    "an allocator of one place": gives("(i32.const 2048)"),
    "an allocator of the results own place": gives(f"(i32.const {SCRATCH})"),
    "an allocator of the next messages place": gives(f"(i32.const {RETURN})"),
    "an allocator of places that overlap": gives(
        "(i32.load (i32.const 3072))",
        more="(i32.store (i32.const 3072) (i32.xor (i32.load (i32.const 3072)) (i32.const 2051)))",
    ),
    "an allocator of nothing at zero": gives("(i32.const 0)"),
    "an allocator of the last bytes": gives(f"(i32.sub {END} {SIZE})"),
    "an allocator of what is about to be there": gives(
        f"(i32.sub {END} (i32.add (i32.const 65536) (i32.shr_u {SIZE} (i32.const 1))))",
        more=GROW,
    ),
    "an allocator of one byte past the end": gives(
        f"(i32.add (i32.const 1) (i32.sub {END} {SIZE}))", OUTSIDE
    ),
    "an allocator of the end before it grew": gives(END, OUTSIDE),
    "an allocator of the end of all addresses": gives("(i32.const -1)", OUTSIDE),
    "an allocator of negative places": gives(f"(i32.sub (i32.const 0) {SIZE})", OUTSIDE),
    "an allocator between two numbers": gives(
        "(i32.const 2050)", ("trapped: its allocator returned 2050, which is not a multiple of 4",), call=MANY
    ),
    "an allocator of where its arguments are": gives("(i32.const 4096)", call=MANY),
    "an allocator that writes over the arguments": gives(
        "(i32.const 2048)", more="(memory.fill (i32.const 4096) (i32.const 255) (i32.const 4096))", call=MANY
    ),
    "a place for a result that is not all there": gives(
        "(i32.const 2048)",
        OUTSIDE,
        call=OVER.replace(
            "$our", "$send-ws-text-many (i32.const 4096) (i32.const 8) (i32.const 0) (i32.const 0)"
        ),
    ),
}


FIRST: Final = (
    "an allocator that waits for messages",
    "an allocator of one place",
    "an allocator of the results own place",
    "an allocator of places that overlap",
    "an allocator of nothing at zero",
    "an allocator of what is about to be there",
    "an allocator of one byte past the end",
    "an allocator of negative places",
    "an allocator between two numbers",
    "an allocator that writes over the arguments",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(ATTACKERS, *FIRST))
@tried_again
async def test_an_allocator_can_harm_its_own_guest_alone(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])
