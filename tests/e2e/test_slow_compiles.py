"""A component that does not compile in its time is left out, and the others run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from .clients import ECHO_C, registered
from .conftest import StartNode
from .daemon import run_command

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many functions, each with work for the compiler: seconds of it."""
    step = "(local.set 0 (i32.div_u (local.get 0) (i32.add (local.get 0) (i32.const 3))))"
    path = tmp_path_factory.mktemp("slow") / "slow.wasm"
    path.write_bytes(
        wasmtime.wat2wasm(f"(component (core module {f'(func (local i32) {step * 50})' * 10_000}))")
    )
    return path


async def test_a_node_goes_on_without_a_component_that_compiles_too_slowly(
    start: StartNode, slow: Path
) -> None:
    await start("echo-c")  # compiles it, for the next
    daemon = await start("echo-c", slow, settings={"package_compile_seconds": 0.3})
    line = await daemon.log_line("slow:slow:local.os", "did not compile within 0.3 s")
    assert "starting without it" in line["text"]
    async with registered(daemon, ECHO_C, await daemon.token()) as client:
        assert await client.ask("on") == "on"


async def test_a_node_of_that_component_alone_says_why_it_does_not_start(
    new_home: Callable[[], Path], slow: Path
) -> None:
    home = new_home()
    ran = await run_command(
        *(home, "run", "--home", home, "--port", "0", slow), settings={"package_compile_seconds": 0.3}
    )
    assert ran.code == 1
    assert "raise package.compile_seconds" in ran.stderr.splitlines()[-1]
