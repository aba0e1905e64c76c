"""Attacking processes: each does one thing for each message that it gets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import wasmtime

from guesthouse.control.control_client import CommandRefused
from guesthouse.wasm.types import FunctionType

from ...e2e.waiting import until
from ...unit.worker.guests import RECEIVE, Wasi, process
from ..figures import MIB, Allowance
from ..harness import Scene, package_folder
from .every_call import body_of

SUITE: Final = "Hostile guests"
ROOM: Final = Allowance(node_bytes=64 * MIB, node_peak_bytes=160 * MIB, worker_bytes=128 * MIB)
"""Allocators keep what had been of use for 16 MiB, and the node what 64 MiB of requests wait for."""
ARMED: Final = 512
"""Where an attacker's memory says whether it got its message."""
RECEIVING: Final = "messaging.receive"
_ARM: Final = f"(i32.store (i32.const {ARMED}) (i32.const 1))"


@dataclass(frozen=True, slots=True)
class Attacker:
    """A component of WAT that does one thing when it gets a message."""

    body: str
    """What its run function does then; locals come first, after the eight of its parameters."""
    gets: str
    """What that gets it."""
    told: tuple[str, ...] = ()
    """What the log says of it; nothing when the process lives on and there is nothing to tell."""
    calls: tuple[str, ...] = ()
    more: str = ""
    wasi: tuple[Wasi, ...] = ()
    types: dict[str, FunctionType] = field(default_factory=dict)
    locals: str = ""
    allocator: str = ""
    """What its allocator does instead of allocating, once it got the message."""
    table: bool = False
    """Whether its allocator has a table, which the process's code shares as `table`: how it calls the host."""
    lives: bool = False
    holds_worker: bool = False
    """Whether it makes host calls that take long: one is not interrupted, and neighbours on its worker wait."""
    keys: dict[str, Any] = field(default_factory=dict)
    """More of its manifest's `[[process]]`."""
    allowed: Allowance = Allowance()  # noqa: RUF009 - frozen

    def wat(self) -> str:
        """The component."""
        calls = (RECEIVING, *self.calls) if RECEIVING not in self.calls else self.calls
        text = process(
            calls,
            f"{self.locals} (loop $attack {RECEIVE} {_ARM} {self.body} (br $attack))",
            self.more,
            self.wasi,
            self.types,
        )
        text = with_allocator(text, self.allocator) if self.allocator else text
        return with_table(text) if self.table else text

    def wasm(self) -> bytes:
        """The component, encoded."""
        return bytes(wasmtime.wat2wasm(self.wat()))


def with_allocator(text: str, body: str) -> str:
    """A guest whose `cabi_realloc`, which has two locals `$start` and `$end`, does this once it is armed."""
    first = "(local.set $start (i32.and"
    return text.replace(
        first, f"(if (i32.load (i32.const {ARMED})) (then (return {body})))\n      {first}", 1
    )


def with_table(text: str) -> str:
    """A guest whose allocator and code share a table of one function."""
    libc, instance = "(core module $libc", "(core instance $libc (instantiate $libc))"
    table = """(core module $table (table (export "table") 1 funcref))
  (core instance $table (instantiate $table))"""
    given = '(with "table" (instance $table))'
    return (
        text.replace(libc, f'{table} {libc} (import "table" "table" (table 1 funcref))', 1)
        .replace(instance, f"(core instance $libc (instantiate $libc {given}))", 1)
        .replace('(with "libc" (instance $libc))', f'(with "libc" (instance $libc)) {given}', 1)
    )


def id_of(name: str) -> str:
    """The process id of an attacker."""
    return f"{name}:{name}:test.os"


@asynccontextmanager
async def installed(scene: Scene, name: str, wasm: bytes, **keys: Any) -> AsyncIterator[str]:
    """An attacker's process id, between its installation and its end."""
    await scene.install(package_folder(scene.folder, name, wasm, **keys))
    try:
        yield id_of(name)
    finally:
        await scene.uninstall(f"{name}:test.os")


async def begin(scene: Scene, process_id: str, body: str = "go") -> None:
    """Send a process its message."""
    await scene.ask("send", address=process_id, body=body)


async def told(scene: Scene, process_id: str, number: int) -> bool:
    """Tell a process of `every_call` to make an attempt; whether it lived on. One that did not is started again."""
    try:
        await scene.ask("send", address=process_id, body=body_of(number), seconds=60)
    except CommandRefused:
        await _stands_ready(scene, process_id)
        return False
    return True


async def gone(scene: Scene, process_id: str) -> None:
    """Wait until a process has ended."""
    await until(scene.ps, lambda processes: process_id not in processes, f"{process_id} ends", 30)


async def carry_out(scene: Scene, title: str, attacker: Attacker) -> None:
    """Attack with a process again and again, for as long as is measured, and judge it."""
    name = title.replace(" ", "-").replace(",", "")
    async with installed(scene, name, attacker.wasm(), **attacker.keys) as process_id:
        async with scene.attack(
            SUITE, title, process_id, attacker.allowed, holds_worker=attacker.holds_worker
        ) as attack:
            attack.gets = attacker.gets
            await begin(scene, process_id)
            if attacker.told:
                attack.log = await scene.log_line(process_id, *attacker.told)
            while not attack.measured:
                if not attacker.lives:
                    await gone(scene, process_id)
                await _stands_ready(scene, process_id)
                await begin(scene, process_id)
            if not attacker.lives:
                await gone(scene, process_id)
        assert (process_id in await scene.ps()) == attacker.lives


async def _stands_ready(scene: Scene, process_id: str) -> None:
    """Start the process again if it ended."""
    if process_id not in await scene.ps():
        await scene.ask("restart", process=process_id)
