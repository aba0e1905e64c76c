"""An echo process to attack, and the attacker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from ...e2e.packages import package
from ..harness import Scene, package_folder
from .attacker import Attacker


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacker(scene: Scene) -> AsyncIterator[Attacker]:
    """An attacker of a process of its own."""
    wasm = package("echo-c") / "build/echo-c.wasm"
    await scene.install(package_folder(scene.folder, "target", wasm, on_exit="restart"))
    async with Attacker(scene) as attacker:
        yield attacker
