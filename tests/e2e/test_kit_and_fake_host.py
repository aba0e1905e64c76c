"""The Python SDK's fake host behaves as a real node: the same tests run in both, the real node by the test kit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from guesthouse_sdk.testing import FakeChannel, FakeHost, load_main
from guesthouse_sdk.testing import Refused as FakeRefused

from guesthouse.testing import Refused, TestChannel, TestNode

from .packages import package

pytestmark = pytest.mark.asyncio(loop_scope="module")

GUEST = Path(__file__).parent / "guests/python/clocks.py"
CLOCKS, MUTE = (f"{name}:clocks:test.os" for name in ("clocks", "mute"))
MODULES = ("kv:distro:sys", "timer:distro:sys")


class Client(Protocol):
    """A client's end of a channel."""

    async def send(self, message: str | bytes) -> None: ...

    async def received(self) -> list[str | bytes]:
        """What came since the last time, once the host has nothing left to do."""

    async def closed(self) -> tuple[int, str]: ...


class Host(Protocol):
    """What the tests do with a host."""

    async def open(self, path: str = "/", *, logged_in: bool = True) -> Client: ...

    async def http(
        self, method: str, path: str, body: bytes = b"", *, logged_in: bool = True
    ) -> tuple[int, str]: ...

    async def advance(self, seconds: float) -> None: ...

    async def restart(self) -> None: ...

    async def logs(self) -> list[str]: ...


class FakeClient:
    def __init__(self, host: FakeHost, channel: FakeChannel) -> None:
        self.host, self.channel, self.seen = host, channel, 0

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.channel.send_text(message)
        else:
            self.channel.send_bytes(message)
        self.host.run()

    async def received(self) -> list[str | bytes]:
        news = self.channel.received[self.seen :]
        self.seen += len(news)
        return news

    async def closed(self) -> tuple[int, str]:
        assert self.channel.closed is not None
        return self.channel.closed


class Fake:
    """The process in this Python."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host

    async def open(self, path: str = "/", *, logged_in: bool = True) -> Client:
        try:
            client = FakeClient(self.host, self.host.open(path, logged_in=logged_in))
        except FakeRefused as refused:
            raise Refused(refused.status, "") from None
        self.host.run()
        return client

    async def http(
        self, method: str, path: str, body: bytes = b"", *, logged_in: bool = True
    ) -> tuple[int, str]:
        try:
            exchange = self.host.http(method, path, body, logged_in=logged_in)
        except FakeRefused as refused:
            return refused.status, ""
        self.host.run()
        assert exchange.status is not None
        return exchange.status, exchange.text

    async def advance(self, seconds: float) -> None:
        self.host.advance(seconds)

    async def restart(self) -> None:
        self.host.restart()

    async def logs(self) -> list[str]:
        return [line.text for line in self.host.log]


class RealClient:
    def __init__(self, channel: TestChannel) -> None:
        self.channel = channel

    async def send(self, message: str | bytes) -> None:
        await self.channel.send(message)

    async def received(self) -> list[str | bytes]:
        return await self.channel.receive_all()

    async def closed(self) -> tuple[int, str]:
        return await self.channel.closed()


class Real:
    """The component in a node."""

    def __init__(self, node: TestNode, process: str) -> None:
        self.node, self.process = node, process

    async def open(self, path: str = "/", *, logged_in: bool = True) -> Client:
        return RealClient(await self.node.connect(f"{self.process}{path}", logged_in=logged_in))

    async def http(
        self, method: str, path: str, body: bytes = b"", *, logged_in: bool = True
    ) -> tuple[int, str]:
        answer = await self.node.http(method, f"{self.process}{path}", body, logged_in=logged_in)
        return answer.status, answer.text if answer.status == 200 else ""

    async def advance(self, seconds: float) -> None:
        await self.node.advance(seconds)

    async def restart(self) -> None:
        await self.node.restart(self.process)

    async def logs(self) -> list[str]:
        return await self.node.logs(self.process)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[TestNode]:
    async with TestNode(package("clocks"), now=1_900_000_000) as node:
        yield node


@pytest_asyncio.fixture(loop_scope="module", params=["fake", "real"])
async def make(
    request: pytest.FixtureRequest, node: TestNode
) -> AsyncIterator[Callable[[str], Awaitable[Host]]]:
    """Makes a host for a process; the fake one is new, the real one is the module's, with the process started anew."""
    fake: list[FakeHost] = []

    async def made(process: str) -> Host:
        if request.param == "real":
            await node.restart(process)
            return Real(node, process)
        host = FakeHost(f"fake.os@{process}")
        fake.append(host)
        host.__enter__()
        if process == CLOCKS:
            host.grant(*MODULES)
            host.process(MUTE, lambda _: None)
        host.run(load_main(GUEST))
        return Fake(host)

    yield made
    for host in fake:
        host.__exit__(None, None, None)


@pytest_asyncio.fixture(loop_scope="module")
async def host(make: Callable[[str], Awaitable[Host]]) -> Host:
    return await make(CLOCKS)


async def opened(host: Host, path: str = "/") -> Client:
    client = await host.open(path)
    assert await client.received() == ["hello"]
    return client


async def test_messages_come_in_order_with_their_types(host: Host) -> None:
    client = await opened(host)
    for message in (b"abc", "later 0.1 x", b"", "count"):
        await client.send(message)
    first, *others = await client.received()
    assert (first, others[0], len(others)) == (b"cba", b"", 2)


async def test_calls_come_at_their_times_and_in_their_order(host: Host) -> None:
    client = await opened(host)
    for call in ("later 30 c", "later 10 a", "later 20 b", "later 10 a2"):
        await client.send(call)
    assert await client.received() == []
    await host.advance(9.99)
    assert await client.received() == []
    await host.advance(0.02)
    assert await client.received() == ["a", "a2"]
    await host.advance(3600)
    assert await client.received() == ["b", "c"]


async def test_what_a_timer_sets_is_due_in_the_same_stretch_of_time(host: Host) -> None:
    client = await opened(host)
    for message in ("sleep 5", "later 7 seven", "sleep 4"):
        await client.send(message)
    await host.advance(11.5)  # messages of a channel wait for each other: 5, then 4 more
    assert await client.received() == ["slept 5", "slept 4"]
    await host.advance(0.5)
    assert await client.received() == ["seven"]


async def test_durable_timers_outlive_a_restart_and_calls_do_not(host: Host) -> None:
    client = await opened(host)
    for message in (
        "timer one 60",
        "timer two 90",
        "timer one 120",
        "later 30 lost",
        "timer three 5",
        "cancel three",
    ):
        await client.send(message)
    await host.restart()
    assert await client.received() == ["again"]
    await host.advance(100)
    assert await client.received() == ["timer two"]
    await host.advance(20)
    assert await client.received() == ["timer one"]


async def test_what_is_kept_for_a_time_is_gone_when_it_has_passed(host: Host) -> None:
    client = await opened(host)
    await client.send("keep 10")
    for _ in range(2):
        await client.send("kept")
        await host.advance(5)
    await client.send("kept")
    assert await client.received() == ["b'v'", "b'v'", "None"]


async def test_a_request_that_nobody_answers_times_out(host: Host) -> None:
    client = await opened(host)
    await client.send("ask 30")
    await host.advance(29)
    assert await client.received() == []
    await host.advance(1)
    assert await client.received() == ["timed out"]


async def test_state_outlives_a_restart(host: Host) -> None:
    client = await opened(host)
    await client.send("count")
    (first,) = await client.received()
    await host.restart()
    await client.send("count")
    assert await client.received() == ["again", str(int(first) + 1)]


async def test_a_process_without_the_right_is_refused(make: Callable[[str], Awaitable[Host]]) -> None:
    host = await make(MUTE)
    client = await opened(host)
    for message in ("later 1 x", "timer x 1", "keep 5", "sleep 1"):
        await client.send(message)
    assert await client.received() == ["refused"] * 4


async def test_paths_are_for_who_may_use_them(host: Host) -> None:
    assert await host.http("GET", "/hours/2") == (200, "7200 s")
    assert await host.http("POST", "/kept", b"\xff", logged_in=False) == (200, "kept")
    assert (await host.http("GET", "/hours/2", logged_in=False))[0] == 401
    assert (await host.http("PUT", "/kept"))[0] == 405
    assert (await host.http("GET", "/nowhere"))[0] == 404
    for path, logged_in, status in (("/mine", False, 401), ("/yours", True, 404)):
        with pytest.raises(Refused) as refused:
            await host.open(path, logged_in=logged_in)
        assert refused.value.status == status
    client = await opened(host, "/mine")
    await client.send("kept body")
    assert await client.received() == [str(b"\xff")]


async def test_a_channel_is_closed_as_the_process_says(host: Host) -> None:
    client = await opened(host)
    await client.send("close enough of it")
    assert await client.closed() == (4001, "enough of it")


async def test_what_a_handler_raises_is_logged_and_ends_nothing(host: Host) -> None:
    client = await opened(host)
    await client.send("fail for a reason")
    await client.send("log something else")
    await client.send(b"on")
    assert await client.received() == [b"no"]
    texts = await host.logs()
    (trace,) = (text for text in texts if "LookupError" in text)
    assert "for a reason" in trace
    assert "clocks.py" in trace
    assert any("something else" in text for text in texts)
