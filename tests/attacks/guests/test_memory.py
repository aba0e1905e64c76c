"""Guests that want all the memory there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
import wasmtime
from tests.patience import Disturbed, tried_again
from tests.tiers import thorough_but

from guesthouse.control.control_client import CommandRefused
from guesthouse.core.config import MIB
from guesthouse.wasm.plan.linking import MAX_CALLS

from ...unit.worker.guests import SCRATCH
from ..figures import Allowance
from ..harness import Scene
from . import components
from .attackers import SUITE, Attacker, carry_out, installed

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {"package_unpack_ratio": 100_000}  # or what is the same over and over comes no further than that


LIMITED: Final = "its limit of memory, and no more"
ENDED: Final = "its limit of memory; then it is ended"
FULL: Final = ("ran out of memory: its memory was full",)
GROW_AND_TOUCH: Final = """(loop $more
  (local.set 8 (memory.grow (i32.const 16)))
  (if (i32.ne (local.get 8) (i32.const -1)) (then
    (i32.store (i32.mul (local.get 8) (i32.const 65536)) (i32.const 1)) (br $more))))"""
"""Takes memory a megabyte at a time, and uses each, until it is refused."""

ATTACKERS: Final = {
    "memory by pages": Attacker(GROW_AND_TOUCH, LIMITED, locals="(local i32)", lives=True),
    "memory by pages, then a trap": Attacker(
        f"{GROW_AND_TOUCH} unreachable", ENDED, FULL, locals="(local i32)"
    ),
    "memory all at once": Attacker(
        "(if (i32.ne (memory.grow (i32.const 65000)) (i32.const -1)) (then unreachable))",
        "a refusal",
        lives=True,
    ),
    "tables": Attacker(
        """(loop $more (br_if $more (i32.ne
             (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))""",
        "its limit of table elements, and no more",
        more="(table $t 1 funcref)",
        lives=True,
    ),
    "an allocator that wastes a page a call": Attacker(
        f"(loop $more (call $get-blob-text (i32.const {SCRATCH})) (call $our (i32.const {SCRATCH})) (br $more))",
        ENDED,
        FULL,
        calls=("system.our", "messaging.get-blob-text"),
        allocator="""(local.set $start (memory.grow (i32.const 1)))
          (if (i32.eq (local.get $start) (i32.const -1)) (then unreachable))
          (i32.mul (local.get $start) (i32.const 65536))""",
    ),
}


FIRST: Final = (
    "memory by pages",
    "memory all at once",
    "tables",
    "an allocator that wastes a page a call",
)
"""The others show what these do once more."""


@pytest.mark.parametrize("name", thorough_but(ATTACKERS, *FIRST))
@tried_again
async def test_a_guest_that_takes_memory_gets_its_limit_and_no_more(scene: Scene, name: str) -> None:
    await carry_out(scene, name, ATTACKERS[name])


@tried_again
async def test_a_guest_of_many_memories_is_not_installed(scene: Scene) -> None:
    """Each would have the limit for itself."""
    text = Attacker("", "").wat()
    many = "".join(f"(core instance (instantiate $spare)) ;; {number}\n" for number in range(400))
    text = text.replace("(core module $main", f"(core module $spare (memory 1))\n{many}(core module $main", 1)
    async with scene.attack("Hostile guests", "400 memories") as attack:
        attack.gets = "it is not installed"
        with pytest.raises(CommandRefused, match="it has 401 memories, over 3") as refused:
            async with installed(scene, "memories", bytes(wasmtime.wat2wasm(text))):
                pass
        attack.log = str(refused.value).replace(str(scene.daemon.home.parent), "…")


ROOM: Final = Allowance(node_peak_bytes=256 * MIB)


async def outcome(scene: Scene, wasm: bytes) -> str:
    """What comes of installing a component: `installed`, or why it is refused."""
    try:
        async with installed(scene, "heavy", wasm):
            return "installed"
    except (CommandRefused, Disturbed) as refusal:
        return str(refusal).replace(str(scene.daemon.home.parent), "…")


@pytest.mark.parametrize(
    "name",
    thorough_but(
        components.HEAVY, "100,000 globals 400 times", "1,000 imports 500 times", "20 MB of data 500 times"
    ),
)
@tried_again
async def test_a_component_whose_instances_take_too_much_is_refused(scene: Scene, name: str) -> None:
    wasm = components.HEAVY[name]()
    async with scene.attack(SUITE, name, allowed=ROOM) as attack:
        attack.gets = "a refusal"
        while not attack.measured:
            attack.log = await outcome(scene, wasm)
            assert any(
                words in attack.log
                for words in ("globals, functions and elements", "µs to create one", "together")
            )


AS_MUCH_AS_MAY_BE: Final[dict[str, Callable[[], bytes]]] = {
    "16 MB of globals": components.as_heavy_as_may_be,
    "10,000 imports": lambda: components.with_imports(980, 10),
    "1,500 functions to receive by": lambda: components.with_receiving(MAX_CALLS),
}


@pytest.mark.parametrize("what", AS_MUCH_AS_MAY_BE)
@tried_again
async def test_instances_that_take_as_much_as_they_may_are_made_a_little_at_a_time(
    scene: Scene, what: str
) -> None:
    """Those that the worker serves meanwhile are served between two of them."""
    wasm = AS_MUCH_AS_MAY_BE[what]()
    async with scene.attack(SUITE, what, allowed=ROOM) as attack:
        attack.gets = "what it asks for"
        while not attack.measured:
            assert await outcome(scene, wasm) == "installed"
