"""Guests that abuse clocks, polls, output, randomness and handles of WASI."""

from __future__ import annotations

from typing import Final

import pytest
from tests.patience import tried_again
from tests.tiers import thorough_but

from guesthouse.core.config import MIB

from ...unit.worker.guests import SCRATCH
from ...unit.worker.wasi import EXIT, OUTPUT, RANDOM, SLEEP
from ..figures import Allowance
from ..harness import Scene
from .attackers import Attacker, carry_out
from .test_computing import OUT_OF_TIME

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


FOR_EVER: Final = 2**64 - 1
SLICES: Final = "1 s of CPU, in slices; then it is ended"

ATTACKERS: Final = {
    "sleep for ever": Attacker(
        f"(call $pollable.block (call $subscribe-duration (i64.const {FOR_EVER})))",
        "its sleep",
        wasi=SLEEP,
        lives=True,
    ),
    "busy clock": Attacker("(loop (drop (call $now)) (br 0))", SLICES, OUT_OF_TIME, wasi=SLEEP),
    "busy poll": Attacker(
        f"""(i32.store (i32.const 2000) (call $subscribe-duration (i64.const 0)))
          (loop (call $poll (i32.const 2000) (i32.const 1) (i32.const {SCRATCH})) (br 0))""",
        SLICES,
        ("ran out of ",),
        wasi=SLEEP,
    ),
    "sleeps of a nanosecond": Attacker(
        "(loop (call $pollable.block (local.tee 8 (call $subscribe-duration (i64.const 1))))"
        " (call $drop-pollable (local.get 8)) (br 0))",
        SLICES,
        OUT_OF_TIME,
        wasi=SLEEP,
        locals="(local i32)",
    ),
    "a poll of 20,000": Attacker(
        f"""(local.set 9 (call $subscribe-duration (i64.const {FOR_EVER})))
          (loop $fill (i32.store (i32.add (i32.const 2000) (i32.mul (local.get 8) (i32.const 4))) (local.get 9))
            (br_if $fill (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const 20000))))
          (call $poll (i32.const 2000) (i32.const 20000) (i32.const 200000))""",
        "its sleep",
        wasi=SLEEP,
        locals="(local i32 i32)",
        lives=True,
    ),
    "handles without end": Attacker(
        "(loop $more (drop (call $subscribe-duration (i64.const 0))) (br $more))",
        "1024 handles; then it is ended",
        ("trapped: it holds 1024 WASI resources",),
        wasi=SLEEP,
    ),
    "a forged handle": Attacker(
        "(call $pollable.block (i32.const 77))", "ended alone", ("trapped: ", "handle"), wasi=SLEEP
    ),
    "output without end": Attacker(
        f"""(local.set 8 (call $get-stdout))
          (loop (call $output-stream.write
            (local.get 8) (i32.const 0) (i32.const 4096) (i32.const {SCRATCH})) (br 0))""",
        SLICES,
        OUT_OF_TIME,
        wasi=OUTPUT,
        locals="(local i32)",
        allowed=Allowance(
            node_bytes=64 * MIB
        ),  # the last lines are kept: 2 Mi characters, and 4096 to be written
    ),
    "randomness without end": Attacker(
        "(loop (call $get-random-bytes (i64.const 65536) (i32.const 4096)) (call $reset) (br 0))",
        SLICES,
        OUT_OF_TIME,
        wasi=(RANDOM,),
    ),
    "more randomness than memory": Attacker(
        f"(call $get-random-bytes (i64.const {FOR_EVER}) (i32.const 4096))",
        "ended alone",
        ("trapped: it asked for", "random bytes at once"),
        wasi=(RANDOM,),
    ),
    "exit": Attacker(
        "(call $exit (i32.const 1))", "its own end", ("trapped: it exited with code 1",), wasi=(EXIT,)
    ),
    "exit as if all were well": Attacker(
        "(call $exit (i32.const 0))", "its own end", ("returned: it exited with code 0",), wasi=(EXIT,)
    ),
}


FIRST: Final = (
    "sleep for ever",
    "busy poll",
    "a poll of 20,000",
    "handles without end",
    "a forged handle",
    "output without end",
    "more randomness than memory",
    "exit",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(ATTACKERS, *FIRST))
@tried_again
async def test_a_guest_that_abuses_wasi_harms_nobody(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])
