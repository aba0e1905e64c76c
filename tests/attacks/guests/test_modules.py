"""A package whose components have so many core modules that a worker could hold no others.

Each compiled module is an open file and three mappings of the worker that has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from tests.patience import tried_again

from guesthouse.control.control_client import CommandRefused
from guesthouse.worker.limits.package_modules import MAX_MODULES

from ..harness import WORKERS, Scene
from . import components
from .attackers import SUITE, Attacker, installed

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOO_MANY: Final = WORKERS * (MAX_MODULES // components.MODULES) + 1
"""Components, on all workers together."""


@pytest.fixture(scope="module")
def scene(shared_scene: Scene) -> Scene:
    return shared_scene


def package_of_many(folder: Path) -> Path:
    """A package with a process for each of so many components."""
    folder = folder / "many-modules"
    folder.mkdir(exist_ok=True)
    lines = ["[package]", 'name = "many-modules"', 'publisher = "test.os"', 'version = "0.1.0"']
    lines.append('description = "An attack"')
    for number in range(TOO_MANY):
        (folder / f"{number}.wasm").write_bytes(components.with_modules(f"own-{number}"))
        lines += ["[[process]]", f'name = "own-{number}"', f'wasm = "{number}.wasm"', 'on-exit = "none"']
    (folder / "package.toml").write_text("\n".join(lines))
    return folder


@tried_again
async def test_a_package_has_so_many_core_modules_in_a_worker_and_others_start(scene: Scene) -> None:
    package = package_of_many(scene.folder)
    async with scene.attack(SUITE, f"{TOO_MANY} components of {components.MODULES} core modules") as attack:
        attack.gets = "its own processes are not started"
        while not attack.measured:
            with pytest.raises(
                CommandRefused, match="core modules, and with those of many-modules"
            ) as refused:
                await scene.install(package)
            async with installed(scene, "beside-many-modules", Attacker("", "").wasm()) as process_id:
                assert (await scene.ps())[process_id]["state"] == "running"
        attack.log = str(refused.value)
