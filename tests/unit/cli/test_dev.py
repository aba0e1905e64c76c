"""`run --dev`: what is built when a change is told, and what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import wasmtime

from guesthouse.cli.development import dev
from guesthouse.node.node import Node
from guesthouse.package.spec import Package

from .test_building import written


@dataclass
class Lines:
    """A log that a test can read."""

    errors: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        (self.errors if level == "error" else self.others).append(text)


class Router:
    """Takes the module that gives sources."""

    def add_module(self, module: object) -> None:
        assert module is not None


@dataclass
class Watched:
    """The parts of a node that watching uses; nothing of the package has changed but what is built."""

    log: Lines
    package: Package
    router: Router = field(default_factory=Router)

    async def load(self, argument: str) -> Package:
        return self.package


@pytest.mark.slow
async def test_an_error_is_told_once_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first change that is told is none, and editors and compilers touch more than the sources."""
    folder = written(
        tmp_path / "package", "c", "src/shown.c", {"src/shown.c": "int broken = no_such_name;\n"}
    )
    (folder / "build").mkdir()
    (folder / "build/shown.wasm").write_bytes(wasmtime.wat2wasm("(component)"))
    log = Lines()
    node = cast("Node", Watched(log, Package("shown", "local.os", "1.0.0", "x", folder, ())))
    watching = dev.Dev(node, [str(folder)])
    await watching.load()
    assert len(log.errors) == 1

    async def changes(*_: object) -> AsyncIterator[None]:
        yield
        yield
        assert len(log.errors) == 1, "nothing has changed"
        (folder / "src/shown.c").write_text("int broken = no_other_name;\n")
        yield
        assert len(log.errors) == 2, "another error"
        yield
        assert len(log.errors) == 2
        assert undone not in log.others
        monkeypatch.setattr(dev, "needs_build", lambda folder: False)  # it is as it was when it was built
        (folder / "src/shown.c").write_text("int fine;\n")
        yield
        assert log.others[-1] == undone
        yield
        assert log.others.count(undone) == 1

    undone = f"{folder} is again what runs: nothing to reload"
    monkeypatch.setattr(dev, "changes", changes)
    await watching.watch()
    assert len(log.errors) == 2
