"""C guests, built with the SDK and run in a real worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wasmtime.component import Component

from guesthouse.config import PackageLimits
from guesthouse.package.build import build_package
from guesthouse.package.load import load_package
from guesthouse.worker.boundary.engine import new_engine

from ..worker.process import Worker

Built = Callable[[Path], Path]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Builds a copy of a package of one process; returns the component, compiled."""

    def build(source: Path) -> Path:
        folder = tmp_path_factory.mktemp("c") / source.name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("build"))
        build_package(folder)
        (process,) = load_package(str(folder), PackageLimits(), folder).processes
        compiled = folder / "guest.cwasm"
        compiled.write_bytes(Component(new_engine(), process.component.read_bytes()).serialize())
        return compiled

    return build


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that is ready."""
    with Worker(tmp_path_factory.mktemp("worker")) as worker:
        worker.configure()
        yield worker
