"""Every call of the contract, with texts and lists of every odd length, and thousands of times in a straight line."""

from __future__ import annotations

from typing import Final

import pytest
import wasmtime
from tests.patience import tried_again
from tests.tiers import thorough_but

from ..harness import Scene
from .attackers import ROOM, SUITE, installed, told
from .every_call import CALLS, LIMITS, all_calls, attempts, component, in_a_line, plain

pytestmark = pytest.mark.asyncio(loop_scope="module")

IN_A_LINE: Final = 2000
RIGHTS: Final = [{"process": "kernel:distro:sys", "params": "spawn"}]
NEVER_RETURNS: Final = "messaging.receive"
"""There is nothing for it to return."""


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {
        "process_cpu_seconds_per_message": 5,
        "process_memory_bytes": 128 * 2**20,
        "process_message_bytes": LIMITS.blob_bytes,
        "connections_message_bytes": LIMITS.message_bytes,
    }


async def no_fault_of_the_host(scene: Scene, process_id: str) -> None:
    """What ends a process is told as its own fault, in one line."""
    lines = [line for line in await scene.ask("logs", lines=100_000) if line["source"] == process_id]
    assert not [line["text"] for line in lines if "fault of the host" in line["text"] or "\n" in line["text"]]


@pytest.mark.parametrize("interface", thorough_but(CALLS, "capabilities"))
@tried_again
async def test_no_length_of_anything_in_any_call_harms_others(scene: Scene, interface: str) -> None:
    calls = all_calls(interface)
    made = [attempt for call in calls for attempt in attempts(call)]
    name = f"lengths-{interface}"
    wasm = bytes(wasmtime.wat2wasm(component([each.code for each in made], calls)))
    async with installed(scene, name, wasm, request_capabilities=RIGHTS) as process_id:
        async with scene.attack(SUITE, f"{len(made)} lengths in {interface}", process_id, ROOM) as attack:
            lived = [await told(scene, process_id, number) for number in range(len(made))]
            attack.gets = f"it ends by {lived.count(False)} of them"
            attack.log = await scene.log_line(process_id, "trapped: ")
        outside = [
            each.what for each, lives in zip(made, lived, strict=True) if each.length >= 2**31 and lives
        ]
        assert not outside
        assert lived.count(False) >= len(made) / 3
        await no_fault_of_the_host(scene, process_id)


@pytest.mark.parametrize("interface", thorough_but(CALLS, "http-server"))
@tried_again
async def test_no_call_in_a_straight_line_holds_up_others(scene: Scene, interface: str) -> None:
    calls = [call for call in all_calls(interface) if call != NEVER_RETURNS]
    name = f"lines-{interface}"
    wasm = bytes(wasmtime.wat2wasm(component([in_a_line(plain(call), IN_A_LINE) for call in calls], calls)))
    async with installed(scene, name, wasm) as process_id:
        async with scene.attack(SUITE, f"{IN_A_LINE} times each call of {interface}", process_id) as attack:
            attack.gets = "errors, in slices as long as any"
            for number in range(len(calls)):
                await told(scene, process_id, number)
            while not attack.measured:
                await told(scene, process_id, 0)
        await no_fault_of_the_host(scene, process_id)
