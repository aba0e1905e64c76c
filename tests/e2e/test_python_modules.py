"""What the Python SDK promises, in real nodes: modules, routes, handlers that wait. It is the same in a component that
was built and in one that runs the sources, as with `--dev`. The fake host runs the same scenarios in
`tests/unit/guest_sdk_python`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from guesthouse_sdk.testing import load_main
from tests.certificates import TRUSTS_NOBODY
from tests.route_requests import REQUESTS
from tests.tiers import thorough_but

from .clients import bound
from .conftest import StartNode
from .daemon import Daemon
from .waiting import until

PROCESS = "scenarios:scenarios:test.os"
pytestmark = pytest.mark.asyncio(loop_scope="module")

_module = sys.modules[load_main(Path(__file__).parent / "guests/python/scenarios.py").__module__]
SCENARIOS, QUOTA = list(_module.SCENARIOS), _module.QUOTA


Running = Callable[[], Awaitable[Daemon]]
_BUILD = """
[process.build]
language = "python"
source = "scenarios.py"
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as its author has it: nothing of it is built."""
    guests = Path(__file__).parent / "guests"
    folder = tmp_path_factory.mktemp("sources") / "scenarios"
    folder.mkdir()
    shutil.copy(guests / "python/scenarios.py", folder)
    manifest = (guests / "scenarios/package.toml").read_text()
    head, *processes = manifest.split("[[process]]")
    built = "[[process]]".join((head, *(process + _BUILD for process in processes)))
    (folder / "package.toml").write_text(built)
    return folder


@pytest.fixture(params=thorough_but(["built", "from its sources"], "built"))
def running(
    request: pytest.FixtureRequest, shared: StartNode, sources: Path, development: dict[str, str]
) -> Running:
    """Starts the node, once for each way to run the package."""
    settings = {"process_kv_bytes": QUOTA, "process_drive_bytes": QUOTA}
    if request.param == "built":
        return lambda: shared("scenarios", settings=settings)
    return lambda: shared(sources, settings=settings, flags=("--dev",), variables=development)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_modules_are_as_the_sdk_says(running: Running, name: str) -> None:
    node = await running()
    process = "bare" if name == "lacks" else "scenarios"
    async with bound(node, f"{process}:scenarios:test.os", "/") as client:
        assert await client.ask(name) == "ok"


@pytest.mark.parametrize("name", list(REQUESTS))
async def test_routes_answer_as_in_the_fake_host(running: Running, name: str) -> None:
    node = await running()
    (method, path, body, headers), (status, text, expected) = REQUESTS[name]
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY) as client:
        url = f"{node.url}/{PROCESS}{path}"
        answer = await client.request(method, url, content=body, headers=headers)
    assert (answer.status_code, answer.text) == (status, text)
    found = {wanted: answer.headers.get(wanted) for wanted in expected}
    if "vary" in expected:  # the node adds what its own answers depend on
        found["vary"] = answer.headers["vary"].removesuffix(", Service-Worker")
    assert found == expected


async def test_a_handler_that_waits_holds_up_its_own_channel_alone(shared: StartNode) -> None:
    node = await shared("waiter")
    waiter = "waiter:waiter:test.os"
    async with bound(node, waiter, "/") as other:
        async with bound(node, waiter, "/") as one:
            for seconds in ("0.2", "0", "3600", "0"):
                await one.send(seconds)
            assert await other.ask("0.01") == "0.01"
            assert [await one.receive(), await one.receive()] == ["0.2", "0"]
            assert await other.ask("0") == "0"
            assert await other.ask("ended") == "4"
        # what waited for an hour ends with its channel
        await until(lambda: other.ask("ended"), lambda ended: ended == "5", "a handler waits for nobody")
