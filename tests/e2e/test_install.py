"""`pip install .` gives a `guesthouse` that needs nothing of the checkout."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .clients import ECHO, ECHO_C, registered
from .daemon import Daemon
from .packages import ROOT, package

pytestmark = pytest.mark.thorough

INSTALL_SECONDS = 300


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the checkout; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.timeout(2 * INSTALL_SECONDS)
async def test_an_installed_guesthouse_builds_inspects_and_runs_a_package(
    tmp_path: Path, new_home: Callable[[], Path]
) -> None:
    venv = tmp_path / "venv"
    sources = shutil.ignore_patterns("build")
    in_c, in_python = (
        shutil.copytree(package(name), tmp_path / "mine" / name, ignore=sources)
        for name in ("echo-c", "echo")
    )
    guesthouse = venv / "bin/guesthouse"

    def install() -> str:
        run(sys.executable, "-m", "venv", venv, cwd=tmp_path)
        quickly = ("--quiet", "--disable-pip-version-check", "--no-compile")
        pip = (venv / "bin/python", "-m", "pip", "install", *quickly)
        run(*pip, f"{ROOT}[build]", cwd=tmp_path)
        for folder in (in_c, in_python):
            run(guesthouse, "build", folder, cwd=tmp_path)
        return run(guesthouse, "inspect", in_c / "build/echo-c.wasm", cwd=tmp_path)

    assert "can run it" in await asyncio.to_thread(install)
    where = run(venv / "bin/python", "-c", "import guesthouse; print(guesthouse.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(venv)
    async with Daemon(new_home(), [in_c, in_python], python=venv / "bin/python") as daemon:
        for process in (ECHO_C, ECHO):
            async with registered(daemon, process, await daemon.token()) as client:
                assert await client.ask("hello") == "hello"
        login = await daemon.get("/login")
        assert login.status_code == 200
        assert "Log in" in login.text
