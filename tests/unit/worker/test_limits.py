"""Every limit that a worker holds its guests to, at its edge: one less, the limit, one more.

What is counted is counted by real guests of a real worker. What is measured in time is driven, not waited for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

import pytest
from tests.wire import FrameReader, ToNode

from guesthouse.core.exit_cause import ExitCause
from guesthouse.link.to_worker import GuestLimits
from guesthouse.worker.limits import guest_log
from guesthouse.worker.limits.guest_log import GuestLog
from guesthouse.worker.link import LinkWriter

from .contract import REQUEST, field_offset
from .driven import Driven
from .guests import (
    OPEN_CHANNEL_AT,
    RECEIVE,
    RECEIVE_FOR_EVER,
    RESULT_NAMES,
    SCRATCH,
    data,
    process,
    say_result,
)
from .process import Worker
from .wasi import SLEEP

PAGE: Final = 65536
OWN_PAGES: Final = 4
"""What the tiny guests have of memory from the beginning."""

MOMENT: Final = 2.0**-10
"""Seconds; what time is measured in here. Binary fractions: sums of them are exact."""

OVERS: Final = (-1, 0, 1)


def says_whether_it_grew(grow: str, more: str = "") -> str:
    """A process that prints `ok`, or `e0` when what it wants to grow did not."""
    body = f"""(i32.store8 (i32.const {SCRATCH}) (i32.eq {grow} (i32.const -1))) {say_result(SCRATCH)}
      {RECEIVE_FOR_EVER}"""
    return process(("messaging.receive", "system.print"), body, more=RESULT_NAMES + more)


def printed(worker: Worker, guest: str, **limits: Any) -> str:
    text: str = worker.start(guest, **limits).expect(ToNode.LOG, "print")[2]
    return text


def memory_bytes(worker: Worker, over: int) -> None:
    grown = says_whether_it_grew(f"(memory.grow (i32.const {8 + over}))")
    said = printed(worker, grown, memory_bytes=(OWN_PAGES + 8) * PAGE)
    assert said == ("e0" if over > 0 else "ok")


def table_elements(worker: Worker, over: int) -> None:
    grown = says_whether_it_grew(
        f"(table.grow $table (ref.null func) (i32.const {100 + over}))", "(table $table 0 funcref)"
    )
    assert printed(worker, grown, table_elements=100) == ("e0" if over > 0 else "ok")


def log_line_bytes(worker: Worker, over: int) -> None:
    text = "x" * (100 + over)
    prints = process(
        ("messaging.receive", "system.print"),
        f"(call $print (i32.const 2) (i32.const 700) (i32.const {len(text)})) {RECEIVE_FOR_EVER}",
        more=data(text, 700),
    )
    said = printed(worker, prints, log_line_bytes=100)
    assert said == ("x" * 100 + " … (cut)" if over > 0 else text)


def wasi_handles(worker: Worker, over: int) -> None:
    body = "(drop (call $subscribe-duration (i64.const 1)))" * (8 + over) + RECEIVE_FOR_EVER
    guest = worker.start(process(("messaging.receive",), body, wasi=SLEEP), wasi_handles=8)
    if over > 0:
        assert guest.death() == [
            ExitCause.TRAP,
            "it holds 8 WASI resources, the limit: drop some",
        ]
    else:
        guest.started()


def message_bytes(worker: Worker, over: int) -> None:
    """A push: refused as `too-big`, the fifth of the errors."""
    size = 1000 + over
    body = f"""{RECEIVE} (memory.fill (i32.const 8192) (i32.const 97) (i32.const {size}))
      (call $send-ws-text (i32.load (i32.const {OPEN_CHANNEL_AT})) (i32.const 8192) (i32.const {size})
        (i32.const {SCRATCH})) {say_result(SCRATCH)} {RECEIVE_FOR_EVER}"""
    calls = ("messaging.receive", "http-server.send-ws-text", "system.print")
    guest = worker.start(process(calls, body, more=RESULT_NAMES), message_bytes=1000)
    guest.open(1)
    assert guest.expect(ToNode.LOG, "print")[2] == ("e4" if over > 0 else "ok")
    if over <= 0:
        assert len(guest.pushed(1)) == size


def blob_bytes(worker: Worker, over: int) -> None:
    """The body of a request to another process, whose name lies at 8192; the request follows in the arguments."""
    arguments, size = 4096, 1000 + over
    at = arguments + 32 + field_offset(REQUEST, "body")
    names, lines = ("n.os", "other", "tests", "guesthouse.os"), []
    for index, name in enumerate(names):
        place = arguments + 8 * index
        lines.append(f"(i32.store (i32.const {place}) (i32.const {8192 + 64 * index}))")
        lines.append(f"(i32.store (i32.const {place + 4}) (i32.const {len(name)}))")
    body = f"""{" ".join(lines)} (i32.store (i32.const {at}) (i32.const 9000))
      (i32.store (i32.const {at + 4}) (i32.const {size})) (call $send-request (i32.const {arguments}))
      {RECEIVE_FOR_EVER}"""
    texts = "".join(data(name, 8192 + 64 * index) for index, name in enumerate(names))
    guest = worker.start(
        process(("messaging.receive", "messaging.send-request"), body, more=texts), blob_bytes=1000
    )
    if over > 0:
        assert guest.death() == [ExitCause.TRAP, "it sent a message of 1001 bytes; the limit is 1000"]
    else:
        assert len(guest.expect(ToNode.SEND)[1]) == size


def cpu_seconds_per_message(driven: Callable[..., Driven], over: int) -> None:
    stage = driven(cpu_seconds_per_message=2.0)
    stage.guest.serves = True
    stage.guest.slice_budget = 2.0
    for _ in range(4):
        stage.run_slice(seconds=0.5 + over * MOMENT / 4)
    assert [trap.cause for trap in stage.ended] == ([ExitCause.OUT_OF_TIME] if over > 0 else [])


def start_seconds(driven: Callable[..., Driven], over: int) -> None:
    stage = driven(start_seconds=2.0)
    for _ in range(4):
        stage.run_slice(seconds=0.5 + over * MOMENT / 4)
    assert [trap.detail for trap in stage.ended] == (
        ["it used over 2 s of CPU before it asked for a message"] if over > 0 else []
    )


def cpu_share(driven: Callable[..., Driven], over: int) -> None:
    """A half: at the end of the first second it may have used what was saved up, and the half of that second."""
    stage = driven(cpu_share=0.5)
    stage.run_slice(seconds=1.0 + over * MOMENT)
    assert stage.is_held(MOMENT) is (over > 0)


def host_calls_per_second(driven: Callable[..., Driven], over: int) -> None:
    stage = driven(host_calls_per_second=1024)
    stage.run_slice(calls=1024 + over)
    assert stage.is_held(MOMENT) is (over > 0)


def log_lines_per_second(patch: pytest.MonkeyPatch, over: int) -> None:
    now = 1024.0
    patch.setattr(guest_log, "monotonic", lambda: now)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outgoing = LinkWriter(ours)
        book = GuestLog(1, 100, 1000, outgoing)
        for _ in range(100 + over):
            book.line("print", "info", "x")
        assert book.dropped == max(0, over)
        now += 1 / 64
        book.line("print", "info", "x")
        assert book.dropped == max(0, over)


COUNTED: Final[dict[str, Callable[[Worker, int], None]]] = {
    limit.__name__: limit
    for limit in (memory_bytes, table_elements, log_line_bytes, wasi_handles, message_bytes, blob_bytes)
}
TIMED: Final[dict[str, Callable[[Callable[..., Driven], int], None]]] = {
    limit.__name__: limit
    for limit in (cpu_seconds_per_message, start_seconds, cpu_share, host_calls_per_second)
}
EDGES: Final = frozenset((*COUNTED, *TIMED, log_lines_per_second.__name__))

OF_SETTINGS: Final = EDGES - {"message_bytes", "blob_bytes"}
"""Those of the section `process`; the other two are what `connections` and the kernel say too."""


def test_every_limit_of_a_guest_has_an_edge() -> None:
    assert set(GuestLimits.__struct_fields__) == EDGES


@pytest.mark.slow
@pytest.mark.parametrize("over", OVERS)
@pytest.mark.parametrize("name", COUNTED)
def test_a_limit_on_what_is_counted_holds_at_its_edge(worker: Worker, name: str, over: int) -> None:
    COUNTED[name](worker, over)


@pytest.mark.parametrize("over", OVERS)
@pytest.mark.parametrize("name", TIMED)
def test_a_limit_on_what_is_timed_holds_at_its_edge(
    driven: Callable[..., Driven], name: str, over: int
) -> None:
    TIMED[name](driven, over)


def test_time_that_the_worker_had_no_cpu_for_is_not_the_guests(driven: Callable[..., Driven]) -> None:
    stage = driven(start_seconds=2.0, cpu_share=0.5)
    for _ in range(8):
        stage.run_slice(seconds=0.25, elsewhere=100.0)
    assert stage.ended == []
    assert stage.guest.cpu_seconds == 2.0
    stage.run_slice(seconds=0.25, elsewhere=100.0)
    assert [trap.cause for trap in stage.ended] == [ExitCause.OUT_OF_TIME]


@pytest.mark.parametrize("over", OVERS)
def test_the_rate_of_the_log_holds_at_its_edge(monkeypatch: pytest.MonkeyPatch, over: int) -> None:
    log_lines_per_second(monkeypatch, over)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m and \x1b[38;5;208mmore\x1b[m", "red and more"),
        ("\x1b]0;a title\x07text\x1b[8mhidden", "\x1b]0;a title\x07texthidden"),
        ("\x1b[2J\x1b[1;1H\x1b(B\x1bMthere", "\x1b[2J\x1b[1;1H\x1b(B\x1bMthere"),
        ("\x1b[31m" * 30 + "y" * 9, "y" * 9),
        ("\x1b[31m" + "y" * 99, "y" * 99),
        ("\x1b[31m" + "y" * 101, "y" * 100 + " … (cut)"),
        ("\x1b[31m" * 100 + "far", "\x1b … (cut)"),
        ("[31m stays, ü too", "[31m stays, ü too"),
    ],
)
def test_a_line_has_no_escape_sequences(written: str, shown: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outgoing = LinkWriter(ours)
        book = GuestLog(1, 100, 100, outgoing)
        book.line("print", "info", written)
        book.stream("stdout", written.encode() + b"\n")
        outgoing.flush()
        lines = [message[4] for message in FrameReader(of_worker=True).feed(theirs.recv(65_536))]
        assert lines[0] == shown
        if len(written) < 100:
            assert lines[1] == shown
