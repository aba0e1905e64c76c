"""Frames of several buffers: the bytes are those of frames that are copied together."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest

from guesthouse.link import frames, to_node, to_worker
from guesthouse.link.frames import LARGE, LinkError, encode, from_node, from_worker
from guesthouse.link.gathering import encode_parts, send
from guesthouse.link.schema import PIECE_BYTES

BIG = os.urandom(LARGE + 1)
BIGGER = os.urandom(70_000)

FROM_WORKER: list[Any] = [
    to_node.Push(1, 2, 1, BIG),
    to_node.Push(1, 2, 1, BIGGER),
    to_node.Push(1, 2, 1, b"small"),
    to_node.Push(1, 2, 1, b""),
    to_node.PushMany(1, [1, 2, 3], 0, BIGGER),
    to_node.HttpResponse(1, 2, 200, (("a", "b"),), "a/b", BIG),
    to_node.Piece(1, "payload", len(BIGGER), BIGGER),
    to_node.Consumed(1, 2),
    to_node.PushInTrace(1, 2, 1, BIG, 3, 4),
]
FROM_NODE: list[Any] = [
    to_worker.Push(1, 2, 1, BIG),
    to_worker.Http(1, 2, "POST", "/u", "/u", (("a", "b"),), (), (), None, None, BIGGER),
    to_worker.Http(1, 2, "POST", "/u", "/u", (), (), (), "1.2.3.4:5", "a/b", BIG, '{"sub": "ann"}'),
    to_worker.Piece(1, "payload", len(BIGGER), BIGGER),
    to_worker.Ping(),
]


def joined(messages: list[Any]) -> bytes:
    return b"".join(encode_parts(messages, LARGE + 1))


@pytest.mark.parametrize("message", FROM_WORKER + FROM_NODE, ids=lambda one: type(one).__name__)
def test_the_bytes_are_the_same(message: Any) -> None:
    assert joined([message]) == encode([message])


@pytest.mark.parametrize(("reader", "messages"), [(from_worker, FROM_WORKER), (from_node, FROM_NODE)])
def test_many_messages_are_read_in_their_order(reader: Any, messages: list[Any]) -> None:
    assert list(reader().feed(joined(messages * 3))) == messages * 3
    assert len(list(reader().feed(joined(messages)))) == len(messages)


@pytest.mark.parametrize("message", [FROM_WORKER[0], FROM_WORKER[5], FROM_NODE[1]])
def test_a_large_payload_is_not_copied(message: Any) -> None:
    payload = getattr(message, "payload", None) or message.body
    assert any(part is payload for part in encode_parts([message], len(payload)))


def test_a_piece_of_a_payload_is_not_copied_either() -> None:
    view = memoryview(BIGGER)[: LARGE + 5]
    parts = encode_parts([to_node.Piece(1, "payload", len(BIGGER), view)], len(view))  # type: ignore[arg-type]
    assert any(part is view for part in parts)
    [piece] = from_worker().feed(b"".join(parts))
    assert piece == to_node.Piece(1, "payload", len(BIGGER), bytes(view))


def test_small_messages_are_one_frame() -> None:
    messages = [to_node.Push(1, 2, 1, b"x" * 100)] * 3
    assert encode_parts(messages, 300) == [encode(messages)]


def test_what_cannot_be_encoded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_parts([to_worker.Http(1, 2, "\ud800", "", "", (), (), (), None, None, BIG)], len(BIG))
    with pytest.raises(TypeError):
        encode_parts([to_node.Push(1, 2, 1, None)], len(BIG))  # type: ignore[arg-type]
    monkeypatch.setattr(frames, "MAX_FRAME", 20_000)
    with pytest.raises(LinkError, match="over the limit of 20000"):
        encode_parts([FROM_WORKER[1]], len(BIGGER))


def test_all_is_sent_whatever_the_socket_takes_at_once() -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    messages: list[Any] = [to_node.Push(1, at, 1, os.urandom(PIECE_BYTES)) for at in range(30)]
    parts = encode_parts(messages, 30 * PIECE_BYTES)
    assert len(parts) == 60
    reader, got = from_worker(), list[Any]()

    def read() -> None:
        while data := theirs.recv(100_000):
            got.extend(reader.feed(data))

    thread = threading.Thread(target=read)
    thread.start()
    send(ours, parts)
    send(ours, [encode([to_node.Pong()])])
    ours.close()
    thread.join()
    theirs.close()
    assert got == [*messages, to_node.Pong()]
