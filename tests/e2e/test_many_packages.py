"""A node with many packages: what a start does grows with their number, and not with its square."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from guesthouse.core.config import HttpSettings, Settings
from guesthouse.node.node import Node
from guesthouse.package.store.installed import INSTALLED_NAME

from .packages import package

pytestmark = pytest.mark.thorough

FEW: Final = 40
MANY: Final = 10 * FEW


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """How many calls of functions there were in the block, in this thread and those that it started."""
    calls = count()

    def one(frame: FrameType, event: str, argument: Any) -> None:
        if not event.endswith("return"):
            next(calls)

    threading.setprofile(one)
    sys.setprofile(one)
    try:
        yield lambda: next(calls)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def home_with(number: int, home: Path) -> Settings:
    """A home with so many packages installed, all of the same component."""
    settings = Settings(home=str(home), workers=1, http=HttpSettings(port=0))
    async with Node(settings, None) as node:
        await node.installer.install(str(package("echo-c")))
    installed = json.loads((home / INSTALLED_NAME).read_text())
    ((_, item),) = installed["packages"].items()
    first = node.home.unpacked / item["current"]["hash"]
    manifest = (first / "package.toml").read_text()
    for each in range(number - 1):
        name = f"echo-{each}"
        folder = first.with_name(hashlib.sha256(name.encode()).hexdigest())
        shutil.copytree(first, folder)
        (folder / "package.toml").write_text(manifest.replace('"echo-c"', f'"{name}"', 1))
        version = {"version": "0.1.0", "hash": folder.name}
        installed["packages"][f"{name}:guesthouse.os"] = {"current": version, "previous": None}
    (home / INSTALLED_NAME).write_text(json.dumps(installed))
    return settings


async def calls_to_start(number: int, home: Path) -> int:
    settings = await home_with(number, home)
    async with Node(settings, None) as node:
        with counted() as calls:
            await node.installer.start()
            taken = calls()
        assert len(node.packages) == len(node.router.processes()) == number
    return taken


async def test_a_start_takes_as_much_for_each_of_many_packages(new_home: Callable[[], Path]) -> None:
    few, many = [await calls_to_start(number, new_home()) for number in (FEW, MANY)]
    assert many < 1.5 * few * MANY / FEW, f"{few} calls for {FEW} packages, {many} for {MANY}"
