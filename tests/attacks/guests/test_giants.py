"""Guests that pass what is as large as can be, up to wasmtime's limits of a host call and past them.

Nothing interrupts an instruction that fills memory, nor the host when it reads a call's values: lists of so many
elements take their worker some hundredths of a second at a time. Neighbours on it wait so long, and lose nothing;
those on other workers notice nothing (`isolation = "package"` gives each package workers of its own).
"""

from __future__ import annotations

from typing import Final

import pytest

from guesthouse.config import MIB

from ...unit.worker.guests import SCRATCH
from ..figures import Allowance
from ..harness import Scene, tried_again
from .attackers import Attacker, carry_out
from .conftest import MEMORY_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGE: Final = 16 * MIB
MAKE: Final = f"""(if (i32.lt_u (memory.size) (i32.const {LARGE // 65536})) (then
    (if (i32.eq (memory.grow (i32.const {LARGE // 65536 + 4})) (i32.const -1)) (then unreachable))))
  (memory.fill (i32.const 262144) (i32.const 97) (i32.const {LARGE}))"""
"""Makes 16 MiB of the letter a, from 262144 on."""
STRING: Final = f"(i32.const 262144) (i32.const {LARGE})"
ROOM: Final = Allowance(worker_bytes=128 * MIB)


def same_again(count: int, at: int = 8192) -> str:
    """Writes `count` pairs of strings that are all the same 16 MiB, to where no one else writes."""
    return f"""(local.set 8 (i32.const 0)) (loop $fill
      (i32.store (i32.add (i32.const {at}) (i32.mul (local.get 8) (i32.const 8))) (i32.const 262144))
      (i32.store (i32.add (i32.const {at + 4}) (i32.mul (local.get 8) (i32.const 8))) (i32.const {LARGE}))
      (br_if $fill (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const {2 * count}))))"""


ATTACKERS: Final = {
    "a line of 16 MiB": Attacker(
        f"{MAKE} (call $print (i32.const 2) {STRING})",
        "a line of 8 KiB",
        ("aaaaaa",),
        calls=("system.print",),
        lives=True,
        allowed=ROOM,
        holds_worker=True,
    ),
    "a text of 16 MiB": Attacker(
        f"{MAKE} (call $send-ws-text (i32.const 1) {STRING} (i32.const {SCRATCH}))",
        "`too-big`",
        calls=("http-server.send-ws-text",),
        lives=True,
        allowed=ROOM,
        holds_worker=True,
    ),
    "a list of 65,537": Attacker(
        f"""{MAKE} (call $send-ws-text-many (i32.const 262144) (i32.const 65537)
          (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))""",
        "ended alone",
        ("trapped: it passed a list of 65537 elements",),
        calls=("http-server.send-ws-text-many",),
        allowed=ROOM,
        holds_worker=True,
    ),
    "lists of 65,536": Attacker(
        f"""{MAKE} (loop (call $send-ws-text-many (i32.const 262144) (i32.const 65536)
          (i32.const 0) (i32.const 0) (i32.const {SCRATCH})) (call $reset) (br 0))""",
        "3 s of CPU; then it is ended",
        ("ran out of time",),
        calls=("http-server.send-ws-text-many",),
        allowed=ROOM,
        holds_worker=True,
    ),
    "bytes by the million": Attacker(
        f"""{MAKE} (local.set 8 (i32.const 0)) (loop $again
          (call $set-state (i32.const 262144) (i32.const {2 * MIB}) (i32.const {SCRATCH}))
          (br_if $again (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const 20))))""",
        "2 MiB of state, stored twenty times a message",
        calls=("system.set-state",),
        locals="(local i32)",
        lives=True,
        allowed=ROOM,
        holds_worker=True,
    ),
    "more than may be kept as state": Attacker(
        f"{MAKE} (call $set-state (i32.const 196608) (i32.const {LARGE + 65536}) (i32.const {SCRATCH}))",
        "`too-big`",
        ("keeping 16842752 bytes was refused",),
        calls=("system.set-state",),
        lives=True,
        allowed=ROOM,
        holds_worker=True,
    ),
    "one string as ten thousand": Attacker(
        f"""{MAKE} {same_again(10_000)}
          (call $send-http-response (i32.const 200) (i32.const 8192) (i32.const 10000)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))""",
        "ended alone",
        ("trapped: ",),
        calls=("http-server.send-http-response",),
        locals="(local i32)",
        allowed=ROOM,
        holds_worker=True,
    ),
}


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {"process_cpu_seconds_per_message": 3, "process_memory_bytes": MEMORY_BYTES}


@pytest.mark.parametrize("name", ATTACKERS)
@tried_again
async def test_a_guest_that_passes_giants_harms_nobody(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])
