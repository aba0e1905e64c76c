"""Frames between node and worker that are cut, garbled or lies: the worker is replaced, and nobody else notices."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from tests.e2e.clients import Client, registered
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from tests.e2e.packages import package
from tests.e2e.waiting import command_line, descendants, until
from tests.examples import examples
from tests.tiers import thorough_but

from guesthouse.control.control_client import ask

from .liar import liar
from .rounds import chances
from .subprocesses import ready_workers
from .writers import LogTail

LYING_NODE: Final = Path(__file__).parent / "liar/lying_node.py"
ONE, TWO = "one:lies:test.os", "two:lies:test.os"
ECHOES: Final = """[package]
name = "lies"
publisher = "test.os"
version = "0.1.0"
description = "Two that echo"

[[process]]
name = "one"
wasm = "echo.wasm"
on-exit = "restart"
public = true

[[process]]
name = "two"
wasm = "echo.wasm"
on-exit = "restart"
public = true
"""
PACE_SECONDS: Final = 0.005
"""Between two messages of a neighbour, which is to be answered all the time, and to keep no CPU busy."""
SETTINGS: Final = {"restart_first_delay": 0, "worker_longest_pause": 0.05}


class Liars:
    """A node whose two workers lie when they are told to, each with a process that echoes."""

    def __init__(self, daemon: Daemon, lies: Path) -> None:
        self.daemon = daemon
        self.lines = LogTail(daemon.home)
        self._lies = lies

    async def part(self) -> None:
        """See that each worker runs one of the two."""
        await ready_workers(self.daemon, 2)
        await asyncio.to_thread(lambda: list(ask(self.daemon.home, "restart", process=ONE)))
        processes = await asyncio.to_thread(lambda: list(ask(self.daemon.home, "ps")))
        assert len({item["worker"] for item in processes}) == 2, processes

    def tell(self, lie: str) -> None:
        """Whoever runs the first process lies."""
        self._lies.write_text(lie)
        for child in descendants(self.daemon.pid):
            if b"liar.py" in command_line(child.pid):
                os.kill(child.pid, signal.SIGUSR1)


@pytest.fixture
async def liars(start: StartNode, tmp_path: Path) -> Liars:
    lies, echoes = tmp_path / "lies", tmp_path / "echoes"
    lies.touch()
    echoes.mkdir()
    (echoes / "package.toml").write_text(ECHOES)
    shutil.copy(package("echo-c") / "build/echo-c.wasm", echoes / "echo.wasm")
    variables = {"LIES_FILE": str(lies)}
    daemon = await start(echoes, workers=2, settings=SETTINGS, module=LYING_NODE, variables=variables)
    return Liars(daemon, lies)


@asynccontextmanager
async def undisturbed(client: Client) -> AsyncIterator[None]:
    """Each of its messages is answered, in order, all through the block."""

    async def talk() -> None:
        number = 0
        while True:
            number += 1
            assert await client.ask(f"neighbour {number}") == f"neighbour {number}"
            await asyncio.sleep(PACE_SECONDS)

    talking = asyncio.ensure_future(talk())
    try:
        yield
        assert not talking.done(), talking.result()
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def answered_again(client: Client) -> None:
    """The channel is open, and its process answers on it; what a liar swallowed is not waited for."""
    await client.send("and now?")
    while await client.receive() != "and now?":
        pass


async def end_of_a_worker(liars: Liars) -> str:
    """What the log says of the next worker that ends."""
    seen: list[tuple[str, str]] = []

    async def ends() -> list[str]:
        seen.extend(liars.lines.take())
        return [text for source, text in seen if source.startswith("worker-") and "starting another" in text]

    return (await until(ends, bool, "the log says why a worker ended"))[0]


MALFORMED: Final = "malformed link frame"
EXPECTED: Final = {
    "noise": "announces over",
    "more than a frame may hold": "announces over",
    "not MessagePack": MALFORMED,
    "no list": MALFORMED,
    "no message": MALFORMED,
    "too deep": MALFORMED,
    "a frame that ends early": MALFORMED,
    "a length that is too short": MALFORMED,
    "a frame with its middle cut out": "",  # what is left may be anything
    "a message that does not exist": MALFORMED,
    "fields of the wrong kind": MALFORMED,
    "a field too many": MALFORMED,
    "a run that it was not given": "which it was not given",
    "the first runs of the node, which are not all its own": "which it was not given",
    "more consumed than was sent": "messages consumed of",
    "another version of the link": "speaks version 999",
    "that it is ready, again": "twice that it is ready",
    "a cause that does not exist": "as the cause of an end",
    "a dictionary of large integers": MALFORMED,
    "large integers of one hash, in tags of CBOR": MALFORMED,
    "a regular expression, in a tag of CBOR": MALFORMED,
    "an extension type": MALFORMED,
    "sixty million empty lists": MALFORMED,
    "sixty million channels": MALFORMED,
    "four million answers in a frame": MALFORMED,
    "answers to nothing, without end": "what nobody asked",
    "a payload beyond the memory that it shares": "of a ring of",
    "a payload larger than that memory": "of a ring of",
    "a payload of another kind of message there": MALFORMED,
    "that it took what it was not sent": "regions are released",
    "text that is no text": MALFORMED,
    liar.SILENT: "exited with status 0",
    "noise to the worker": "exited with status 1: a link frame announces over",
    "not MessagePack to the worker": f"exited with status 1: a {MALFORMED}",
    "a message that does not exist to the worker": f"exited with status 1: a {MALFORMED}",
}


async def test_a_worker_that_lies_is_replaced_and_its_neighbour_does_not_notice(liars: Liars) -> None:
    """Every lie once, or a quarter of them, told by whoever runs the first process, while the second one's client is
    answered.
    """
    daemon = liars.daemon
    token = await daemon.token()
    assert EXPECTED.keys() == {*liar.TO_NODE, *liar.TO_WORKER, liar.SILENT}
    async with registered(daemon, ONE, token) as one, registered(daemon, TWO, token) as two:
        async with undisturbed(two):
            for lie in chances("lies").sample(sorted(EXPECTED), min(examples(len(EXPECTED)), len(EXPECTED))):
                await liars.part()
                await answered_again(one)
                liars.tell(lie)
                await one.send("a frame to lie with")
                line = await end_of_a_worker(liars)
                assert EXPECTED[lie] in line, f"{lie}: {line}"
                await answered_again(one)
        assert {item["channel_id"] for item in await daemon.channels()} == {one.channel_id, two.channel_id}
        assert (await daemon.ps())[TWO]["restarts"] == 0


@pytest.mark.parametrize("flood", thorough_but(liar.FLOODS, "lines"))
async def test_what_a_worker_says_without_end_is_carried_out_while_its_neighbour_is_answered(
    liars: Liars, flood: str
) -> None:
    """The node is done with the flood when the liar's own process is answered again, for what it says is behind it."""
    daemon = liars.daemon
    token = await daemon.token()
    async with registered(daemon, ONE, token) as one, registered(daemon, TWO, token) as two:
        await liars.part()
        await answered_again(one)
        liars.tell(flood)
        await one.send("begin")
        behind = asyncio.ensure_future(answered_again(one))
        answered = 0
        while not behind.done():
            assert await two.ask(f"neighbour {answered}") == f"neighbour {answered}"
            answered += 1
        await behind
        assert answered > 2, "the neighbour was answered while the flood was on"
        assert (await daemon.ps())[TWO]["restarts"] == 0
