from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from tests.wire import frame

from guesthouse.core.turn import TURN_SECONDS
from guesthouse.link.endpoint import BATCH_BYTES, BATCH_MESSAGES, NodeEnd, connect
from guesthouse.link.frames import MAX_FRAME, LinkError, encode, from_node
from guesthouse.link.pieces import Assembly
from guesthouse.link.schema import Message
from guesthouse.link.to_node import Consumed, Exited, Pong, Started, ToNode
from guesthouse.link.to_worker import Credit, Piece, Push, Request, Stop, ToWorker, Whole


class Link:
    """Both ends of a link; the worker's is a plain socket."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[ToNode] = asyncio.Queue()
        self.unsendable: list[Message] = []
        self.takes = 0.0
        """Seconds that each message takes."""
        self.lost: list[LinkError | None] = []
        self.is_lost = asyncio.Event()
        self.refuse: str | None = None
        self.end: NodeEnd
        self.worker: socket.socket

    async def open(self) -> None:
        ours, self.worker = socket.socketpair()
        self.worker.setblocking(False)
        self.end = await connect(
            ours, self._take, self._lost, lambda message, _: self.unsendable.append(message)
        )

    async def read_until(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await asyncio.get_running_loop().sock_recv(self.worker, 1 << 20)
            assert more
            data += more
        return data

    def _take(self, message: ToNode) -> None:
        if self.refuse is not None:
            raise LinkError(self.refuse)
        until = time.perf_counter() + self.takes
        while time.perf_counter() < until:
            pass
        self.heard.put_nowait(message)

    def _lost(self, error: LinkError | None) -> None:
        self.lost.append(error)
        self.is_lost.set()


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    link = Link()
    await link.open()
    yield link
    link.end.abort()
    await link.is_lost.wait()
    link.worker.close()


async def test_what_is_sent_in_one_turn_leaves_as_few_frames(link: Link) -> None:
    messages = [Credit(number, 5) for number in range(2 * BATCH_MESSAGES + 3)]
    for message in messages:
        link.end.send(message)
    bounds = (0, BATCH_MESSAGES, 2 * BATCH_MESSAGES, len(messages))
    frames = b"".join(encode(messages[start:end]) for start, end in pairwise(bounds))
    assert await link.read_until(len(frames)) == frames


async def test_a_batch_of_large_payloads_is_cut(link: Link) -> None:
    sent = [Push(1, number, 1, bytes(BATCH_BYTES // 2)) for number in range(3)]
    for message in sent:
        link.end.send(message, BATCH_BYTES // 2)
    reader, stream, messages = from_node(), b"", list[ToWorker]()
    while len(messages) < 3:
        data = await link.read_until(1)
        stream += data
        messages += reader.feed(data)
    assert messages == sent
    assert stream == b"".join(encode([message]) for message in sent), "each large payload ends a frame"


@pytest.mark.parametrize(
    "bad",
    [
        Request(1, 5, "n.os@a:b:c", b"", metadata="half a pair: \ud800"),
        Stop(1, "\udcff"),
        Credit(1, 2**70),
        Push(1, 1, 0, object()),  # type: ignore[arg-type] # what the types forbid is tried too
        Push(1, 1, 1, bytes(MAX_FRAME)),
    ],
    ids=["metadata", "reason", "number", "no bytes", "too large"],
)
async def test_what_cannot_be_written_costs_nothing_else_of_its_batch(link: Link, bad: Message) -> None:
    good = [Credit(number, 5) for number in range(6)]
    for message in (*good[:3], bad, *good[3:]):
        link.end.send(message)
    reader, heard = from_node(), list[Message]()
    while len(heard) < 6:
        heard += reader.feed(await link.read_until(1))
    assert heard == good
    assert link.unsendable == [bad]
    link.end.send(Credit(9, 9))
    assert [*reader.feed(await link.read_until(1))] == [Credit(9, 9)]


async def test_what_is_large_leaves_in_pieces_and_what_is_sent_after_it_comes_after_it(link: Link) -> None:
    payload = bytes(range(256)) * (3 * BATCH_BYTES // 256)
    large, bad = Push(1, 7, 1, payload), Request(1, 5, "n.os@a:b:c", payload, metadata="\ud800")
    messages = [Credit(1, 5), large, Stop(2, "why"), bad, large, *(Credit(number, 5) for number in range(99))]
    for message in messages:
        link.end.send(message, len(payload) if message in (large, bad) else 0)
    reader, assembly, heard = from_node(), Assembly[Piece](), list[Message]()
    while len(heard) < len(messages) - 1:
        for each in reader.feed(await link.read_until(1)):
            if isinstance(each, Piece):
                assembly.add(each)
            else:
                heard.append(
                    assembly.complete(each.handle, each.message) if isinstance(each, Whole) else each
                )
    assert heard == [message for message in messages if message is not bad]
    assert link.unsendable == [bad]


@pytest.mark.parametrize("closed", [True, False])
async def test_a_link_that_is_closed_sends_what_is_under_way_and_one_that_is_aborted_does_not(
    link: Link, *, closed: bool
) -> None:
    link.end.send(Push(1, 7, 1, bytes(8 * BATCH_BYTES)), 8 * BATCH_BYTES)
    link.end.send(Stop(1, "last"))
    (link.end.close if closed else link.end.abort)()
    reader, heard = from_node(), list[Message]()
    while data := await asyncio.get_running_loop().sock_recv(link.worker, 1 << 20):
        heard += reader.feed(data)
    assert (heard[-1:] == [Stop(1, "last")]) == closed


async def test_messages_arrive_in_order_however_the_stream_is_split(link: Link) -> None:
    messages = [Exited(1, "trap", ""), Consumed(1, 1), Started(2)]
    stream = encode(messages[:2]) + encode(messages[2:])
    for place in range(len(stream)):
        await asyncio.get_running_loop().sock_sendall(link.worker, stream[place : place + 1])
    assert [await link.heard.get() for _ in range(3)] == messages


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"\xff\xff\xff\xff", "announces over"),
        (frame(b"\xc1"), "malformed link frame"),
        (frame(b"\x01"), "got `int`"),
        (frame(b"\x91\xa1a"), "got `str`"),
    ],
)
async def test_a_malformed_frame_closes_the_link_and_says_why(
    link: Link, sent: bytes, complaint: str
) -> None:
    await asyncio.get_running_loop().sock_sendall(link.worker, sent)
    await link.is_lost.wait()
    assert complaint in str(link.lost[0])


async def test_a_message_that_is_refused_closes_the_link(link: Link) -> None:
    link.refuse = "not yours"
    await asyncio.get_running_loop().sock_sendall(link.worker, encode([Started(2), Started(3)]))
    await link.is_lost.wait()
    assert [str(error) for error in link.lost] == ["not yours"]


async def test_what_was_sent_before_the_end_of_file_arrives_before_the_loss(link: Link) -> None:
    await asyncio.get_running_loop().sock_sendall(link.worker, encode([Consumed(1, 1)] * 50) * 20)
    link.worker.close()
    await link.is_lost.wait()
    assert link.heard.qsize() == 1000
    assert link.lost == [None]


@pytest.mark.slow
async def test_what_a_worker_says_at_once_is_carried_out_in_many_turns(link: Link) -> None:
    """And all of it, in order, with what comes behind it."""
    link.takes = 2 * TURN_SECONDS
    messages: list[ToNode] = [Started(number) for number in range(120)]
    loop = asyncio.get_running_loop()
    first = b"".join(encode(messages[start : start + 30]) for start in range(0, 90, 30))
    await loop.sock_sendall(link.worker, first)
    heard = [await link.heard.get()]
    turns = 0
    while len(heard) < 90:
        before = link.heard.qsize()
        assert before <= 1, "no more than one message took its turn"
        await asyncio.sleep(0)
        turns += 1
        heard += [link.heard.get_nowait() for _ in range(link.heard.qsize())]
    assert turns >= 45
    await loop.sock_sendall(link.worker, encode(messages[90:]))
    while len(heard) < 120:
        heard.append(await link.heard.get())
    assert heard == messages


async def test_a_link_that_is_closed_in_the_middle_of_a_flood_hears_no_more(link: Link) -> None:
    link.takes = 2 * TURN_SECONDS
    await asyncio.get_running_loop().sock_sendall(link.worker, encode([Pong()] * 60) * 20)
    await link.heard.get()
    link.end.abort()
    await link.is_lost.wait()
    count = link.heard.qsize()
    for _ in range(10):
        await asyncio.sleep(0)
    assert link.heard.qsize() == count < 60


async def test_what_was_received_is_heard_whole_though_the_worker_is_gone(link: Link) -> None:
    """Else the node would hear that messages were taken, and not what was answered."""
    link.takes = 2 * TURN_SECONDS
    messages: list[ToNode] = [Consumed(1, 20), *(Started(number) for number in range(20))]
    await asyncio.get_running_loop().sock_sendall(link.worker, encode(messages))
    heard = [await link.heard.get()]
    link.worker.close()
    while not link.is_lost.is_set():  # the node notices when it writes, as it does not read meanwhile
        link.end.send(Stop(1, "gone"))
        await asyncio.sleep(0)
    heard += [link.heard.get_nowait() for _ in range(link.heard.qsize())]
    assert heard == messages
    assert link.lost == [None]


async def test_sending_on_a_closed_link_goes_nowhere(link: Link) -> None:
    link.end.close()
    await link.is_lost.wait()
    link.end.send(Stop(1, "late"))
    await asyncio.sleep(0)
    assert link.lost == [None]
