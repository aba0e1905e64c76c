"""The Python client with nodes that are wrong, and with users, tokens and networks that fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tests.e2e.clients import ECHO_C
from tests.e2e.conftest import StartNode
from tests.patience import PATIENCE
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from guesthouse_client import (
    GuesthouseError,
    Interrupted,
    ProtocolViolated,
    State,
    TokenUnavailable,
    connect,
)
from guesthouse_client._backoff import Backoff
from guesthouse_client._runner import Runner

from .proxy import FaultyProxy

pytestmark = pytest.mark.asyncio

QUICK: dict[str, Any] = {"close_seconds": PATIENCE, "proxy": None, "process": ECHO_C}
Behaviour = Callable[[ServerConnection], Awaitable[None]]


def control(**fields: object) -> str:
    return "\x10" + json.dumps(fields)


def opened(kind: str = "opened", **more: object) -> str:
    ack = {"messages": 64, "bytes": 65536, "seconds": 5}
    fields = {
        "channel_id": 7,
        "session": "k" * 22,
        "resume_seconds": 60,
        "message_bytes": 1 << 20,
        "ack": ack,
    }
    return control(type=kind, **fields, **more)


@asynccontextmanager
async def node(behaviour: Behaviour) -> AsyncIterator[str]:
    """A node that speaks `guesthouse.v1` and then does as it likes."""
    async with serve(
        behaviour, "127.0.0.1", 0, subprotocols=[Subprotocol("guesthouse.v1")], compression=None
    ) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def silent(socket: ServerConnection) -> None:
    """Opens the channel and takes everything."""
    await socket.recv()
    await socket.send(opened())
    async for _ in socket:
        pass


@pytest.mark.parametrize(
    ("code", "reason"),
    [(99, ""), (1001, ""), (1005, ""), (2999, ""), (5000, ""), (1000, "r" * 124), (1000, "é" * 62)],
)
async def test_a_close_that_cannot_be_sent_leaves_the_channel_as_it_was(code: int, reason: str) -> None:
    async with node(silent) as url:
        channel = await connect(url, token="t", **QUICK | {"close_seconds": 0.1})
        with pytest.raises(ValueError, match=r"code of 3000|bytes"):
            await channel.close(code, reason)
        assert channel.state is State.OPEN
        await channel.send("goes on")
        await channel.close(4000, "r" * 123)
        assert channel.state.value == "closed"


async def flooding(socket: ServerConnection) -> None:
    """Takes one message, says so, and sends many."""
    await socket.recv()
    await socket.send(opened())
    while "ping" not in str(await socket.recv()):
        pass
    await socket.send(control(type="pong", received=1))
    with suppress(ConnectionClosed):
        for _ in range(8000):
            await socket.send("x" * 1000)
        await socket.wait_closed()


async def test_a_close_does_not_wait_behind_what_nobody_receives() -> None:
    async with (
        node(flooding) as url,
        asyncio.timeout(PATIENCE / 2),
        connect(url, token="t", **QUICK) as channel,
    ):
        await channel.send("flood")
    assert channel.state is State.CLOSED


async def test_a_token_function_that_fails_before_the_channel_opens_is_asked_again_and_then_named() -> None:
    asked: list[int] = []

    async def token() -> str:
        asked.append(1)
        raise RuntimeError("the backend is down")

    async with node(silent) as url:
        with pytest.raises(TokenUnavailable, match="the backend is down") as caught:
            await connect(url, token=token, open_seconds=0.2, first_delay=0.01, **QUICK)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert len(asked) > 1


async def test_a_token_function_that_gives_none_is_a_fault_of_the_program() -> None:
    async with node(silent) as url:
        with pytest.raises(TypeError, match="NoneType, not str"):
            await connect(url, token=lambda: None, **QUICK)  # type: ignore[arg-type]


async def test_a_renewal_that_fails_leaves_a_channel_that_is_well(
    start: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guesthouse_client._runner.RENEWAL_PAUSE", 0.01)
    daemon = await start("echo-c")
    asked: list[int] = []
    renewed = asyncio.Event()

    async def token() -> str:
        asked.append(1)
        if len(asked) in (2, 3):
            raise LookupError("no token now")
        if len(asked) == 4:
            renewed.set()
        return await daemon.token(ttl=2 if len(asked) == 1 else 3600)

    async with connect(daemon.url, token=token, reopen=False, **QUICK) as channel:
        await asyncio.wait_for(renewed.wait(), PATIENCE)
        await channel.send("still here")
        assert await channel.recv() == "still here"


async def test_what_is_refused_is_told_within_the_time_to_open() -> None:
    asked: list[float] = []
    loop = asyncio.get_running_loop()

    async def busy(socket: ServerConnection) -> None:
        asked.append(loop.time())
        await socket.close(1013, "later")

    async with node(busy) as url:
        with pytest.raises(Interrupted, match="later"):
            # Pauses after "later" begin at some 15 s, so waiting would be in vain.
            await connect(url, token="t", open_seconds=1.0, first_delay=5.0, **QUICK)
    assert len(asked) == 1


async def test_receivers_are_served_in_the_order_in_which_they_came() -> None:
    async def counts(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(opened())
        await socket.recv()
        for number in range(20):
            await socket.send(str(number))
        async for _ in socket:
            pass

    async with node(counts) as url, connect(url, token="t", **QUICK | {"close_seconds": 0.1}) as channel:
        tasks = [asyncio.create_task(channel.recv()) for _ in range(20)]
        await asyncio.sleep(0)
        await channel.send("go")
        assert await asyncio.gather(*tasks) == [str(number) for number in range(20)]


async def test_a_node_that_sends_what_nobody_receives_is_found_out() -> None:
    async def floods(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(opened())
        while True:
            await socket.send(b"x" * 1000)

    async with node(floods) as url, connect(url, token="t", receive_bytes=10_000, **QUICK) as channel:
        assert await channel.wait_for(State.CLOSED) is State.CLOSED
        assert channel._link._inbox.size < 200_000
        with pytest.raises(ProtocolViolated, match="nobody received"):
            [message async for message in channel]


@pytest.mark.parametrize("end", ["abort", "4008", "1011"])
async def test_a_node_that_opens_and_ends_at_once_is_left_alone_for_longer_and_longer(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    enough = asyncio.Event()

    def pause(self: Backoff, *, longer: bool = False) -> float:
        pauses.append(given(self, longer=longer))
        if len(pauses) == 8:
            enough.set()
        return 0.0  # nobody has to wait here

    given = Backoff.pause
    monkeypatch.setattr(Backoff, "pause", pause)

    async def ends(socket: ServerConnection) -> None:
        resumes = b'"resume"' in str(await socket.recv()).encode()
        if end == "4008" and resumes:
            await socket.close(4008, "no such session")
            return
        await socket.send(opened("resumed", received=0) if resumes else opened())
        if end == "1011":
            await socket.close(1011, "no pong within the deadline")
        else:
            socket.transport.abort()

    async with node(ends) as url:
        channel = await connect(url, token="t", **QUICK)
        await asyncio.wait_for(enough.wait(), PATIENCE)
        await channel.close()
    assert pauses[0] == 0.0
    assert pauses[7] >= 15.0


async def test_an_encrypted_channel_whose_socket_breaks_during_the_key_exchange_is_opened_again(
    start: StartNode,
) -> None:
    daemon = await start("echo-c")
    proxy = FaultyProxy(int(daemon.url.rpartition(":")[2]), faults=())
    async with proxy:
        exchanged: list[int] = []
        runner_secret = Runner._secret

        async def cut_once(self: Runner, channel_id: int) -> Any:
            exchanged.append(channel_id)
            if len(exchanged) == 1:
                assert self._socket is not None
                proxy.cut_all()
                await daemon.no_channels()
            return await runner_secret(self, channel_id)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Runner, "_secret", cut_once)
            options: dict[str, Any] = QUICK | {"first_delay": 0.01}
            async with connect(proxy.url, token=await daemon.token(), encrypted=True, **options) as channel:
                await channel.send("sealed")
                assert await channel.recv() == b"sealed"
        assert len(exchanged) == 2


async def test_a_defect_of_the_client_ends_the_channel_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Runner, *_: object) -> None:
        raise RuntimeError("a defect")

    async with node(silent) as url:
        channel = await connect(url, token="t", **QUICK)
        monkeypatch.setattr(Runner, "_close", broken)
        channel._runner._end(ProtocolViolated("of the test"))
        with pytest.raises((RuntimeError, GuesthouseError)):
            await channel.recv()
        assert channel.state.value == "closed"
