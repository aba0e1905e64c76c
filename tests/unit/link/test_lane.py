"""Payloads in shared memory, between two ends of which the other may be hostile."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from guesthouse.link import endpoint, to_node, to_worker
from guesthouse.link import lane as lanes
from guesthouse.link.endpoint import BATCH_BYTES, NodeEnd, connect
from guesthouse.link.frames import LinkError, encode, from_node, from_worker
from guesthouse.link.lane import LEAST, MOST, PayloadLane
from guesthouse.link.pieces import Assembly, InPieces
from guesthouse.link.ring import ALIGNMENT
from guesthouse.link.schema import Message
from guesthouse.link.shared_memory import RING_BYTES, NodeMemory, WorkerMemory
from guesthouse.worker.link import LinkWriter

BIG = os.urandom(100_000)
FROM_WORKER: list[Any] = [
    to_node.Push(1, 2, 1, BIG),
    to_node.PushMany(1, [1, 2, 3], 0, BIG),
    to_node.HttpResponse(1, 2, 200, (("a", "b"),), "a/b", BIG),
    to_node.PushInTrace(1, 2, 1, BIG, 3, 4),
]
FROM_NODE: list[Any] = [
    to_worker.Push(1, 2, 1, BIG),
    to_worker.Http(1, 2, "POST", "/u", "/u", (("a", "b"),), (), (), None, None, BIG, "{}"),
    to_worker.TracedPush(1, 2, 1, BIG),
]


class Ends:
    """Both ends of a lane."""

    def __init__(self, memory: NodeMemory) -> None:
        self.node = lanes.of_node(memory)
        self.worker = lanes.of_worker(WorkerMemory(memory.descriptors))


@pytest.fixture
def memory() -> Iterator[NodeMemory]:
    memory = NodeMemory()
    yield memory
    memory.close()


@pytest.fixture
def ends(memory: NodeMemory) -> Ends:
    return Ends(memory)


def copied(message: Any) -> Any:
    """As it arrives: another object with the same fields."""
    return type(message)(*(getattr(message, field) for field in message.__struct_fields__))


def crossed(sender: PayloadLane, receiver: PayloadLane, messages: list[Any]) -> list[Any]:
    """What the receiver makes of what the sender sends instead of these messages."""
    size = sum(len(getattr(message, "payload", b"")) for message in messages) or LEAST + 1
    arrived = []
    for message in sender.pack(messages, size):
        if isinstance(message, to_node.Placed | to_worker.Placed):
            arrived.append(receiver.take(message))
        elif isinstance(message, to_node.Released | to_worker.Released):
            receiver.released(message)
        else:
            arrived.append(message)
    return arrived


@pytest.mark.parametrize("message", FROM_WORKER, ids=lambda one: type(one).__name__)
def test_the_node_gets_what_a_worker_sent(ends: Ends, message: Any) -> None:
    (packed,) = ends.worker.pack([message], len(BIG))
    assert isinstance(packed, to_node.Placed)
    assert len(encode([packed])) < 100
    assert ends.node.take(packed) == message


@pytest.mark.parametrize("message", FROM_NODE, ids=lambda one: type(one).__name__)
def test_a_worker_gets_what_the_node_sent(ends: Ends, message: Any) -> None:
    (packed,) = ends.node.pack([message], len(BIG))
    assert isinstance(packed, to_worker.Placed)
    assert ends.worker.take(packed) == message


def test_small_payloads_and_very_large_ones_stay_in_their_messages(ends: Ends) -> None:
    messages = [to_node.Push(1, 2, 1, bytes(LEAST)), to_node.Pong(), to_node.Push(1, 2, 1, bytes(MOST + 1))]
    assert list(ends.worker.pack(messages, MOST)) == messages


def test_what_finds_no_room_stays_in_its_message_until_something_is_released(ends: Ends) -> None:
    push = to_node.Push(1, 2, 1, bytes(MOST))
    first, second, third = ends.worker.pack([push] * 3, 3 * MOST)
    assert third is push
    assert not ends.worker.has_room(LEAST, 1)
    for placed in (first, second):
        assert isinstance(placed, to_node.Placed)
        assert ends.node.take(placed) == push
    assert ends.node.must_release
    (released,) = ends.node.pack([], 0)
    assert released == to_worker.Released(2)
    ends.worker.released(released)
    assert isinstance(ends.worker.pack([push], MOST)[0], to_node.Placed)
    assert ends.node.pack([], 0) == [], "what is released once is not released again"


def test_releases_go_with_what_is_sent_anyhow(ends: Ends) -> None:
    assert crossed(ends.node, ends.worker, [to_worker.Push(1, 2, 1, BIG)])[0].payload == BIG
    assert not ends.worker.must_release
    assert ends.worker.pack([to_node.Consumed(1, 1)], 0) == [to_node.Released(1), to_node.Consumed(1, 1)]


async def test_a_node_that_places_more_when_something_is_consumed_begins_at_the_start_again(
    link: Link,
) -> None:
    """What is released is free before the rest of the frame is handled: so few pages are used, which are in caches."""
    push = to_worker.Push(1, 2, 1, os.urandom(BATCH_BYTES))

    def place_more(message: Any) -> None:
        if isinstance(message, to_node.Consumed):
            link.end.send(push, BATCH_BYTES)

    link.end._on_message = place_more
    link.end.send(push, BATCH_BYTES)
    for _ in range(3):
        (placed,) = await link.received(1)
        assert placed.offset == 0
        link.lane.take(placed)
        await link.say(*link.lane.pack([to_node.Consumed(1, 1)], 0))


def test_a_full_frame_is_not_made_longer(ends: Ends) -> None:
    crossed(ends.node, ends.worker, [to_worker.Push(1, 2, 1, BIG)])
    full = [to_node.Pong()] * 64
    assert list(ends.worker.pack(full, 0)) == full
    assert ends.worker.pack([], 0) == [to_node.Released(1)]


def test_what_is_not_sent_after_all_takes_no_room(ends: Ends) -> None:
    crossed(ends.worker, ends.node, [to_node.Push(1, 2, 1, BIG)])
    for _ in range(3 * RING_BYTES // len(BIG)):
        packed = ends.node.pack([to_worker.Push(1, 2, 1, BIG)], len(BIG))
        assert [type(message) for message in packed] == [to_worker.Released, to_worker.Placed]
        ends.node.unpack()
    assert ends.node.pack([], 0) == [to_worker.Released(1)], "what was to be released still is"


def test_a_region_is_free_again_if_memory_is_too_short_to_tell_of_it(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as short:
        short.setattr(ends.worker, "_placed", exhausted)
        for _ in range(3 * RING_BYTES // len(BIG)):
            with pytest.raises(MemoryError):
                ends.worker.place(to_node.Push(1, 2, 1, BIG))
    with monkeypatch.context() as short:
        short.setattr(type(ends.worker._memory), "write", exhausted)
        with pytest.raises(MemoryError):
            ends.worker.place(to_node.Push(1, 2, 1, BIG))
    assert ends.worker.place(to_node.Push(1, 2, 1, BIG)).offset == 0


@pytest.mark.thorough
@pytest.mark.slow
def test_messages_arrive_as_they_were_sent_whatever_their_sizes(ends: Ends) -> None:
    chance = random.Random(7)
    for _ in range(400):
        sizes = [chance.choice((10, LEAST, LEAST + 1, 70_000, 500_000, 1_500_000)) for _ in range(4)]
        down = [to_worker.Push(1, number, 1, chance.randbytes(size)) for number, size in enumerate(sizes)]
        up = [to_node.Push(1, number, 1, push.payload) for number, push in enumerate(down)]
        assert crossed(ends.node, ends.worker, down) == down
        assert crossed(ends.worker, ends.node, up) == up


def test_what_is_taken_cannot_change_afterwards(memory: NodeMemory) -> None:
    worker, node = WorkerMemory(memory.descriptors), lanes.of_node(memory)
    worker.write(0, b"a" * 20_000)
    push = node.take(to_node.Placed(to_node.Push(1, 2, 0, b""), 0, 20_000))
    worker.write(0, b"\xff" * 20_000)
    assert push.payload == b"a" * 20_000


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        (RING_BYTES - LEAST, LEAST + 1),
        (RING_BYTES, LEAST + 1),
        (2**32 - 1, LEAST + 1),
        (2**32 - LEAST - 1, LEAST + 1),
        (0, MOST + 1),
        (0, 2**32 - 1),
        (0, 0),
        (0, LEAST),
    ],
)
def test_a_place_that_no_correct_worker_uses_is_refused(ends: Ends, offset: int, size: int) -> None:
    with pytest.raises(LinkError, match=r"a payload of \d+ bytes at \d+ of a ring of \d+"):
        ends.node.take(to_node.Placed(to_node.Push(1, 2, 1, b""), offset, size))


def test_a_message_with_two_payloads_is_refused(ends: Ends) -> None:
    with pytest.raises(LinkError, match="of a ring"):
        ends.node.take(to_node.Placed(to_node.Push(1, 2, 1, b"x"), 0, LEAST + 1))


def test_a_worker_cannot_have_more_copied_than_its_ring_holds(ends: Ends) -> None:
    for _ in range(RING_BYTES // MOST):
        ends.node.take(to_node.Placed(to_node.Push(1, 2, 1, b""), 0, MOST))
    with pytest.raises(LinkError, match="more is placed in a ring than it holds"):
        ends.node.take(to_node.Placed(to_node.Push(1, 2, 1, b""), 0, LEAST + 1))


def test_a_worker_cannot_release_what_it_was_not_sent(ends: Ends) -> None:
    ends.node.pack([to_worker.Push(1, 2, 1, BIG)], len(BIG))
    ends.node.released(to_node.Released(1))
    for count in (1, 2**32 - 1):
        with pytest.raises(LinkError, match="regions are released"):
            ends.node.released(to_node.Released(count))


# At the node's end of a link


class Link:
    """A node's end with a lane; the worker's is a plain socket and its own end of the lane."""

    def __init__(self, memory: NodeMemory) -> None:
        self.heard: list[Any] = []
        self.unsendable: list[Message] = []
        self.lost: asyncio.Future[LinkError | None] = asyncio.get_running_loop().create_future()
        self.memory = memory
        self.lane = lanes.of_worker(WorkerMemory(memory.descriptors))
        self.end: NodeEnd
        self.reader = from_node()

    async def open(self) -> None:
        ours, self.socket = socket.socketpair()
        self.socket.setblocking(False)
        self.end = await connect(
            ours,
            self.heard.append,
            self.lost.set_result,
            lambda message, _: self.unsendable.append(message),
            lanes.of_node(self.memory),
        )

    async def received(self, count: int) -> list[Any]:
        """The next messages as they are on the socket."""
        messages: list[Any] = []
        while len(messages) < count:
            data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 20)
            assert data
            messages += self.reader.feed(data)
        return messages

    async def say(self, *messages: Any) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, encode(messages))


@pytest.fixture
async def link(memory: NodeMemory) -> AsyncIterator[Link]:
    link = Link(memory)
    await link.open()
    yield link
    link.end.abort()
    await link.lost
    link.socket.close()


async def test_a_message_of_a_mebibyte_is_not_split_where_there_is_room(link: Link) -> None:
    push = to_worker.Push(1, 2, 1, os.urandom(BATCH_BYTES))
    link.end.send(to_worker.Ping())
    link.end.send(push, BATCH_BYTES)
    ping, placed = await link.received(2)
    assert isinstance(ping, to_worker.Ping)
    assert isinstance(placed, to_worker.Placed)
    assert link.lane.take(placed) == push


async def test_what_finds_no_room_is_split_and_comes_in_its_order(link: Link) -> None:
    sent = [to_worker.Push(1, number, 1, os.urandom(BATCH_BYTES)) for number in range(6)]
    for push in sent:
        link.end.send(push, BATCH_BYTES)
    link.end.send(to_worker.Ping())
    arrived: list[Any] = []
    whole: Assembly[to_worker.Piece] = Assembly()
    placed = 0
    while not arrived or not isinstance(arrived[-1], to_worker.Ping):
        for message in await link.received(1):
            if isinstance(message, to_worker.Placed):
                placed += 1
                arrived.append(link.lane.take(message))
            elif isinstance(message, to_worker.Piece):
                whole.add(message)
            elif isinstance(message, to_worker.Whole):
                arrived.append(whole.complete(message.handle, message.message))
            else:
                arrived.append(message)
    assert arrived[:-1] == sent
    assert placed == RING_BYTES // (BATCH_BYTES + ALIGNMENT), "the rest found no room"


async def test_a_payload_that_cannot_be_sent_takes_no_room(link: Link) -> None:
    good = to_worker.Push(1, 2, 1, BIG)
    bad = to_worker.Http(1, 2, "\udcff", "/u", "/u", (), (), (), None, None, BIG)
    for _ in range(2 * RING_BYTES // len(BIG)):
        link.end.send(good, len(BIG))
        link.end.send(bad, len(BIG))
        assert await link.received(1) == [good], "as before there was a lane"
    assert link.unsendable == [bad] * (2 * RING_BYTES // len(BIG))
    link.end.send(good, len(BIG))
    (placed,) = await link.received(1)
    assert placed.offset == 0


async def test_a_node_with_nothing_else_to_say_releases(link: Link) -> None:
    push = to_node.Push(1, 2, 1, os.urandom(MOST))
    for _ in range(5):
        await link.say(*link.lane.pack([push], MOST))
        (released,) = await link.received(1)
        link.lane.released(released)
    assert link.heard == [push] * 5


async def test_a_node_releases_while_a_large_message_waits(link: Link) -> None:
    large = to_worker.Push(1, 2, 1, bytes(4 * RING_BYTES))
    link.end.send(large, len(large.payload))
    assert link.end._behind, "the socket is full, and the worker does not read"
    push = to_node.Push(1, 2, 1, os.urandom(MOST))
    await link.say(*link.lane.pack([push], MOST))
    messages: list[Any] = []
    while not any(isinstance(message, to_worker.Released) for message in messages):
        messages = await link.received(1)
    assert link.heard == [push]
    assert link.end._behind, "before the large message is sent"


async def test_a_node_without_memory_to_send_gives_up_the_worker(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(endpoint, "encode", exhausted)
    link.end.send(to_worker.Ping())
    assert "too little memory" in str(await link.lost)


async def test_a_node_without_memory_for_a_large_message_gives_up_the_worker(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(InPieces, "frames", exhausted)
    link.end.send(to_worker.Push(1, 2, 1, bytes(4 * RING_BYTES)), 4 * RING_BYTES)
    link.end.send(to_worker.Ping())
    assert "too little memory" in str(await link.lost)


@pytest.mark.parametrize(
    "lie",
    [
        to_node.Placed(to_node.Push(1, 2, 1, b""), RING_BYTES, LEAST + 1),
        to_node.Placed(to_node.Push(1, 2, 1, b""), 0, 2**32 - 1),
        to_node.Placed(to_node.HttpResponse(1, 2, 200, (), None, b"x"), 0, LEAST + 1),
        to_node.Released(1),
    ],
)
async def test_a_lie_ends_the_link(link: Link, lie: Any) -> None:
    await link.say(lie)
    assert isinstance(await link.lost, LinkError)
    assert link.heard == []


async def test_what_arrives_by_the_lane_once_the_link_is_given_up_is_dropped(link: Link) -> None:
    """Whoever handles a message may give up the link, and with it the memory, in the middle of a frame."""
    push = to_node.Push(1, 2, 1, BIG)
    hear = link.heard.append

    def give_up(message: Any) -> None:
        hear(message)
        link.end.abort()
        link.memory.close()

    link.end._on_message = give_up
    await link.say(to_node.Pong(), *link.lane.pack([push, push], 2 * len(BIG)))
    assert await link.lost is None
    assert link.heard == [to_node.Pong()]


async def test_a_worker_with_nothing_else_to_say_releases(memory: NodeMemory) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        node, worker = lanes.of_node(memory), lanes.of_worker(WorkerMemory(memory.descriptors))
        writer = LinkWriter(theirs, worker)
        (placed,) = node.pack([to_worker.Push(1, 2, 1, bytes(MOST))], MOST)
        assert isinstance(placed, to_worker.Placed)
        worker.take(placed)
        writer.flush()
        assert list(from_worker().feed(ours.recv(100))) == [to_node.Released(1)]
        ours.setblocking(False)
        writer.flush()
        with pytest.raises(BlockingIOError):
            ours.recv(1)


async def test_a_link_without_a_lane_takes_nothing_by_one() -> None:
    ours, theirs = socket.socketpair()
    lost: asyncio.Future[LinkError | None] = asyncio.get_running_loop().create_future()
    heard: list[Any] = []
    await connect(ours, heard.append, lost.set_result)
    with theirs:
        theirs.sendall(encode([to_node.Released(0)]))
        assert "without a lane" in str(await lost)
    assert heard == []
