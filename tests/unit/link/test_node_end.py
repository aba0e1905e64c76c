from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from guesthouse.link.frames import FrameReader, LinkError, encode
from guesthouse.link.node_end import BATCH_BYTES, BATCH_OPERATIONS, NodeEnd, connect


class Link:
    """Both ends of a link; the worker's is a plain socket."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.lost: list[LinkError | None] = []
        self.is_lost = asyncio.Event()
        self.refuse: str | None = None
        self.end: NodeEnd
        self.worker: socket.socket

    async def open(self) -> None:
        ours, self.worker = socket.socketpair()
        self.worker.setblocking(False)
        self.end = await connect(ours, self._take, self._lost)

    async def read_until(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await asyncio.get_running_loop().sock_recv(self.worker, 1 << 20)
            assert more
            data += more
        return data

    def _take(self, operation: list[Any]) -> None:
        if self.refuse is not None:
            raise LinkError(self.refuse)
        self.heard.put_nowait(operation)

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
    operations = [[11, number, 5] for number in range(2 * BATCH_OPERATIONS + 3)]
    for operation in operations:
        link.end.send(operation)
    bounds = (0, BATCH_OPERATIONS, 2 * BATCH_OPERATIONS, len(operations))
    frames = b"".join(encode(operations[start:end]) for start, end in pairwise(bounds))
    assert await link.read_until(len(frames)) == frames


async def test_a_batch_of_large_payloads_is_cut(link: Link) -> None:
    for number in range(3):
        link.end.send([4, 1, number, 1, bytes(BATCH_BYTES // 2)], BATCH_BYTES // 2)
    reader, stream, operations = FrameReader(), b"", 0
    while operations < 3:
        data = await link.read_until(1)
        stream += data
        operations += len(list(reader.feed(data)))
    first = int.from_bytes(stream[:4], "little")
    second = int.from_bytes(stream[4 + first : 8 + first], "little")
    assert first > BATCH_BYTES > second
    assert len(stream) == 8 + first + second


async def test_operations_arrive_in_order_however_the_stream_is_split(link: Link) -> None:
    stream = encode([[2, 1, "trap", ""], [3, 1, 1]]) + encode([[1, 2]])
    for place in range(len(stream)):
        await asyncio.get_running_loop().sock_sendall(link.worker, stream[place : place + 1])
    assert [await link.heard.get() for _ in range(3)] == [[2, 1, "trap", ""], [3, 1, 1], [1, 2]]


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"\xff\xff\xff\xff", "announces over"),
        (b"\x01\x00\x00\x00\xff", "is not CBOR"),
        (b"\x01\x00\x00\x00\x01", "not a list of operations"),
        (encode([[1, 2]])[:-3] + b"\x81\x61a", "not an operation"),
    ],
)
async def test_a_malformed_frame_closes_the_link_and_says_why(
    link: Link, sent: bytes, complaint: str
) -> None:
    await asyncio.get_running_loop().sock_sendall(link.worker, sent)
    await link.is_lost.wait()
    assert complaint in str(link.lost[0])


async def test_an_operation_that_is_refused_closes_the_link(link: Link) -> None:
    link.refuse = "not yours"
    await asyncio.get_running_loop().sock_sendall(link.worker, encode([[1, 2], [1, 3]]))
    await link.is_lost.wait()
    assert [str(error) for error in link.lost] == ["not yours"]


async def test_what_was_sent_before_the_end_of_file_arrives_before_the_loss(link: Link) -> None:
    await asyncio.get_running_loop().sock_sendall(link.worker, encode([[3, 1, 1]] * 1000))
    link.worker.close()
    await link.is_lost.wait()
    assert link.heard.qsize() == 1000
    assert link.lost == [None]


async def test_sending_on_a_closed_link_goes_nowhere(link: Link) -> None:
    link.end.close()
    await link.is_lost.wait()
    link.end.send([2, 1, "late"])
    await asyncio.sleep(0)
    assert link.lost == [None]
