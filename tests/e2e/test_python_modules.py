"""What the Python SDK promises of `kv`, `vfs` and `timer`, in real nodes. The fake host runs the same scenarios in
`tests/unit/guest_sdk_python/test_modules.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
import pytest
from guesthouse_sdk.testing import load_main
from tests.certificates import TRUSTS_NOBODY
from tests.route_requests import REQUESTS

from .clients import bound
from .conftest import StartNode
from .daemon import Daemon

PROCESS = "scenarios:scenarios:test.os"
pytestmark = pytest.mark.asyncio(loop_scope="module")

_module = sys.modules[load_main(Path(__file__).parent / "guests/python/scenarios.py").__module__]
SCENARIOS, QUOTA = list(_module.SCENARIOS), _module.QUOTA


async def running(shared: StartNode) -> Daemon:
    return await shared("scenarios", settings={"process_kv_bytes": QUOTA, "process_drive_bytes": QUOTA})


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_modules_are_as_the_sdk_says(shared: StartNode, name: str) -> None:
    node = await running(shared)
    process = "bare" if name == "lacks" else "scenarios"
    async with bound(node, f"{process}:scenarios:test.os", "/") as client:
        assert await client.ask(name) == "ok"


@pytest.mark.parametrize("name", list(REQUESTS))
async def test_routes_answer_as_in_the_fake_host(shared: StartNode, name: str) -> None:
    node = await running(shared)
    (method, path, body, headers), (status, text, expected) = REQUESTS[name]
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as client:
        url = f"{node.url}/{PROCESS}{path}"
        answer = await client.request(method, url, content=body, headers=headers)
    assert (answer.status_code, answer.text) == (status, text)
    found = {wanted: answer.headers.get(wanted) for wanted in expected}
    if "vary" in expected:  # the node adds what its own answers depend on
        found["vary"] = answer.headers["vary"].removesuffix(", Service-Worker")
    assert found == expected
