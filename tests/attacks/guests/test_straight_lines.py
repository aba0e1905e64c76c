"""Guests that do what takes long in a straight line: where nothing loops, the engine looks nowhere by itself."""

from __future__ import annotations

import random
from typing import Final

import pytest
from tests.patience import tried_again
from tests.tiers import thorough_but

from ..harness import Scene
from .attackers import Attacker, carry_out

pytestmark = pytest.mark.asyncio(loop_scope="module")

MUCH: Final = 230_000_000
"""Bytes: nearly all of a guest's memory."""
GROWN: Final = """(if (i32.lt_u (memory.size) (i32.const 3600))
  (then (if (i32.eq (memory.grow (i32.const 3600)) (i32.const -1)) (then unreachable))))"""
CUT: Final = "each call is bounded, and its slices are as long as any"


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """As much memory for a guest as by default."""
    return {"process_cpu_seconds_per_message": 1, "process_memory_bytes": 256 * 2**20}


ALL: Final = f"(i32.const 4096) (i32.const 7) (i32.const {MUCH})"
OVER: Final = ("ran out of time: it used over 1 s of CPU on one message",)
NUMBERS: Final = random.Random(1).sample(range(2**16, 2**31), 10_000)
"""Of pages, more than any memory has; each another, so that the archive is not refused for what it unpacks to."""
FILLS: Final = 5000
"""In a function: the time to compile one grows with the square of what is in it."""
ENDED: Final = "1 s of CPU, in slices; then it is ended"

ATTACKERS: Final = {
    "1000 prints of 230 MB": Attacker(
        GROWN + f"(call $print (i32.const 1) (i32.const 4096) (i32.const {MUCH}))" * 1000,
        CUT,
        calls=("system.print",),
        lives=True,
    ),
    "20000 host calls": Attacker(
        "(drop (call $has-blob))" * 20_000, CUT, calls=("messaging.has-blob",), lives=True
    ),
    "3000 texts of 230 MB to many": Attacker(
        GROWN
        + f"""(call $send-ws-text-many
          (i32.const 64) (i32.const 8) (i32.const 4096) (i32.const {MUCH}) (i32.const 128))"""
        * 3000,
        CUT,
        calls=("http-server.send-ws-text-many",),
        lives=True,
    ),
    "3000 fills of 230 MB": Attacker(GROWN + f"(memory.fill {ALL})" * 3000, ENDED, OVER),
    "3000 copies of 230 MB": Attacker(GROWN + f"(memory.copy {ALL})" * 3000, ENDED, OVER),
    "10000 attempts to grow": Attacker(
        "".join(f"(drop (memory.grow (i32.const {pages})))" for pages in NUMBERS),
        "-1, in slices as long as any",
        lives=True,
    ),
    "20000 fills of tables": Attacker(
        "(call $fills)" * (20_000 // FILLS),
        ENDED,
        OVER,
        more="(table 90000 funcref) (func $fills "
        + "".join(
            f"(table.fill (i32.const 0) (ref.null func) (i32.const {90_000 - at % 997}))"
            for at in range(FILLS)
        )
        + ")",
    ),
    "a path of 230 MB": Attacker(
        GROWN + f"(call $unbind-ws-path (i32.const 4096) (i32.const {MUCH}))",
        "it ends",
        (f"trapped: it passed {MUCH} bytes to a call that takes 65536 at most",),
        calls=("http-server.unbind-ws-path",),
    ),
}


FIRST: Final = (
    "1000 prints of 230 MB",
    "3000 fills of 230 MB",
    "10000 attempts to grow",
    "a path of 230 MB",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(ATTACKERS, *FIRST))
@tried_again
async def test_a_straight_line_holds_up_nobody(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])
