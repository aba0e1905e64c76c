"""Two nodes over a real NATS server: what the carrier promises, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from tests.e2e.test_two_nodes import ONE, OPEN, TWO, A, the_puppets
from tests.e2e.waiting import until
from tests.patience import PATIENCE
from tests.tiers import thorough_after

from guesthouse.cluster.carrier import NatsCarrier
from guesthouse.cluster.nats_client import PING_SECONDS, Access
from guesthouse.cluster.nats_connection import MOST_PENDING_BYTES, NatsConnection
from guesthouse.core.address import Address
from guesthouse.core.config import HttpSettings, Settings
from guesthouse.node.node import Node

from .harness.links import Link
from .servers import Server, connected, running

CLUSTER = "c1" * 16


@dataclass
class SeenLog:
    """What was logged."""

    lines: list[str] = field(default_factory=list)

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        self.lines.append(f"{source} {level}: {text}")


class End:
    """One end of a carrier, and the frames that arrived there."""

    def __init__(self, *servers: Server, node: str, cluster: str = CLUSTER) -> None:
        self.log = SeenLog()
        self.connection = NatsConnection([each.url for each in servers], Access(None), node, self.log)
        self.carrier = NatsCarrier(self.connection, cluster, node)
        self.frames: list[bytes] = []
        self.carrier.listen(self.frames.append)

    async def got(self, count: int) -> list[bytes]:
        async def frames() -> list[bytes]:
            return self.frames

        return await until(frames, lambda found: len(found) >= count, "frames do not arrive")


@pytest.fixture
async def ends(nats: Server) -> AsyncIterator[tuple[End, End]]:
    one, two = End(nats, node=ONE), End(nats, node=TWO)
    async with one.connection, two.connection:
        await one.connection.wait_up()
        await two.connection.wait_up()
        yield one, two


async def test_frames_arrive_in_the_order_sent(ends: tuple[End, End]) -> None:
    one, two = ends
    sent = [str(number).encode() * 100 for number in range(5000)]
    for frame in sent:
        assert one.carrier.send(TWO, frame) is None
    assert await two.got(5000) == sent
    assert two.carrier.send(ONE, b"back") is None
    assert await one.got(1) == [b"back"]


async def test_a_frame_of_the_greatest_size_arrives(ends: tuple[End, End]) -> None:
    one, two = ends
    assert one.carrier.frame_bytes == 1024 * 1024
    assert one.carrier.send(TWO, bytes(one.carrier.frame_bytes)) is None
    assert one.carrier.send(TWO, bytes(one.carrier.frame_bytes + 1)) == "offline"
    assert [len(frame) for frame in await two.got(1)] == [1024 * 1024]


async def test_a_handler_that_fails_costs_its_message_alone(nats: Server) -> None:
    one, two = End(nats, node=ONE), End(nats, node=TWO)

    def fail(message: Msg) -> None:
        raise ValueError("a bug")

    two.connection.handle("bug", fail)
    async with one.connection, two.connection:
        await one.connection.wait_up()
        client = await two.connection.wait_up()
        assert one.connection.publish("bug", b"x") is None
        assert one.carrier.send(TWO, b"behind it") is None
        assert await two.got(1) == [b"behind it"]
        assert two.connection.client is client
        assert any("a bug" in line for line in two.log.lines)


async def test_what_is_sent_does_not_overtake_a_subscription(ends: tuple[End, End]) -> None:
    one, two = ends
    client, replies = await one.connection.wait_up(), asyncio.Queue[bytes]()

    async def answered(message: Msg) -> None:
        replies.put_nowait(message.data)

    for number in range(50):
        await client.subscribe(f"mine.{number}", cb=answered)
        assert one.carrier.send(TWO, str(number).encode()) is None
        await two.got(number + 1)
        assert two.connection.publish(f"mine.{number}", b"%d" % number) is None
        async with asyncio.timeout(PATIENCE):
            assert await replies.get() == b"%d" % number


async def test_two_clusters_on_one_server_do_not_hear_each_other(nats: Server) -> None:
    ours, theirs = End(nats, node=ONE), End(nats, node=TWO, cluster="c2" * 16)
    same_name = End(nats, node=ONE, cluster="c2" * 16)
    async with ours.connection, theirs.connection, same_name.connection:
        for end in (ours, theirs, same_name):
            await end.connection.wait_up()
        theirs.carrier.send(ONE, b"hello")
        assert await same_name.got(1) == [b"hello"]
        ours.carrier.send(TWO, b"hello")
        theirs.carrier.send(TWO, b"to oneself: not heard")
        same_name.carrier.send(TWO, b"last")
        assert await theirs.got(1) == [b"last"]
        assert ours.frames == []


async def test_a_node_starts_without_a_server_and_finds_it_later(tmp_path: Path) -> None:
    server = Server(tmp_path / "late", "late")
    one = End(server, node=ONE)
    async with one.connection:
        assert one.carrier.send(TWO, b"lost") == "offline"

        async def said() -> bool:
            return any("no NATS server can be reached" in line for line in one.log.lines)

        await until(said, bool, "nothing is said")
        await server.start()
        try:
            await one.connection.wait_up()
            assert one.carrier.send(TWO, b"sent") is None
        finally:
            await server.end()


@pytest.mark.parametrize("waiting", thorough_after(1, [False, True]))
@pytest.mark.parametrize("how", thorough_after(1, [signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP]))
async def test_when_a_server_goes_the_next_one_is_used(
    how: signal.Signals, waiting: bool, tmp_path: Path
) -> None:
    async with running(tmp_path / "nats", 2) as servers:
        first, second = servers.all
        one = End(first, second, node=ONE)
        async with one.connection:
            await one.connection.wait_up()
            used, other = (
                (first, second) if str(first.port) in str(one.connection.server) else (second, first)
            )
            two = End(other, node=TWO)
            async with two.connection:
                await two.connection.wait_up()
                if how == signal.SIGSTOP:
                    used.stop()
                if waiting:  # more than the sockets take: nothing waits for it to be sent
                    assert {one.carrier.send(TWO, bytes(1024 * 1024)) for _ in range(12)} == {None}
                if how != signal.SIGSTOP:
                    await used.end(how)

                async def connected() -> str | None:
                    return one.connection.server

                await until(connected, lambda server: str(other.port) in str(server), "it stays")
                assert one.carrier.send(TWO, b"by the other") is None

                async def last() -> bytes:
                    return two.frames[-1] if two.frames else b""

                await until(last, lambda frame: frame == b"by the other", "nothing arrives by the other")


@pytest.mark.parametrize(
    "error", [RuntimeError("the handler is closed"), OSError("gone")], ids=["uvloop", "asyncio"]
)
async def test_a_connection_that_has_just_ended_is_offline_and_raises_nothing(
    error: Exception, ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client does not know yet; uvloop raises where asyncio does not."""

    async def ended(*_: object) -> None:
        raise error

    def ended_now(*_: object) -> bool:
        raise error

    one, _ = ends
    assert one.connection.client is not None
    with monkeypatch.context() as patch:
        patch.setattr(one.connection.client, "publish", ended)
        patch.setattr(one.connection.client, "send_now", lambda *_: False)
        assert one.carrier.send(TWO, b"lost") == "offline"
    monkeypatch.setattr(one.connection.client, "send_now", ended_now)
    assert one.carrier.send(TWO, b"lost") == "offline"


@pytest.mark.thorough
async def test_a_server_is_left_when_it_says_nothing_and_not_when_its_answers_to_pings_are_late(
    nats: Server,
) -> None:
    """They may be behind much else, such as a flood."""
    late = False
    async with Link(nats.port) as link, connected(nats.url) as other:
        link.filters = lambda: (bytes, lambda data: data.replace(b"PONG\r\n", b"") if late else data)
        connection = NatsConnection([f"nats://127.0.0.1:{link.port}"], Access(None), ONE, SeenLog())
        connection.handle("test.late", lambda _: None)
        async with connection:
            client = await connection.wait_up()
            late = True
            for _ in range(round(6 * PING_SECONDS / 0.1)):
                await other.publish("test.late", b"here")
                await asyncio.sleep(0.1)
            assert connection.client is client, "it was left while it sent messages"

            async def left() -> bool:
                return connection.client is not client

            await until(left, bool, "it is not left, although it says nothing")


async def test_what_waits_for_a_server_that_stands_still_is_bounded(
    ends: tuple[End, End], nats: Server
) -> None:
    one, two = ends
    nats.stop()
    room = asyncio.Event()
    one.carrier.on_room = room.set
    said = [one.carrier.send(TWO, bytes(1024 * 1024)) for _ in range(100)]
    assert set(said) == {None, "full"}
    client = one.connection.client
    assert client is not None
    assert client.pending_data_size <= MOST_PENDING_BYTES
    assert MOST_PENDING_BYTES // 2 < client.unsent_bytes <= MOST_PENDING_BYTES
    nats.resume()
    async with asyncio.timeout(PATIENCE):
        await room.wait()
    assert one.carrier.send(TWO, bytes(1024)) is None
    assert len(await two.got(said.count(None) + 1)) == said.count(None) + 1


@pytest.mark.thorough
async def test_processes_of_two_nodes_message_each_other_over_nats(nats: Server, tmp_path: Path) -> None:
    source = the_puppets(tmp_path / "source")
    nodes: dict[str, Node] = {}
    async with AsyncExitStack() as stack:
        for name in (ONE, TWO):
            settings = Settings(home=str(tmp_path / name), node=name, workers=1, http=HttpSettings(port=0))
            nodes[name] = await stack.enter_async_context(Node(settings, None))
        keys = {name: node.public_key() for name, node in nodes.items()}
        for name, node in nodes.items():
            link = NatsConnection([nats.url], Access(None), name, node.log)
            carrier = NatsCarrier(link, CLUSTER, name)
            peers = node.join(carrier, keys.get)
            carrier.listen(peers.incoming)
            carrier.on_room = peers.carrier_ready
            await stack.enter_async_context(link)
            await link.wait_up()
            await node.add([await node.load(str(source))])
        for asker, asked in ((ONE, TWO), (TWO, ONE)):
            body = f"ask {asked}@{OPEN} 20 say hello".encode()
            process = A if asker == ONE else OPEN
            answer = await nodes[asker].router.terminal.ask(
                Address.parse(f"{asker}@{process}"), body, None, 20
            )
            assert answer.body == b"hello"
