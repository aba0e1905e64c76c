"""Guests that compute for ever, overflow, trap, or play with numbers."""

from __future__ import annotations

from typing import Final

import pytest
from tests.patience import tried_again
from tests.tiers import thorough_but

from ..harness import Scene
from .attackers import Attacker, carry_out

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


OUT_OF_TIME: Final = ("ran out of time: it used over 1 s of CPU on one message",)
ENDED_ALONE: Final = "ended alone; its clients get 1011"

ATTACKERS: Final = {
    "infinite loop": Attacker("(loop (br 0))", "1 s of CPU, in slices; then it is ended", OUT_OF_TIME),
    "loop of host calls": Attacker(
        "(loop (drop (call $has-blob)) (br 0))",
        "1 s of CPU, in slices; then it is ended",
        OUT_OF_TIME,
        calls=("messaging.has-blob",),
    ),
    "stack overflow": Attacker(
        "(call $deeper)",
        ENDED_ALONE,
        ("overflowed its stack: call stack exhausted",),
        more="(func $deeper (call $deeper))",
    ),
    "unreachable": Attacker(
        "unreachable", ENDED_ALONE, ("trapped: wasm `unreachable` instruction executed",)
    ),
    "division by zero": Attacker(
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))", ENDED_ALONE, ("trapped: integer divide by zero",)
    ),
    "NaN made an integer": Attacker(
        "(drop (i64.trunc_f64_s (f64.const nan:0x4000000000001)))",
        ENDED_ALONE,
        ("trapped: invalid conversion to integer",),
    ),
}


FIRST: Final = (
    "infinite loop",
    "loop of host calls",
    "stack overflow",
    "unreachable",
    "division by zero",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(ATTACKERS, *FIRST))
@tried_again
async def test_a_guest_that_computes_harms_nobody(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])
