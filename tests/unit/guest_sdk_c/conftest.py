"""C guests, built with the SDK and run in a real worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guesthouse.core.config import PackageLimits
from guesthouse.package.build.build_package import build_package
from guesthouse.package.compile.compile import compile_component
from guesthouse.package.format.load import load_package
from guesthouse.wasm.artifact_files import PLAN_SUFFIX, core_path

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
        compiled = folder / f"guest{PLAN_SUFFIX}"
        plan, *modules = compile_component(process.component.read_bytes()).parts
        compiled.write_bytes(plan)
        for number, module in enumerate(modules):
            core_path(compiled, number).write_bytes(module)
        return compiled

    return build


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that is ready."""
    with Worker(tmp_path_factory.mktemp("worker")) as worker:
        worker.configure()
        yield worker
