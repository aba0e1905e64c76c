from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any, Final

import msgspec
import pytest
from tests.wire import ToNode, ToWorker, frame, to_worker

from guesthouse.link import to_node
from guesthouse.link.pieces import taken_out
from guesthouse.link.schema import PIECE_BYTES, PROTOCOL_VERSION
from guesthouse.worker import link
from guesthouse.worker.link import LinkWriter

from .guests import ECHO, ECHO_CALLS, RECEIVE, SCRATCH, process
from .process import Worker


def test_what_was_consumed_stands_at_the_head_of_each_frame(own_worker: Worker) -> None:
    """A node that learns of a push has learned before that its message was taken."""
    guests = [own_worker.start(ECHO) for _ in range(3)]
    for number, guest in enumerate(guests):
        guest.open(number)
    sent = {guest.handle: 1 for guest in guests}
    for round_ in range(30):
        for number, guest in enumerate(guests):
            for _ in range(round_ % 4):
                guest.push(number, b"x")
                sent[guest.handle] += 1
    consumed = dict.fromkeys(sent, 0)
    pushed = dict.fromkeys(sent, 0)
    while sum(pushed.values()) < sum(sent.values()) - 3:
        for messages in own_worker.raw_frames(1):
            kinds = [operation[0] == ToNode.CONSUMED for operation in messages]
            assert kinds == sorted(kinds, reverse=True)
            for operation in messages:
                if operation[0] == ToNode.CONSUMED:
                    consumed[operation[1]] += operation[2]
                elif operation[0] == ToNode.PUSH:
                    pushed[operation[1]] += 1
                    assert pushed[operation[1]] <= consumed[operation[1]] - 1
    assert consumed == sent


def test_every_message_is_reported_as_consumed_exactly_once(worker: Worker) -> None:
    guest = worker.start(process(("messaging.receive",), f"{RECEIVE} {RECEIVE} {RECEIVE} unreachable"))
    guest.open(1)
    for _ in range(9):
        guest.push(1, b"x")
    guest.death()
    counts = [operation[2] for operation in worker.got(ToNode.CONSUMED, guest.handle)]
    assert sum(counts) == 3


def test_a_worker_whose_link_is_closed_ends_well(own_worker: Worker) -> None:
    own_worker.start(ECHO).started()
    own_worker.link.close()
    assert own_worker.end() == (0, "")


def test_a_worker_whose_link_is_closed_while_guests_compute_and_push_ends(own_worker: Worker) -> None:
    flood = process(
        ECHO_CALLS,
        f"""{RECEIVE} (loop $more (call $send-ws-text (i32.const 1) (i32.const 0) (i32.const 60000)
          (i32.const {SCRATCH + 60000})) (br $more))""",
    )
    guest = own_worker.start(flood)
    own_worker.start(process((), "(loop (br 0))"))
    guest.open(1)
    guest.pushed(1)
    own_worker.link.close()
    assert own_worker.end() == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\xff",
        b"\x01\x00\x00\x00\x05",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x03\x00\x00\x00\x81\x81\x61",
        frame(msgspec.msgpack.encode(["not a message"])),
        to_worker([ToWorker.CONFIGURE, PROTOCOL_VERSION + 1, {}]),
        to_worker([99, 1]),
        to_worker([ToWorker.SET_CLOCK, 1, 1, 1]),
    ],
    ids=lambda garbage: repr(garbage[:12]),
)
def test_a_frame_that_no_correct_node_sends_ends_the_worker_in_one_line(
    own_worker: Worker, garbage: bytes
) -> None:
    own_worker.link.sendall(garbage)
    code, text = own_worker.end()
    assert code != 0
    assert len(text.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("operation", [[ToWorker.STOP], [ToWorker.START, 1, {}]], ids=["STOP", "START"])
def test_an_operation_without_its_fields_ends_the_worker(own_worker: Worker, operation: list[Any]) -> None:
    own_worker.send(operation)
    code, text = own_worker.end()
    assert code != 0
    assert text


def test_a_killed_worker_is_seen_as_the_end_of_the_link(own_worker: Worker) -> None:
    own_worker.start(ECHO).started()
    own_worker.kill()
    own_worker.subprocess.wait()
    with pytest.raises(EOFError):
        own_worker.expect(ToNode.EXITED)


def test_a_worker_leaves_interrupts_to_the_node(own_worker: Worker) -> None:
    own_worker.subprocess.send_signal(2)
    assert own_worker.is_alive()


def test_a_worker_started_by_hand_says_who_starts_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "guesthouse.worker"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == "workers are started by `guesthouse run`: run that\n"


@pytest.mark.slow
def test_a_guest_that_pushes_without_end_to_a_node_that_does_not_read_takes_no_memory(
    own_worker: Worker,
) -> None:
    """The worker stands still in its send; what is queued is bounded, and nothing is lost."""
    flood = process(
        ECHO_CALLS,
        f"""(local i32) {RECEIVE} (loop $more
        (i32.store (i32.const 8192) (local.get 8))
        (call $send-ws-text (i32.const 1) (i32.const 8192) (i32.const 32768) (i32.const {SCRATCH}))
        (br_if $more (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const 128))))
      (loop $more
        (call $send-ws-text (i32.const 1) (i32.const 8196) (i32.const 32768) (i32.const {SCRATCH}))
        (br_if $more (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const 4000))))
      {RECEIVE}""",
    )
    guest = own_worker.start(flood)
    guest.started()
    before = own_worker.rss_kib()
    guest.open(1)
    _wait_until_asleep(own_worker)
    assert own_worker.rss_kib() - before < 40 * 1024
    for number in range(4000):
        payload = guest.pushed(1)
        assert len(payload) == 32768
        if number < 128:
            assert int.from_bytes(payload[:4], "little") == number


LACKING_MEMORY: Final = """
import sys
from guesthouse.worker import link
from guesthouse.worker.__main__ import main
encode = link.encode
def lacking(messages, size=0):
    if size > 32 * 256:
        raise MemoryError
    return encode(messages, size)
link.encode = lacking
sys.exit(main(sys.argv[1:]))
"""
"""A worker that has no memory for large frames."""


def test_a_worker_without_memory_for_what_guests_sent_ends_and_loses_nothing_silently(tmp_path: Path) -> None:
    """A frame is sent in the middle of a guest's host call. Were that guest all that ended, other guests' messages
    and what they consumed would be lost with it.
    """
    flood = process(
        ECHO_CALLS,
        f"""{RECEIVE} (loop $more (call $send-ws-text (i32.const 1) (i32.const 0) (i32.const 256)
          (i32.const {SCRATCH})) (br $more))""",
    )
    with Worker(tmp_path, ("-c", LACKING_MEMORY)) as worker:
        worker.configure()
        guest = worker.start(flood)
        guest.started()
        guest.open(1)
        code, text = worker.end()
    assert (code, len(text.splitlines())) == (1, 1)
    assert "no memory" in text


def _a_frame(writer: LinkWriter) -> None:
    writer.add(to_node.Pong())
    writer.flush()


def _a_piece(writer: LinkWriter) -> None:
    push = to_node.Push(1, 2, 1, bytes(2 * PIECE_BYTES))
    small, payloads = taken_out(push)
    writer.add_large(1, payloads, to_node.Whole(1, small), waits=False)


@pytest.mark.parametrize("send", [_a_frame, _a_piece])
def test_what_could_not_be_sent_is_followed_by_nothing(
    monkeypatch: pytest.MonkeyPatch, send: Callable[[LinkWriter], None]
) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = LinkWriter(theirs)
        with monkeypatch.context() as patch:
            patch.setattr(link, "send", refuse)
            with pytest.raises(MemoryError):
                send(writer)
        for again in (_a_frame, send):
            with pytest.raises(MemoryError):
                again(writer)
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)


def _wait_until_asleep(worker: Worker) -> None:
    """Wait until the worker sleeps in the kernel: it waits for the node to read."""
    stat = Path(f"/proc/{worker.subprocess.pid}/stat")
    asleep = 0
    while asleep < 50:
        state = stat.read_text().rpartition(")")[2].split()[0]
        asleep = asleep + 1 if state == "S" else 0
        sleep(0.01)
