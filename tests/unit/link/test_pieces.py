"""What is large leaves its message, crosses in pieces, and is whole again; anything else of a piece is refused."""

from __future__ import annotations

import socket
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest

from guesthouse.link.calls import BindHttpPath, GetState, SetState, Stored
from guesthouse.link.frames import LinkError, from_node, from_worker
from guesthouse.link.pieces import Assembly, InPieces, taken_out
from guesthouse.link.schema import MOST_IN_PIECES, PIECE_BYTES, Message
from guesthouse.link.to_node import (
    Call,
    Consumed,
    Exited,
    HttpResponse,
    LogLine,
    Piece,
    Push,
    Respond,
    Send,
    Whole,
)
from guesthouse.link.to_worker import Http, Reply, Request, Response, SendFailure
from guesthouse.link.to_worker import Piece as PieceToWorker
from guesthouse.link.to_worker import Push as PushToWorker
from guesthouse.link.to_worker import Whole as WholeToWorker
from guesthouse.worker.link import MOST_WAITING, LinkWriter

LARGE = bytes(range(256)) * (2 * PIECE_BYTES // 256) + b"and a bit"
OTHER = LARGE[::-1]
TO_NODE: list[Any] = [
    Push(1, 7, 1, LARGE),
    HttpResponse(1, 2, 200, (("a", "b"),), None, LARGE),
    Send(1, "n@p:k:g", LARGE, context=OTHER, blob=LARGE),
    Send(1, "n@p:k:g", b"small", blob=LARGE),
    Respond(1, 2, LARGE, blob=OTHER),
    Call(1, 2, SetState(LARGE)),
    Call(1, 2, BindHttpPath("/", True, False, False, None, None, LARGE)),
]
TO_WORKER: list[Any] = [
    PushToWorker(1, 7, 1, LARGE),
    Http(1, 2, "GET", "/", "/", (), (), (), None, None, LARGE),
    Request(1, 5, "n@p:k:g", LARGE, blob=OTHER),
    Response(1, "n@p:k:g", LARGE, False, None, OTHER, None, LARGE, 0),
    SendFailure(1, "timeout", "n@p:k:g", LARGE, False, None, None, OTHER, None, LARGE, 0),
    Reply(1, 2, Stored(LARGE)),
]
SMALL: list[Any] = [
    Send(1, "n@p:k:g", b"", blob=bytes(PIECE_BYTES)),
    Call(1, 2, GetState()),
    Reply(1, 2, "too-big"),
    Reply(1, 2, None),
    Consumed(1, 3),
    LogLine(1, "print", "info", "x" * 2 * PIECE_BYTES),
]


def sent(message: Any, piece: Any, whole: Any) -> list[bytes | bytearray]:
    """The frames of a message that is large."""
    small, payloads = taken_out(message)
    large = InPieces(piece, 1, payloads, whole(1, small))
    frames: list[bytes | bytearray] = []
    while not large.done:
        frames += map(b"".join, large.frames())
    return frames


@pytest.mark.parametrize("message", TO_NODE, ids=lambda one: type(one).__name__)
def test_what_a_worker_says_is_whole_again(message: Any) -> None:
    assembly, reader, heard = Assembly[Piece](), from_worker(), list[Message]()
    frames = sent(message, Piece, Whole)
    assert max(map(len, frames)) < PIECE_BYTES + 1024
    for each in (each for frame in frames for each in reader.feed(frame)):
        if isinstance(each, Piece):
            assembly.add(each)
        else:
            assert isinstance(each, Whole)
            heard.append(assembly.complete(each.handle, each.message))
    assert heard == [message]


@pytest.mark.parametrize("message", TO_WORKER, ids=lambda one: type(one).__name__)
def test_what_the_node_says_is_whole_again(message: Any) -> None:
    assembly, reader, heard = Assembly[PieceToWorker](), from_node(), list[Message]()
    for each in (
        each for frame in sent(message, PieceToWorker, WholeToWorker) for each in reader.feed(frame)
    ):
        if isinstance(each, PieceToWorker):
            assembly.add(each)
        else:
            assert isinstance(each, WholeToWorker)
            heard.append(assembly.complete(each.handle, each.message))
    assert heard == [message]


@pytest.mark.parametrize("message", SMALL, ids=lambda one: type(one).__name__)
def test_what_is_small_stays_as_it_is(message: Any) -> None:
    assert taken_out(message) == (message, ())


def piece(field: Any = "body", size: int = 4, data: bytes = b"abcd", handle: int = 1) -> Piece:
    return Piece(handle, field, size, data)


SEND = Send(1, "n@p:k:g", b"")
WRONG: dict[str, tuple[list[Piece], Any, str]] = {
    "more than is missing": ([piece(), piece(data=b"e")], SEND, "more than is missing"),
    "another size": ([piece(data=b"a"), piece(size=5, data=b"b")], SEND, "more than is missing"),
    "less": ([piece(data=b"abc")], SEND, "before all of its pieces"),
    "a field that it does not have": ([piece("content")], SEND, "pieces of content for a Send"),
    "a field that is none": ([piece("blob")], SEND, "pieces of blob for a Send"),
    "a field that has something": ([piece()], Send(1, "n@p:k:g", b"x"), "pieces of body for a Send"),
    "a call without it": ([piece("state")], Call(1, 2, GetState()), "pieces of state for a Call"),
    "a message of another run": ([piece()], Send(2, "n@p:k:g", b""), "of another"),
    "more than all may be": ([piece(size=MOST_IN_PIECES + 1)], SEND, "pieces of over"),
    "more than all may be, of many runs": (
        [piece(size=MOST_IN_PIECES // 2, handle=handle) for handle in range(3)], SEND, "pieces of over"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_pieces_that_no_correct_end_sends_are_refused(name: str) -> None:
    pieces, message, complaint = WRONG[name]
    assembly = Assembly[Piece]()

    def take() -> None:
        for each in pieces:
            assembly.add(each)
        assembly.complete(1, message)

    with pytest.raises(LinkError, match=complaint):
        take()


def test_what_is_given_up_counts_no_more() -> None:
    assembly = Assembly[Piece]()
    for handle in range(5):
        assembly.add(piece(size=MOST_IN_PIECES, handle=handle))
        assembly.drop(handle)
    assembly.add(piece())
    assert assembly.complete(1, SEND) == Send(1, "n@p:k:g", b"abcd")
    assembly.add(piece(size=MOST_IN_PIECES))


class Reading:
    """The node's end of a link, read in a thread, so that what is sent to it does not wait."""

    def __init__(self) -> None:
        self.worker, self._node = socket.socketpair()
        self.outgoing = LinkWriter(self.worker)
        self._heard: list[Message] = []
        self._thread = Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        reader = from_worker()
        while data := self._node.recv(1 << 20):
            self._heard += reader.feed(data)

    def heard(self) -> list[Message]:
        """All that was sent."""
        self.worker.close()
        self._thread.join()
        self._node.close()
        return self._heard

    def add(self, handle: int, payload: bytes, *, waits: bool) -> None:
        small, payloads = taken_out(Call(handle, 1, SetState(payload)))
        self.outgoing.add_large(handle, payloads, Whole(handle, small), waits=waits)


@pytest.fixture
def reading() -> Reading:
    return Reading()


def kinds(messages: list[Message]) -> str:
    """`p` for a piece, `w` for a whole, `.` for what is neither."""
    return "".join({Piece: "p", Whole: "w"}.get(type(each), ".") for each in messages)


def turns(reading: Reading, say: Callable[[int], None]) -> None:
    number = 0
    while reading.outgoing.has_large:
        say(number)
        reading.outgoing.send_pieces()
        number += 1


def test_others_speak_between_the_pieces_of_a_guest_that_waits(reading: Reading) -> None:
    reading.add(1, LARGE, waits=True)
    turns(reading, lambda number: reading.outgoing.add(Push(2, 7, 1, b"%d" % number)))
    assert kinds(reading.heard()) == ".p.p.p.w"


def test_all_of_a_guest_that_goes_on_is_sent_before_what_it_says_then(reading: Reading) -> None:
    reading.add(1, LARGE, waits=True)
    reading.add(2, LARGE, waits=False)
    reading.outgoing.add(Push(2, 7, 1, b"then"))
    reading.outgoing.flush()
    assert kinds(reading.heard()) == "pppwpppw."


def test_what_waits_has_a_bound(reading: Reading) -> None:
    quarter = bytes(MOST_WAITING // 4)
    for handle in range(5):
        reading.add(handle, quarter, waits=True)
    pieces = len(quarter) // PIECE_BYTES
    assert kinds(reading.heard()) == "p" * pieces + "w"


def test_what_a_guest_said_that_ended_is_not_sent_any_further(reading: Reading) -> None:
    reading.add(1, LARGE, waits=True)
    reading.add(2, LARGE, waits=True)
    reading.outgoing.send_pieces()
    reading.outgoing.drop_large(1)
    reading.outgoing.add(Exited(1, "stopped", ""))
    turns(reading, lambda number: None)
    assert kinds(reading.heard()) == "p.pppw"


def test_a_large_push_crosses_in_pieces_in_its_order(reading: Reading) -> None:
    reading.outgoing.add(Push(1, 7, 1, b"before"), 6)
    large = bytes(5 * 1024 * 1024)
    reading.outgoing.add(Push(1, 7, 1, large), len(large))
    reading.outgoing.add(Push(1, 7, 1, b"after"), 5)
    reading.outgoing.flush()
    assert kinds(reading.heard()) == "." + "p" * (len(large) // PIECE_BYTES) + "w."
