"""What the Python SDK promises of `kv`, `vfs` and `timer`, in real nodes. The fake host runs the same scenarios in
`tests/unit/guest_sdk_python/test_modules.py`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from .clients import bound
from .conftest import StartNode

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _named() -> tuple[list[str], int]:
    file = Path(__file__).parent / "guests/python/scenarios.py"
    spec = importlib.util.spec_from_file_location("scenarios_of_modules", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.SCENARIOS), module.QUOTA


SCENARIOS, QUOTA = _named()


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_modules_are_as_the_sdk_says(shared: StartNode, name: str) -> None:
    node = await shared("scenarios", settings={"process_kv_bytes": QUOTA, "process_drive_bytes": QUOTA})
    process = "bare" if name == "lacks" else "scenarios"
    async with bound(node, f"{process}:scenarios:test.os", "/") as client:
        assert await client.ask(name) == "ok"
