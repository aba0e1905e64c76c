from __future__ import annotations

from typing import Final

import pytest
from tests.wire import ToNode

from guesthouse.core.exit_cause import ExitCause

from .guests import ECHO, RECEIVE, RECEIVE_FOR_EVER, Wasi, data, process
from .process import Guest, Worker
from .wasi import (
    CLOCK,
    ENVIRONMENT,
    ERROR,
    EXIT,
    OUTPUT,
    POLL,
    PREOPENS,
    RANDOM,
    SLEEP,
    SOCKETS,
    STDIN,
    STREAMS,
    WALL_CLOCK,
)

PRINT: Final = ("system.print",)
DIGITS: Final = data("0123456789", 600)
YEAR: Final = 365 * 24 * 3600 * 10**9
FOR_EVER: Final = 2**64 - 1


def say_number(instructions: str) -> str:
    """Print a number below 10."""
    return f"(call $print (i32.const 2) (i32.add (i32.const 600) {instructions}) (i32.const 1))"


def said(guest: Guest) -> str:
    text: str = guest.expect(ToNode.LOG, "print")[2]
    return text


def dies(worker: Worker, body: str, *wasi: Wasi, **limits: int) -> list[str]:
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=wasi), **limits)
    return guest.death()


def sleeps(nanoseconds: int, then: str) -> str:
    """Subscribe, block on one pollable, and go on."""
    return f"(call $pollable.block (call $subscribe-duration (i64.const {nanoseconds}))) {then}"


@pytest.mark.parametrize("nanoseconds", [0, 1, 1000, 20_000_000])
def test_a_guest_sleeps_and_wakes(worker: Worker, nanoseconds: int) -> None:
    guest = worker.start(
        process(PRINT, sleeps(nanoseconds, say_number("(i32.const 7)")), more=DIGITS, wasi=SLEEP)
    )
    assert said(guest) == "7"


def test_a_sleep_lasts_as_long_as_it_was_asked_to(worker: Worker) -> None:
    body = f"""(local i64) (local.set 8 (call $now)) {sleeps(30_000_000, "")}
      {say_number("(i64.ge_u (i64.sub (call $now) (local.get 8)) (i64.const 30000000))")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=SLEEP))
    assert said(guest) == "1"


@pytest.mark.parametrize("nanoseconds", [60 * 10**9, 30 * 24 * 3600 * 10**9, YEAR, 2**63, FOR_EVER])
def test_a_guest_that_sleeps_for_ages_holds_nobody(worker: Worker, nanoseconds: int) -> None:
    sleeper = worker.start(
        process(("messaging.receive",), f"{RECEIVE} {sleeps(nanoseconds, '')}", wasi=SLEEP)
    ).started()
    sleeper.open(1)
    worker.expect(ToNode.CONSUMED, sleeper.handle)
    echo = worker.start(ECHO)
    echo.open(2)
    for _ in range(3):
        echo.push(2, b"awake")
        assert echo.pushed(2) == b"awake"
    assert sleeper.stop()[0] == ExitCause.STOPPED


@pytest.mark.slow
@pytest.mark.parametrize("nanoseconds", [30 * 24 * 3600 * 10**9, FOR_EVER])
def test_a_worker_with_nothing_but_a_long_sleep_waits_for_the_link(
    own_worker: Worker, nanoseconds: int
) -> None:
    """The node says nothing until the worker has gone into its long wait."""
    sleeper = own_worker.start(process((), sleeps(nanoseconds, ""), wasi=SLEEP))
    own_worker.link.settimeout(0.3)
    with pytest.raises(TimeoutError):
        own_worker.read()
    own_worker.link.settimeout(30)
    assert sleeper.stop()[0] == ExitCause.STOPPED


def test_a_moment_of_the_clock_can_be_waited_for_too(worker: Worker) -> None:
    body = f"""(call $pollable.block
        (call $subscribe-instant (i64.add (call $now) (i64.const 1000000))))
      (call $pollable.block (call $subscribe-instant (i64.const 0)))
      {say_number("(i32.const 3)")}"""
    assert said(worker.start(process(PRINT, body, more=DIGITS, wasi=SLEEP))) == "3"


def test_a_poll_names_those_that_are_ready(worker: Worker) -> None:
    body = f"""(i32.store (i32.const 2000) (call $subscribe-duration (i64.const {FOR_EVER})))
      (i32.store (i32.const 2004) (call $subscribe-duration (i64.const 2000000)))
      (i32.store (i32.const 2008) (call $subscribe-duration (i64.const {YEAR})))
      (call $poll (i32.const 2000) (i32.const 3) (i32.const 2100))
      {say_number("(i32.load (i32.const 2104))")} {say_number("(i32.load (i32.load (i32.const 2100)))")}
      {say_number("(call $pollable.ready (i32.load (i32.const 2004)))")}
      {say_number("(call $pollable.ready (i32.load (i32.const 2000)))")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=SLEEP))
    assert [said(guest) for _ in range(4)] == ["1", "1", "1", "0"]


def test_a_poll_of_nothing_ends_the_guest(worker: Worker) -> None:
    cause, detail = dies(worker, "(call $poll (i32.const 0) (i32.const 0) (i32.const 2100))", *SLEEP)
    assert cause == ExitCause.TRAP
    assert "empty list" in detail


def test_a_poll_of_the_same_pollable_many_times_holds_nobody(worker: Worker) -> None:
    fill = f"""(local i32 i32) (local.set 9 (call $subscribe-duration (i64.const {YEAR})))
      (loop $fill (i32.store (i32.add (i32.const 2000) (i32.mul (local.get 8) (i32.const 4))) (local.get 9))
        (br_if $fill (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const 20000))))
      (call $poll (i32.const 2000) (i32.const 20000) (i32.const 200000))"""
    sleeper = worker.start(process((), fill, wasi=SLEEP))
    assert worker.is_alive()
    assert sleeper.stop()[0] == ExitCause.STOPPED


def test_a_guest_may_hold_so_many_resources_and_no_more(worker: Worker) -> None:
    body = """(loop $more (drop (call $subscribe-duration (i64.const 0)))
        (call $print (i32.const 2) (i32.const 0) (i32.const 0)) (br $more))"""
    guest = worker.start(process(PRINT, body, wasi=SLEEP), wasi_handles=20)
    cause, detail = guest.death()
    assert cause == ExitCause.TRAP
    assert "holds 20 WASI resources" in detail
    assert guest.log().count("") == 20


def test_a_dropped_resource_makes_room_for_another(worker: Worker) -> None:
    body = f"""(local i32) (loop $more (call $drop-pollable (call $subscribe-duration (i64.const 0)))
        (br_if $more (i32.lt_u (local.tee 8 (i32.add (local.get 8) (i32.const 1))) (i32.const 5000))))
      {say_number("(i32.const 1)")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=SLEEP), wasi_handles=20)
    assert said(guest) == "1"


# Output


def writes(text: str, *, to: str = "get-stdout", then: str = "") -> str:
    size = len(text.encode())
    return process(
        ("messaging.receive",),
        f"""(local i32) (local.set 8 (call ${to}))
      (call $output-stream.blocking-write-and-flush (local.get 8) (i32.const 8192) (i32.const {size})
        (i32.const 64)) {then}""",
        more=data(text, 8192),
        wasi=OUTPUT,
    )


@pytest.mark.parametrize(
    ("to", "stream", "level"), [("get-stdout", "stdout", "info"), ("get-stderr", "stderr", "warning")]
)
def test_whole_lines_are_logged_at_once_and_the_rest_at_the_end(
    worker: Worker, to: str, stream: str, level: str
) -> None:
    guest = worker.start(writes("one\ntwo €\n\nrest", to=to, then=RECEIVE_FOR_EVER)).started()
    assert [line[4] for line in worker.got(ToNode.LOG)] == ["one", "two €", ""]
    worker.forget()
    guest.stop()
    assert worker.got(ToNode.LOG) == [[ToNode.LOG, guest.handle, stream, level, "rest"]]


def test_a_line_written_in_parts_is_one_line(worker: Worker) -> None:
    part = """(call $output-stream.write (local.get 8) (i32.const {at}) (i32.const {size}) (i32.const 64))"""
    body = "(local i32) (local.set 8 (call $get-stdout))" + "".join(
        part.format(at=8192 + start, size=end - start) for start, end in ((0, 1), (1, 4), (4, 5), (5, 9))
    )
    guest = worker.start(process((), body, more=data("a€bc\nde", 8192), wasi=OUTPUT))
    guest.death()
    assert guest.log() == ["a€bc", "de"]


def test_bytes_that_are_not_text_are_logged_as_what_they_can_be(worker: Worker) -> None:
    guest = worker.start(writes("x\n").replace("\\78\\0a", "\\ff\\0a"))
    guest.death()
    assert guest.log() == ["\N{REPLACEMENT CHARACTER}"]


def test_a_line_without_end_is_cut_and_kept_in_bounds(worker: Worker) -> None:
    body = """(local i32) (local.set 8 (call $get-stdout))
      (memory.fill (i32.const 8192) (i32.const 97) (i32.const 4096))
      (loop $more (call $output-stream.write (local.get 8) (i32.const 8192) (i32.const 4096) (i32.const 64))
        (br_if $more (i32.lt_u (local.tee 9 (i32.add (local.get 9) (i32.const 1))) (i32.const 50))))"""
    guest = worker.start(
        process((), body.replace("(local i32)", "(local i32 i32)"), wasi=OUTPUT), log_line_bytes=100
    )
    guest.death()
    lines = guest.log()
    assert len(lines) == 50
    assert all(line.startswith("a" * 100) and len(line) < 120 for line in lines)


def test_more_than_the_stream_has_room_for_ends_the_guest(worker: Worker) -> None:
    size = 65_537
    body = f"""(call $output-stream.write (call $get-stdout) (i32.const 8192) (i32.const {size})
        (i32.const 64))"""
    cause, detail = dies(worker, body, *OUTPUT)
    assert cause == ExitCause.TRAP
    assert "65537 bytes" in detail


def test_zeroes_may_be_written_but_not_without_end(worker: Worker) -> None:
    body = "(call $output-stream.write-zeroes (call $get-stdout) (i64.const {}) (i32.const 64))"
    assert dies(worker, body.format(5), *OUTPUT)[0] == ExitCause.RETURNED
    assert dies(worker, body.format(FOR_EVER), *OUTPUT)[0] == ExitCause.TRAP


@pytest.mark.parametrize("stream", ["print", "stdout"])
def test_lines_over_the_rate_are_counted_and_the_count_is_logged(worker: Worker, stream: str) -> None:
    one = {
        "print": "(call $print (i32.const 2) (i32.const 600) (i32.const 1))",
        "stdout": """(call $output-stream.write (local.get 8) (i32.const 608) (i32.const 2)
          (i32.const 64))""",
    }[stream]
    body = f"""(local i32 i32) (local.set 8 (call $get-stdout)) (loop $more {one}
      (br_if $more (i32.lt_u (local.tee 9 (i32.add (local.get 9) (i32.const 1))) (i32.const 5000))))"""
    guest = worker.start(
        process(PRINT, body, more=data("0.......9\n", 600), wasi=OUTPUT), log_lines_per_second=50
    )
    guest.death()
    lines = guest.log()
    written = [line for line in lines if len(line) == 1]
    dropped = [int(line.split()[0]) for line in lines if line.endswith("over the rate were dropped")]
    assert 50 <= len(written) < 500
    assert len(written) + sum(dropped) == 5000


def test_a_long_line_is_cut_by_bytes(worker: Worker) -> None:
    text = "€" * 1000
    guest = worker.start(
        process(
            PRINT,
            f"(call $print (i32.const 2) (i32.const 8192) (i32.const {len(text.encode())}))",
            more=data(text, 8192),
        ),
        log_line_bytes=100,
    )
    guest.death()
    (line,) = guest.log()
    assert line == "€" * 33 + " … (cut)"


# Everything else


def test_standard_input_is_at_its_end(worker: Worker) -> None:
    body = f"""(call $input-stream.read (call $get-stdin) (i64.const 100) (i32.const 64))
      {say_number("(i32.load8_u (i32.const 64))")} {say_number("(i32.load8_u (i32.const 68))")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=(ERROR, STREAMS, STDIN)))
    assert [said(guest), said(guest)] == ["1", "1"]


def test_random_bytes_are_as_many_as_asked_for_and_not_the_same(worker: Worker) -> None:
    body = f"""(call $get-random-bytes (i64.const 9) (i32.const 64)) {say_number("(i32.load (i32.const 68))")}
      {say_number("(i64.ne (call $get-random-u64) (call $get-random-u64))")}
      {say_number("(i64.ne (i64.load (i32.load (i32.const 64))) (i64.const 0))")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=(RANDOM,)))
    assert [said(guest) for _ in range(3)] == ["9", "1", "1"]


@pytest.mark.parametrize("count", [65_537, 2**32, FOR_EVER])
def test_random_bytes_without_end_end_the_guest(worker: Worker, count: int) -> None:
    cause, detail = dies(worker, f"(call $get-random-bytes (i64.const {count}) (i32.const 64))", RANDOM)
    assert cause == ExitCause.TRAP
    assert f"{count} random bytes" in detail


def test_there_are_no_files_arguments_or_environment(worker: Worker) -> None:
    body = f"""(call $get-environment (i32.const 64)) (call $get-arguments (i32.const 72))
      (call $get-directories (i32.const 80)) (call $initial-cwd (i32.const 88))
      {say_number("(i32.load (i32.const 68))")} {say_number("(i32.load (i32.const 76))")}
      {say_number("(i32.load (i32.const 84))")} {say_number("(i32.load8_u (i32.const 88))")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=(ENVIRONMENT, PREOPENS)))
    assert [said(guest) for _ in range(4)] == ["0"] * 4


def test_a_socket_is_denied_in_the_words_of_its_interface(worker: Worker) -> None:
    body = f"""(call $create-tcp-socket (i32.const 0) (i32.const 64))
      {say_number("(i32.load8_u (i32.const 64))")} {say_number("(i32.load8_u (i32.const 68))")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=(SOCKETS,)))
    assert [said(guest), said(guest)] == ["1", "1"]


def test_a_denied_call_that_cannot_say_so_ends_the_guest(worker: Worker) -> None:
    secret = Wasi(
        "wasi:filesystem/types@0.2.0", '(export "secrets" (func (result u32)))', {"secrets": "(result i32)"}
    )
    cause, detail = dies(worker, "(drop (call $secrets))", secret)
    assert cause == ExitCause.TRAP
    assert "it called secrets of wasi:filesystem/types, which no process is given" in detail


def test_what_a_denied_call_is_given_is_not_looked_at(worker: Worker) -> None:
    """A component chooses its types: these are lists of lists, all of them where no memory is."""
    many = "(list (list (list (tuple string string))))"
    arguments = "(param i32 i32 i32 i32 i32 i32)"
    sockets = Wasi(
        "wasi:sockets/tcp@0.2.0",
        f"""(type $code' (enum "unknown" "access-denied")) (export "error-code" (type $code (eq $code')))
        (export "guess" (func (param "a" {many}) (param "b" {many}) (param "c" string)
          (result (result (error $code)))))
        (export "insist" (func (param "a" {many}) (param "b" {many}) (param "c" string)))""",
        {"guess": f"{arguments} (param i32)", "insist": arguments},
    )
    nowhere = "(i32.const -4)" * 6
    body = f"""(call $guess {nowhere} (i32.const 64))
      {say_number("(i32.load8_u (i32.const 64))")} {say_number("(i32.load8_u (i32.const 65))")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=(sockets,)))
    assert [said(guest), said(guest)] == ["1", "1"]
    cause, detail = dies(worker, f"(call $insist {nowhere})", sockets)
    assert cause == ExitCause.TRAP
    assert "it called insist of wasi:sockets/tcp, which no process is given" in detail


@pytest.mark.parametrize(("status", "cause"), [(0, ExitCause.RETURNED), (1, ExitCause.TRAP)])
def test_exit_ends_the_guest_and_tells_a_good_end_from_a_bad_one(
    worker: Worker, status: int, cause: str
) -> None:
    assert dies(worker, f"(call $exit (i32.const {status}))", EXIT) == [
        cause,
        f"it exited with code {status}",
    ]


def test_the_wall_clock_tells_the_time(worker: Worker) -> None:
    body = f"""(call $now (i32.const 64))
      {say_number("(i64.gt_u (i64.load (i32.const 64)) (i64.const 1700000000))")}
      {say_number("(i32.lt_u (i32.load (i32.const 72)) (i32.const 1000000000))")}"""
    guest = worker.start(process(PRINT, body, more=DIGITS, wasi=(WALL_CLOCK,)))
    assert [said(guest), said(guest)] == ["1", "1"]


@pytest.mark.parametrize(
    "body",
    [
        """(call $output-stream.write (call $subscribe-duration (i64.const 0)) (i32.const 0) (i32.const 0)
          (i32.const 64))""",
        "(call $pollable.block (call $get-stdout))",
        "(call $pollable.block (i32.const 77))",
    ],
)
def test_a_handle_of_another_kind_ends_the_guest(worker: Worker, body: str) -> None:
    assert dies(worker, body, *SLEEP, *OUTPUT)[0] == ExitCause.TRAP


@pytest.mark.slow
def test_a_resource_that_passes_for_another_by_a_lie_is_not_linked(worker: Worker) -> None:
    """The component says that standard output is a pollable: each resource has its own type in the host."""
    lie = Wasi(
        "wasi:cli/stdout@0.2.0",
        '(export "get-stdout" (func (result (own $pollable))))',
        {"get-stdout": "(result i32)"},
    )
    cause, detail = dies(worker, "(call $pollable.block (call $get-stdout))", POLL, CLOCK, lie)
    assert cause == ExitCause.NOT_STARTED
    assert "own<pollable> for its result, where the interface has own<output-stream>" in detail
