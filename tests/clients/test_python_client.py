"""The Python client with a real node: what its user sees of channels, tokens, losses and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from tests.e2e.clients import ECHO_C
from tests.e2e.conftest import StartNode
from tests.e2e.daemon import Daemon
from tests.patience import PATIENCE
from websockets.asyncio.server import ServerConnection, serve

from guesthouse_client import (
    ChannelRefused,
    ConnectionLost,
    Lost,
    MessagesLost,
    MessageTooBig,
    QueueFull,
    RequestFailed,
    RequestTimedOut,
    SessionLost,
    State,
    TokenRefused,
    connect,
)

from .proxy import FaultyProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK: dict[str, Any] = {"first_delay": 0.01, "longest_delay": 0.05, "close_seconds": PATIENCE, "proxy": None}
MESSAGES: list[str | bytes] = [
    "text",
    b"binary",
    "",
    b"",
    "\x10 begins with the escape",
    "é" * 2000,
    b"\0" * 5000,
]


def proxy_of(daemon: Daemon) -> FaultyProxy:
    """A proxy that breaks nothing by itself."""
    return FaultyProxy(int(daemon.url.rpartition(":")[2]), faults=())


@pytest_asyncio.fixture(loop_scope="module")
async def daemon(shared: StartNode) -> Daemon:
    return await shared("echo-c", settings={"connections_resume_seconds": 1})


async def test_messages_go_both_ways_in_the_register_form(daemon: Daemon) -> None:
    states: list[State] = []
    async with connect(
        daemon.url, process=ECHO_C, token=await daemon.token(), on_state=states.append, **QUICK
    ) as channel:
        assert (channel.state, channel.resumable, channel.subprotocol) == (State.OPEN, True, None)
        assert [each["channel_id"] for each in await daemon.channels()] == [channel.id]
        for message in MESSAGES:
            await channel.send(message)
            assert await channel.recv() == message
        await channel.send_json({"a": 1})
        assert json.loads(await channel.recv()) == {"a": 1}
        await channel.flush()
        assert channel.queued_bytes == 0
    assert states == [State.OPEN, State.CLOSED]
    await daemon.no_channels()


@pytest.mark.parametrize("path", ["/", "/public"])
async def test_bound_paths_take_the_token_as_a_cookie(daemon: Daemon, path: str) -> None:
    token = await daemon.token() if path == "/" else None
    async with proxy_of(daemon) as proxy:
        async with connect(proxy.url, process=ECHO_C, path=path, token=token, **QUICK) as channel:
            await channel.send("one")
            assert await channel.recv() == "one"
            proxy.cut_all()
            await channel.send("two")
            assert await channel.recv() == "two"
        async with connect(f"{proxy.url}/{ECHO_C}{path}", token=token, **QUICK) as channel:
            await channel.send("three")
            assert await channel.recv() == "three"


async def test_what_was_sent_at_the_end_of_the_block_arrives(daemon: Daemon) -> None:
    async with proxy_of(daemon) as proxy:
        async with connect(proxy.url, process=ECHO_C, token=await daemon.token(), **QUICK) as channel:
            proxy.cut_all()
            await channel.wait_for(State.AWAY)
            for number in range(100):
                await channel.send(str(number))
            await channel.wait_for(State.OPEN)
        assert (channel.state, channel.queued_bytes, channel.unconfirmed) == (State.CLOSED, 0, ())


async def test_a_block_that_fails_closes_the_channel(daemon: Daemon) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(daemon.url, process=ECHO_C, token=await daemon.token(), **QUICK) as channel:
            raise ZeroDivisionError
    assert channel.state is State.CLOSED
    await daemon.no_channels()


async def test_what_the_node_refuses_says_what_helps(daemon: Daemon) -> None:
    token = await daemon.token()
    with pytest.raises(ChannelRefused, match="4004"):
        await connect(daemon.url, process="no:such:process.os", token=token, **QUICK)
    with pytest.raises(TokenRefused, match="4002"):
        await connect(daemon.url, process=ECHO_C, token="wrong", **QUICK)
    with pytest.raises(TokenRefused, match="401"):
        await connect(daemon.url, process=ECHO_C, path="/", **QUICK)
    with pytest.raises(ChannelRefused, match="404"):
        await connect(daemon.url, process=ECHO_C, path="/nothing", token=token, **QUICK)
    async with serve(lambda socket: socket.wait_closed(), "127.0.0.1", 0) as closed:
        port = closed.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionLost):
        await connect(f"ws://127.0.0.1:{port}", process=ECHO_C, token=token, open_seconds=None, **QUICK)


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("ftp://example.com", {"process": "p", "token": "t"}),
        ("ws://example.com", {}),
        ("ws://example.com/p/", {"process": "p", "token": "t"}),
        ("ws://example.com", {"path": "/"}),
        ("ws://example.com", {"process": "p"}),
        ("ws://example.com", {"process": "p", "path": "/", "encrypted": True}),
        ("ws://example.com", {"process": "p", "token": "t", "queue_policy": "no such"}),
    ],
)
async def test_arguments_that_do_not_go_together_are_refused(url: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        connect(url, **arguments)


async def test_a_function_is_asked_for_a_token_at_first_and_when_one_is_refused(daemon: Daemon) -> None:
    tokens = ["wrong", await daemon.token()]
    asked: list[int] = []

    async def token() -> str:
        asked.append(len(asked))
        return tokens[min(len(asked), 2) - 1]

    async with proxy_of(daemon) as proxy, connect(proxy.url, process=ECHO_C, token=token, **QUICK) as channel:
        proxy.cut_all()
        await channel.wait_for(State.AWAY)
        await channel.wait_for(State.OPEN)
    assert asked == [0, 1]
    with pytest.raises(TokenRefused):
        await connect(daemon.url, process=ECHO_C, token=lambda: "wrong", **QUICK)


async def test_a_token_that_expires_is_renewed_by_itself_and_the_session_moves_to_the_next(
    daemon: Daemon,
) -> None:
    given: list[str] = []
    again = asyncio.Event()

    async def token() -> str:
        given.append(await daemon.token(ttl=3600 if given else 2))  # each is a family of its own
        if len(given) == 2:
            again.set()
        return given[-1]

    async with (
        proxy_of(daemon) as proxy,
        connect(proxy.url, process=ECHO_C, token=token, reopen=False, **QUICK) as channel,
    ):
        await asyncio.wait_for(again.wait(), PATIENCE)
        await channel.send("behind the token")
        assert await channel.recv() == "behind the token"
        proxy.cut_all()
        await channel.wait_for(State.AWAY)
        await channel.send("goes on")
        assert await channel.recv() == "goes on"
    assert len(given) == 2


async def test_a_session_moves_to_another_token(daemon: Daemon) -> None:
    async with (
        proxy_of(daemon) as proxy,
        connect(proxy.url, process=ECHO_C, token=await daemon.token(), reopen=False, **QUICK) as channel,
    ):
        assert await channel.renew_token(await daemon.token()) > 0
        with pytest.raises(TokenRefused):
            await channel.renew_token("wrong")
        token = await daemon.token()
        proxy.refuse = True
        proxy.cut_all()
        await channel.wait_for(State.AWAY)
        with pytest.raises(ConnectionLost):
            await channel.renew_token(token)
        proxy.refuse = False
        await channel.send("goes on")
        assert await channel.recv() == "goes on"


async def test_when_the_session_is_over_another_channel_opens_and_the_loss_is_told(daemon: Daemon) -> None:
    async with (
        proxy_of(daemon) as proxy,
        connect(proxy.url, process=ECHO_C, token=await daemon.token(), **QUICK) as channel,
    ):
        await channel.send("before")
        assert await channel.recv() == "before"
        first = channel.id
        proxy.refuse = True
        proxy.cut_all()
        await channel.wait_for(State.AWAY)
        await channel.send("waits")
        await daemon.no_channels()
        proxy.refuse = False
        with pytest.raises(MessagesLost) as told:
            await channel.recv()
        assert told.value.lost.received is None
        assert told.value.lost.unconfirmed in ((), ("before",))
        assert await channel.recv() == "waits"
        assert channel.id != first


async def test_without_reopening_the_session_that_is_over_is_the_end(daemon: Daemon) -> None:
    async with proxy_of(daemon) as proxy:
        channel = await connect(proxy.url, process=ECHO_C, token=await daemon.token(), reopen=False, **QUICK)
        proxy.refuse = True
        proxy.cut_all()
        await channel.wait_for(State.AWAY)
        await channel.send("waits")
        await daemon.no_channels()
        proxy.refuse = False
        with pytest.raises(SessionLost):
            await channel.recv()
        with pytest.raises(SessionLost):
            await channel.send("more")
        assert channel.unconfirmed == ("waits",)
        await channel.close()


async def test_the_queue_is_bounded_by_its_policy(daemon: Daemon) -> None:
    async with proxy_of(daemon) as proxy:
        token = await daemon.token()

        @asynccontextmanager
        async def away(policy: Any) -> AsyncIterator[Any]:
            async with connect(
                proxy.url, process=ECHO_C, token=token, queue_bytes=1000, queue_policy=policy, **QUICK
            ) as channel:
                await channel.flush()
                proxy.refuse = True
                proxy.cut_all()
                await channel.wait_for(State.AWAY)
                yield channel

        async with away("error") as channel:
            for _ in range(5):
                await channel.send("x" * 136)
            with pytest.raises(QueueFull):
                await channel.send("x" * 136)
            proxy.refuse = False
        async with away("drop-oldest") as channel:
            for number in range(9):
                await channel.send(str(number) * 136)
            proxy.refuse = False
            assert [(await channel.recv())[0] for _ in range(5)] == ["4", "5", "6", "7", "8"]
            assert channel.dropped == 4
        async with away("wait") as channel:
            for _ in range(5):
                await channel.send("x" * 136)
            waits = asyncio.ensure_future(channel.send("last"))
            await asyncio.sleep(0)
            assert not waits.done()
            proxy.refuse = False
            await asyncio.wait_for(waits, PATIENCE)


async def test_much_more_than_the_queue_holds_passes_without_waiting_for_the_node_to_acknowledge(
    daemon: Daemon,
) -> None:
    async with connect(
        daemon.url, process=ECHO_C, token=await daemon.token(), queue_bytes=50_000, **QUICK
    ) as channel:

        async def send() -> None:
            for number in range(50):
                await channel.send(b"%d" % number + b"." * 30_000)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            for number in range(50):
                assert (await channel.recv())[:2] == (b"%d." % number)[:2]


async def test_what_cannot_be_sent_is_refused_at_once(daemon: Daemon) -> None:
    async with connect(daemon.url, process=ECHO_C, token=await daemon.token(), **QUICK) as channel:
        with pytest.raises(MessageTooBig):
            await channel.send("é" * (2**19 + 1))
        with pytest.raises(TypeError):
            await channel.send(7)  # type: ignore[arg-type]
        await channel.send(bytearray(b"x"))
        assert await channel.recv() == b"x"


async def test_an_encrypted_channel_goes_on_with_its_secret(daemon: Daemon) -> None:
    async with (
        proxy_of(daemon) as proxy,
        connect(proxy.url, process=ECHO_C, token=await daemon.token(), encrypted=True, **QUICK) as channel,
    ):
        for message in ("one", "\x10two", b"three"):
            await channel.send(message)
            proxy.cut_all()
            sent = message.encode() if isinstance(message, str) else message
            assert await channel.recv() == sent
        with pytest.raises(MessageTooBig):
            await channel.send("x" * (2**20 + 1))


async def test_losses_are_told_to_a_function_instead(daemon: Daemon) -> None:
    lost: list[Lost] = []
    async with (
        proxy_of(daemon) as proxy,
        connect(
            proxy.url, process=ECHO_C, token=await daemon.token(), on_lost=lost.append, **QUICK
        ) as channel,
    ):
        proxy.refuse = True
        proxy.cut_all()
        await channel.wait_for(State.AWAY)
        await daemon.no_channels()
        proxy.refuse = False
        await channel.send("goes on")
        assert await channel.recv() == "goes on"
    assert [each.received for each in lost] == [None]


async def plain_node(socket: ServerConnection) -> None:
    """A node that does not speak `guesthouse.v1`, with a process that answers requests."""
    assert json.loads(await socket.recv()) == {
        "auth_token": "t",
        "target_process": ECHO_C,
        "encrypted": False,
    }
    await socket.send('{"channel_id":7}')
    async for message in socket:
        if message == "close":
            await socket.close(1000)
        elif isinstance(message, str) and message.startswith('{"request":'):
            request = json.loads(message)
            match request["body"]:
                case "fail":
                    await socket.send(json.dumps({"response": request["request"], "error": "as told"}))
                case "late":
                    pass
                case body:
                    await socket.send(
                        json.dumps({"response": request["request"], "body": body}, separators=(",", ":"))
                    )
        else:
            await socket.send(message)


@asynccontextmanager
async def plain_url() -> AsyncIterator[str]:
    async with serve(plain_node, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_node_without_sessions_gets_a_plain_channel() -> None:
    async with plain_url() as url:
        async with connect(url, process=ECHO_C, token="t", **QUICK) as channel:
            assert (channel.resumable, channel.id) == (False, 7)
            for message in MESSAGES:
                await channel.send(message)
                assert await channel.recv() == message
            await channel.flush()
            await channel.send("close")
            assert [message async for message in channel] == []
        with pytest.raises(ChannelRefused):
            await connect(url, process=ECHO_C, token="t", fallback=False, **QUICK)


async def test_requests_are_answered_over_the_channel() -> None:
    async with plain_url() as url, connect(url, process=ECHO_C, token="t", **QUICK) as channel:
        await channel.send('{"response":1,"body":1}')
        assert await channel.recv() == '{"response":1,"body":1}'  # nobody has asked yet
        bodies: list[Any] = [None, 1, "text", [1, {"a": []}]]
        assert await asyncio.gather(*map(channel.request, bodies)) == bodies
        with pytest.raises(RequestFailed, match="as told"):
            await channel.request("fail")
        with pytest.raises(RequestTimedOut):
            await channel.request("late", timeout=0)
        await channel.send('{"response":99,"body":1}')
        assert await channel.recv() == '{"response":99,"body":1}'


@pytest.mark.thorough
async def test_what_a_slow_program_does_not_take_the_node_keeps_and_no_more(shared: StartNode) -> None:
    limit = 100_000
    daemon = await shared("echo-c", settings={"connections_outbox_bytes": limit})
    async with (
        proxy_of(daemon) as proxy,
        connect(
            proxy.url, process=ECHO_C, token=await daemon.token(), receive_bytes=20_000, **QUICK
        ) as channel,
    ):
        for number in range(500):
            await channel.send(f"{number} ".ljust(1000, "x"))
        await channel.flush()
        inbox = channel._link._inbox
        assert inbox.size <= limit
        for _ in range(3):  # what comes again is no more
            proxy.cut_all()
            await channel.wait_for(State.AWAY)
            assert inbox.size <= 21_000
            await channel.wait_for(State.OPEN)
            await channel.flush()
            assert inbox.size <= limit + 21_000
        received = 0
        while received < limit // 1100:
            assert (await channel.recv()).startswith(f"{received} ")  # type: ignore[arg-type]
            received += 1
