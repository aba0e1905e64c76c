"""Large messages in memory that node and worker share: read where they are, and copied before they are released."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.tiers import thorough_after
from tests.wire import ToNode, ToWorker

from guesthouse.link import lane as lanes
from guesthouse.link import to_node, to_worker
from guesthouse.link.frames import LinkError, encode, from_worker
from guesthouse.link.lane import LEAST
from guesthouse.link.shared_memory import RING_BYTES, NodeMemory, WorkerMemory
from guesthouse.wasm.types import OptionOf
from guesthouse.worker.contract_messages import WS_PUSH
from guesthouse.worker.guest import Guest, WaitingFor
from guesthouse.worker.link import LinkWriter
from guesthouse.worker.shared_push import SharedPush

from .contract import WS_MESSAGE, field_offset, payload_offset
from .driven import Driven
from .guests import (
    BLOB_BYTES_AT,
    ECHO,
    ECHO_CALLS,
    HOG_WHEN_SPOKEN_TO,
    IS_PUSH,
    OPEN_CHANNEL_AT,
    PUSH_CHANNEL,
    RECEIVE,
    SCRATCH,
    SLEEPER,
    TEXT,
    TEXT_AT,
    data,
    process,
)
from .process import NODE, Worker
from .process import Guest as Started

pytestmark = pytest.mark.slow

TEXT_KIND, BINARY_KIND = 0, 1
SIZE: Final = 100_000
_AT: Final = 6000
_BLOB: Final = SCRATCH + 4
"""Where `get-blob` puts a blob: behind the byte that says whether there is one."""
_BYTES: Final = (
    f"(i32.load (i32.const {_BLOB + BLOB_BYTES_AT})) (i32.load (i32.const {_BLOB + BLOB_BYTES_AT + 4}))"
)
_SEND_BYTES: Final = f"""(call $send-ws-push (i32.const {_AT}) (i32.const {len(NODE)}) {{channel}} (i32.const 1)
    (i32.const 0) (i32.const 0) (i32.const 0) {_BYTES} (i32.const {SCRATCH + 64}))"""
_BINARY_CALLS: Final = ("messaging.receive", "messaging.get-blob", "http-server.send-ws-push")
BINARY_ECHO: Final = process(
    _BINARY_CALLS,
    f"""(loop $next {RECEIVE} (if {IS_PUSH} (then
      (call $get-blob (i32.const {SCRATCH})) {_SEND_BYTES.format(channel=PUSH_CHANNEL)}))
      (br $next))""",
    more=data(NODE, _AT),
)
"""Answers each message with itself, in binary."""

_ASKS: Final = f"(call $set-state (i32.const 0) (i32.const 1) (i32.const {SCRATCH + 96}))"
LATE_ECHO: Final = process(
    (*ECHO_CALLS, "system.set-state"),
    f"""(loop $next {RECEIVE} (if {IS_PUSH} (then {_ASKS} {TEXT}
      (call $send-ws-text {PUSH_CHANNEL} {TEXT_AT} (i32.const {SCRATCH + 64}))))
      (br $next))""",
)
"""The same in text, once the node has answered a call."""

REMEMBERS: Final = process(
    ("messaging.receive", "messaging.last-blob", "http-server.send-ws-push"),
    f"""(loop $next {RECEIVE} (if {IS_PUSH} (then) (else
      (call $last-blob (i32.const {SCRATCH}))
      (if (i32.load8_u (i32.const {SCRATCH})) (then
        {_SEND_BYTES.format(channel=f"(i32.load (i32.const {OPEN_CHANNEL_AT}))")}))))
      (br $next))""",
    more=data(NODE, _AT),
)
"""Sends the last payload to each channel that opens."""


_PUSHED: Final = SCRATCH + payload_offset(OptionOf(WS_MESSAGE))
_PUSHED_TEXT: Final = _PUSHED + field_offset(WS_MESSAGE, 1)
_PUSHED_BYTES: Final = _PUSHED + field_offset(WS_MESSAGE, 2)


def _loaded(at: int) -> str:
    return f"(i32.load (i32.const {at + 4})) (i32.load (i32.const {at + 8}))"


AT_ONCE: Final = process(
    (
        "messaging.receive",
        "messaging.receive-ws-push",
        "http-server.send-ws-text",
        "http-server.send-ws-push",
    ),
    f"""(loop $next (call $reset) (call $receive-ws-push (i32.const {SCRATCH}))
      (if (i32.load8_u (i32.const {SCRATCH}))
        (then (if (i32.load8_u (i32.const {_PUSHED_TEXT}))
          (then (call $send-ws-text (i32.load (i32.const {_PUSHED})) {_loaded(_PUSHED_TEXT)}
            (i32.const {SCRATCH + 64})))
          (else (call $send-ws-push (i32.const {_AT}) (i32.const {len(NODE)}) (i32.load (i32.const {_PUSHED}))
            (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) {_loaded(_PUSHED_BYTES)}
            (i32.const {SCRATCH + 64})))))
        (else {RECEIVE}))
      (br $next))""",
    more=data(NODE, _AT),
)
"""Answers each message with itself, and gets them by `receive-ws-push`."""


class Sharing:
    """A worker, and the node's end of what they share."""

    def __init__(self, worker: Worker, memory: NodeMemory) -> None:
        self.worker, self.memory = worker, memory
        self.lane = lanes.of_node(memory)
        self.placed: list[Any] = []

    def push(self, *messages: tuple[Started, int, bytes, int]) -> None:
        """Send clients' messages at once: guest, channel, payload and kind."""
        pushes = [
            to_worker.Push(guest.handle, channel_id, kind, payload)
            for guest, channel_id, payload, kind in messages
        ]
        packed = list(self.lane.pack(pushes, sum(len(push.payload) for push in pushes)))
        assert all(isinstance(each, to_worker.Placed) for each in packed)
        self.worker.link.sendall(encode(packed))

    def overwrite(self) -> None:
        """The node uses again what was released: anything that still refers to it is damaged."""
        self.memory.write(0, b"\xff" * RING_BYTES)

    def released(self, count: int) -> None:
        """Wait until so many regions are released, and overwrite them."""
        while count > 0:
            (said,) = self.worker.expect(ToNode.RELEASED)[1:]
            self.lane.released(to_node.Released(said))
            count -= said
        assert count == 0
        self.overwrite()

    def answer(self) -> Any:
        """The next message to a client, out of the worker's ring."""
        _, message, offset, size = self.worker.expect(ToNode.PLACED)
        assert message[0] == ToNode.PUSH
        return self.lane.take(to_node.Placed(to_node.Push(*message[1:]), offset, size))


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Sharing]:
    memory = NodeMemory()
    assert memory.back(RING_BYTES)
    with Worker(tmp_path, memory=memory.descriptors) as worker:
        worker.configure()
        yield Sharing(worker, memory)
        assert worker.is_alive()
    memory.close()


def opened(worker: Worker, guest: str, *channels: int, **limits: Any) -> Started:
    started = worker.start(guest, **limits).started()
    for channel_id in channels:
        started.open(channel_id)
    return started


def answer_calls(guest: Started, count: int) -> None:
    for _ in range(count):
        guest.send(ToWorker.REPLY, guest.expect(ToNode.CALL)[0], None)


@pytest.mark.parametrize(
    "payload", thorough_after(1, [b"x" * SIZE, "é€😀".encode() * (SIZE // 9)]), ids=["ascii", "more"]
)
def test_text_comes_back_as_it_was_sent(sharing: Sharing, payload: bytes) -> None:
    guest = opened(sharing.worker, ECHO, 1, 2)
    for _ in range(3 * RING_BYTES // SIZE):
        sharing.push((guest, 1, payload, TEXT_KIND), (guest, 2, payload[9:], TEXT_KIND))
        assert sharing.answer() == to_node.Push(guest.handle, 1, TEXT_KIND, payload)
        assert sharing.answer() == to_node.Push(guest.handle, 2, TEXT_KIND, payload[9:])
        sharing.released(2)
        sharing.worker.link.sendall(encode(list(sharing.lane.pack([], 0))))


@pytest.mark.parametrize("size", [LEAST + 1, SIZE, 1_000_000])
def test_binary_comes_back_as_it_was_sent(sharing: Sharing, size: int) -> None:
    guest = opened(sharing.worker, BINARY_ECHO, 1)
    for _ in range(3):
        payload = os.urandom(size)
        sharing.push((guest, 1, payload, BINARY_KIND))
        assert sharing.answer() == to_node.Push(guest.handle, 1, BINARY_KIND, payload)
        sharing.released(1)
        sharing.worker.link.sendall(encode(list(sharing.lane.pack([], 0))))


@pytest.mark.parametrize("kind", [TEXT_KIND, BINARY_KIND])
def test_a_message_with_its_payload_by_one_call_comes_back_as_it_was_sent(
    sharing: Sharing, kind: int
) -> None:
    guest = opened(sharing.worker, AT_ONCE, 1)
    payloads = ["é".encode() * SIZE, b"x" * SIZE]
    sharing.push(*((guest, 1, payload, kind) for payload in payloads))
    for payload in payloads:
        assert sharing.answer() == to_node.Push(guest.handle, 1, kind, payload)
    sharing.released(2)


@pytest.mark.parametrize("payload", ["é".encode() * SIZE, b"\xff" * SIZE], ids=["valid", "invalid"])
def test_binary_that_a_guest_takes_for_text_is_checked(sharing: Sharing, payload: bytes) -> None:
    """The node has looked at text only."""
    guest = opened(sharing.worker, ECHO, 1)
    sharing.push((guest, 1, payload, BINARY_KIND), (guest, 1, b"x" * SIZE, TEXT_KIND))
    answers = [payload] if payload[0] != 0xFF else []
    if not answers:
        assert guest.pushed(1) == b"", "there was no text, and the guest sent that"
    for answer in [*answers, b"x" * SIZE]:
        assert sharing.answer().payload == answer
    sharing.released(2)


def test_what_a_guest_has_in_hand_or_in_its_inbox_is_released_and_stays_whole(sharing: Sharing) -> None:
    guest = opened(sharing.worker, LATE_ECHO, 1)
    other = opened(sharing.worker, ECHO, 2)
    payloads = [bytes([number]) * SIZE for number in range(5)]
    sharing.push(
        *((guest, 1, payload, TEXT_KIND) for payload in payloads), (other, 2, b"x" * SIZE, TEXT_KIND)
    )
    assert sharing.answer() == to_node.Push(other.handle, 2, TEXT_KIND, b"x" * SIZE)
    sharing.released(6)
    for payload in payloads:
        answer_calls(guest, 1)
        assert sharing.answer() == to_node.Push(guest.handle, 1, TEXT_KIND, payload)


def test_a_guest_that_computes_for_ever_holds_up_no_ring(sharing: Sharing) -> None:
    guest = opened(sharing.worker, HOG_WHEN_SPOKEN_TO, 1)
    other = opened(sharing.worker, ECHO, 2)
    sharing.push(*((guest, 1, b"x" * SIZE, TEXT_KIND) for _ in range(5)))
    sharing.push((other, 2, b"y" * SIZE, TEXT_KIND))
    assert sharing.answer().payload == b"y" * SIZE
    sharing.released(6)


def test_a_guest_that_never_asks_costs_no_room(sharing: Sharing) -> None:
    guest = opened(sharing.worker, SLEEPER, 1)
    for _ in range(3 * RING_BYTES // SIZE):
        sharing.push((guest, 1, b"x" * SIZE, BINARY_KIND))
        sharing.worker.send([ToWorker.PING])
        sharing.released(1)


def test_a_guest_that_ends_leaves_nothing_in_the_ring(sharing: Sharing) -> None:
    for _ in range(3):
        guest = opened(sharing.worker, LATE_ECHO, 1)
        sharing.push((guest, 1, b"x" * SIZE, TEXT_KIND), (guest, 1, b"y" * SIZE, TEXT_KIND))
        guest.expect(ToNode.CALL)
        guest.stop()
        sharing.push((guest, 1, b"z" * SIZE, TEXT_KIND))  # to one that is no more
        sharing.worker.send([ToWorker.PING])
        sharing.released(3)


def test_the_last_blob_is_kept_for_a_guest_that_may_ask_for_it(sharing: Sharing) -> None:
    guest = opened(sharing.worker, REMEMBERS)
    payload = os.urandom(SIZE)
    guest.open(1)
    sharing.push((guest, 1, payload, BINARY_KIND))
    sharing.worker.send([ToWorker.PING])
    sharing.released(1)
    for channel_id in (2, 3):
        guest.open(channel_id)
        assert sharing.answer() == to_node.Push(guest.handle, channel_id, BINARY_KIND, payload)


# Inside the worker


@pytest.fixture
def memory() -> Iterator[NodeMemory]:
    memory = NodeMemory()
    yield memory
    memory.close()


def lent(payload: bytes, kind: int = BINARY_KIND) -> tuple[SharedPush, bytearray]:
    """A message in memory that is released afterwards."""
    ring = bytearray(payload)
    return SharedPush(1, 7, kind, memoryview(ring)), ring


class Component:
    def __init__(self, *imported: str) -> None:
        self.imported = imported

    def imports(self, name: str) -> bool:
        return name in self.imported


def taking(driven: Driven, push: SharedPush, *imported: str) -> Guest:
    guest = driven.guest
    guest.component = Component(*imported)
    guest.encoding.received[SharedPush](guest, push)
    return guest


def test_a_blob_that_is_passed_on_is_bytes(driven: Any) -> None:
    push, ring = lent(b"abc")
    guest = taking(driven(), push)
    assert guest.own_blob() == (None, b"abc")
    ring[:] = b"xyz"
    guest.own_payloads()
    assert guest.blob == guest.last_blob == (None, b"abc")


@pytest.mark.parametrize("imported", [(), ("last-blob",)])
def test_a_message_without_payload_leaves_the_last_blob(driven: Any, imported: tuple[str, ...]) -> None:
    push, ring = lent(b"abc")
    guest = taking(driven(), push, *imported)
    guest.take_up(channel_id=8)
    guest.own_payloads()
    ring[:] = b"xyz"
    assert guest.blob == (None, None)
    assert guest.last_blob == ((None, b"abc") if imported else (None, None))


def test_a_guest_that_waits_for_a_push_only_has_the_last_in_hand_until_it_takes_another(driven: Any) -> None:
    push, ring = lent(b"abc")
    guest = taking(driven(), push)
    guest.encoding, guest.waiting = WS_PUSH, WaitingFor.MESSAGE
    guest.own_payloads()
    ring[:] = b"xyz"
    assert guest.blob == guest.last_blob == (None, b"abc")


def test_a_newer_payload_takes_the_place_of_one_that_was_lent(driven: Any) -> None:
    first, _ = lent(b"abc")
    guest = taking(driven(), first, "last-blob")
    second, ring = lent(b"def")
    guest.encoding.received[SharedPush](guest, second)
    guest.own_payloads()
    ring[:] = b"xyz"
    assert guest.blob == guest.last_blob == (None, b"def")
    assert guest.shared is None


def writer_with(memory: NodeMemory) -> tuple[LinkWriter, socket.socket, Any]:
    ours, theirs = socket.socketpair()
    return LinkWriter(theirs, lanes.of_worker(WorkerMemory(memory.descriptors))), ours, theirs


def test_a_push_from_a_guests_memory_is_copied_at_once(memory: NodeMemory) -> None:
    """In the order in which they are added, whether or not they find room: the ring is released in its order."""
    writer, ours, theirs = writer_with(memory)
    node = lanes.of_node(memory)
    with ours, theirs:
        ours.settimeout(10)
        guest = bytearray(1_900_000)
        sizes = [100_000, 1_900_000, 1_900_000, 1_900_000, 30_000, LEAST, 200_000]
        for number, size in enumerate(sizes):
            guest[:] = bytes([number]) * len(guest)
            message: Any = to_node.Push(1, number, 1, memoryview(guest)[:size])  # type: ignore[arg-type]
            if size == LEAST:
                message = to_node.Push(1, number, 1, bytes(guest[:size]))
            writer._bytes = 0  # so that all go at once
            writer.add(message, size)
        guest[:] = b"\xff" * len(guest)
        reader, heard = from_worker(), list[Any]()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)

        sending = threading.Thread(target=writer.flush)
        sending.start()
        placed = 0
        while len(heard) < len(sizes):
            for said in reader.feed(ours.recv(1 << 20)):
                placed += isinstance(said, to_node.Placed)
                heard.append(node.take(said) if isinstance(said, to_node.Placed) else said)
        sending.join()
    expected = [to_node.Push(1, number, 1, bytes([number]) * size) for number, size in enumerate(sizes)]
    assert heard == expected
    assert placed == 5


def test_regions_behind_one_that_is_lent_wait_for_it(memory: NodeMemory) -> None:
    node, worker = lanes.of_node(memory), lanes.of_worker(WorkerMemory(memory.descriptors))
    pushes = [to_worker.Push(1, number, 1, bytes([number]) * SIZE) for number in range(3)]
    first, second, third = node.pack(pushes, 3 * SIZE)
    assert isinstance(first, to_worker.Placed)
    assert isinstance(second, to_worker.Placed)
    assert isinstance(third, to_worker.Placed)
    assert worker.take(first) == pushes[0]
    view = worker.lend(second)
    assert worker.take(third) == pushes[2]
    assert worker.release_with([]) == [to_node.Released(1)]
    assert worker.release_with([]) == []
    assert view == pushes[1].payload
    worker.settle()
    assert worker.release_with([]) == [to_node.Released(2)]
    assert not worker.must_release
    with pytest.raises(TypeError):
        view[0] = 1


def test_no_more_is_lent_than_the_ring_holds(memory: NodeMemory) -> None:
    worker = lanes.of_worker(WorkerMemory(memory.descriptors))
    for number in range(4):
        worker.lend(to_worker.Placed(to_worker.Push(1, number, 1, b""), number << 20, 1 << 20))
    lie = to_worker.Placed(to_worker.Push(1, 2, 1, b""), 0, LEAST + 1)
    for use in (worker.lend, worker.take):
        with pytest.raises(LinkError, match="more is placed in a ring than it holds"):
            use(lie)
    worker.settle()
    assert worker.must_release
