"""The JavaScript client, in Node and in Chromium, by connections that break at random bytes."""

from __future__ import annotations

import os
from typing import Any, Final

import pytest
from tests.clients.javascript_runs import QUICK, SCRIPTS, run_node, run_script
from tests.clients.proxy import Fault, FaultyProxy
from tests.examples import examples
from tests.tiers import thorough_after

from .clients import COUNTER, ECHO_C
from .conftest import StartNode
from .daemon import Daemon

CUTS: Final = int(os.environ.get("GUESTHOUSE_CLIENT_CUTS", examples(160)))
"""Of each test: 1,000 take a few minutes."""

SECONDS: Final = 60 + CUTS
pytestmark = [pytest.mark.thorough, pytest.mark.asyncio, pytest.mark.timeout(SECONDS + 60)]


def proxy_of(daemon: Daemon, *faults: Fault, **options: Any) -> FaultyProxy:
    return FaultyProxy(int(daemon.url.rpartition(":")[2]), faults=faults or tuple(Fault), **options)


def nothing_was_lost(told: dict[str, Any], cuts: int) -> None:
    assert told["broken"] >= cuts
    assert told["away"] > 0
    assert told["heard"] == told["sent"]
    assert (told["lost"], told["left"]) == ([], 0)
    assert told["queued"] < 200_000, "a burst is all that waits"


@pytest.mark.parametrize(
    ("faults", "encrypted", "share"),
    thorough_after(
        1,
        [((Fault.CUT, Fault.RESET), False, 1), ((Fault.CUT, Fault.RESET), True, 4), (tuple(Fault), False, 4)],
        names=3,
    ),
    ids=["cut", "encrypted", "faulty"],
)
async def test_in_node_each_message_comes_once_and_in_order_however_connections_break(
    start: StartNode, faults: tuple[Fault, ...], encrypted: bool, share: int
) -> None:
    daemon = await start("echo-c")
    async with proxy_of(daemon, *faults, seed=f"{len(faults)} {encrypted}", stall_seconds=0.3) as proxy:
        options = {**QUICK, "url": proxy.url, "process": ECHO_C, "token": await daemon.token()}
        plan = {"options": options, "cuts": CUTS // share, "encrypted": encrypted}
        told = await run_script("cuts.mjs", plan, seconds=SECONDS)
        proxy.calm()
    nothing_was_lost(told, CUTS // share)
    assert told["grown"] < 2_000_000, told
    await daemon.no_channels()


async def test_in_node_the_client_does_what_its_documentation_says(start: StartNode) -> None:
    daemon = await start("echo-c", "counter")
    token, other = await daemon.token(), await daemon.token()
    variables = {
        "PORT": daemon.url.rpartition(":")[2],
        "TOKEN": token,
        "OTHER_TOKEN": other,
        "ECHO": ECHO_C,
        "COUNTER": COUNTER,
        "COOKIE": f"{daemon.cookie_name}={token}",
    }
    code, out = await run_node(
        "--test", "--test-timeout=60000", SCRIPTS / "behaviour.test.mjs", seconds=110, variables=variables
    )
    assert code == 0, out
    await daemon.no_channels()
