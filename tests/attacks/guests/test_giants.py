"""Guests that pass and are given what is as large as can be, up to the limits of a host call and past them.

Nothing interrupts an instruction that fills memory, nor the host when it reads a call's values: 16 MiB, or a list of
65,536 elements, take their worker some hundredths of a second. Neighbours on it wait so long at most: what is as large
crosses the link in pieces, between what others say.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Final

import pytest
import wasmtime
from tests.patience import tried_again
from tests.tiers import thorough_but

from guesthouse.core.config import MIB, Settings
from guesthouse.wasm.engine.host_functions import SMALL_BYTES

from ...unit.worker.guests import SCRATCH
from ..harness import Scene
from .attackers import ROOM, SUITE, Attacker, carry_out, installed, told
from .conftest import MEMORY_BYTES
from .every_call import ANSWER, AT, CALLS, Attempt, all_calls, attempts, component

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGE: Final = 16 * MIB
MAKE: Final = f"""(if (i32.lt_u (memory.size) (i32.const {LARGE // 65536})) (then
    (if (i32.eq (memory.grow (i32.const {LARGE // 65536 + 4})) (i32.const -1)) (then unreachable))))
  (memory.fill (i32.const 262144) (i32.const 97) (i32.const {LARGE}))"""
"""Makes 16 MiB of the letter a, from 262144 on."""
STRING: Final = f"(i32.const 262144) (i32.const {LARGE})"


def same_again(count: int, at: int = 8192) -> str:
    """Writes `count` pairs of strings that are all the same 16 MiB, to where no one else writes."""
    return f"""(local.set 8 (i32.const 0)) (loop $fill
      (i32.store (i32.add (i32.const {at}) (i32.mul (local.get 8) (i32.const 8))) (i32.const 262144))
      (i32.store (i32.add (i32.const {at + 4}) (i32.mul (local.get 8) (i32.const 8))) (i32.const {LARGE}))
      (br_if $fill (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const {2 * count}))))"""


ROOMY: Final = f"""(if (i32.lt_u (memory.size) (i32.const {(AT + LARGE) // 65536})) (then
    (drop (memory.grow (i32.sub (i32.const {(AT + LARGE) // 65536}) (memory.size))))
    (memory.fill (i32.const {AT}) (i32.const 97) (i32.const {LARGE}))))"""
"""Makes 16 MiB of the letter a from `AT` on, once."""


DEFAULTS: Final = SimpleNamespace(
    message_bytes=Settings().connections.message_bytes, blob_bytes=Settings().process.message_bytes
)


def most_of(interface: str) -> list[Attempt]:
    """Each call of an interface with each of its texts and bytes as long as it takes them, where that is much."""
    most = max(DEFAULTS.message_bytes, DEFAULTS.blob_bytes)
    return [
        each
        for call in all_calls(interface)
        if call != ANSWER  # by which the test is answered, in JSON
        for each in attempts(call, DEFAULTS)
        if SMALL_BYTES < each.length <= most and each.length % SMALL_BYTES == 0
    ]


ATTACKERS: Final = {
    "a line of 16 MiB": Attacker(
        f"{MAKE} (call $print (i32.const 2) {STRING})",
        "a line of 8 KiB",
        ("aaaaaa",),
        calls=("system.print",),
        lives=True,
        allowed=ROOM,
    ),
    "a text of 16 MiB": Attacker(
        f"{MAKE} (call $send-ws-text (i32.const 1) {STRING} (i32.const {SCRATCH}))",
        "`too-big`",
        calls=("http-server.send-ws-text",),
        lives=True,
        allowed=ROOM,
    ),
    "a list of 65,537": Attacker(
        f"""{MAKE} (call $send-ws-text-many (i32.const 262144) (i32.const 65537)
          (i32.const 0) (i32.const 0) (i32.const {SCRATCH}))""",
        "ended alone",
        ("trapped: it passed a list of 65537 elements",),
        calls=("http-server.send-ws-text-many",),
        allowed=ROOM,
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
    ),
    "more than any state may have": Attacker(
        f"{MAKE} (call $set-state (i32.const 196608) (i32.const {LARGE + 65536}) (i32.const {SCRATCH}))",
        "ended alone",
        ("trapped: it passed 16842752 bytes to a call that takes 16777216 at most",),
        calls=("system.set-state",),
        allowed=ROOM,
    ),
    "state of 16 MiB": Attacker(
        f"""{ROOMY} (call $set-state (i32.const {AT}) (i32.const {LARGE}) (i32.const {SCRATCH}))
          (call $get-state (i32.const {SCRATCH}))""",
        "16 MiB of state, stored and read",
        calls=("system.set-state", "system.get-state"),
        lives=True,
        allowed=ROOM,
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
    ),
}


WITH_MUCH: Final = [interface for interface in CALLS if most_of(interface)]


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {"process_cpu_seconds_per_message": 3, "process_memory_bytes": MEMORY_BYTES}


FIRST: Final = (
    "a line of 16 MiB",
    "a list of 65,537",
    "bytes by the million",
    "state of 16 MiB",
    "one string as ten thousand",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(ATTACKERS, *FIRST))
@tried_again
async def test_a_guest_that_passes_giants_harms_nobody(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])


@pytest.mark.parametrize("interface", thorough_but(WITH_MUCH, "http-server"))
@tried_again
async def test_the_most_that_any_call_takes_holds_up_nobody(scene: Scene, interface: str) -> None:
    made = most_of(interface)
    wasm = bytes(wasmtime.wat2wasm(component([each.code for each in made], all_calls(interface))))
    title = f"the most that calls of {interface} take"
    async with (
        installed(scene, f"most-{interface}", wasm) as process_id,
        scene.attack(SUITE, title, process_id, ROOM) as attack,
    ):
        attack.gets = "16 MiB at a time"
        while not attack.measured:
            for number in range(len(made)):
                await told(scene, process_id, number)
