"""What the log shows of where a guest trapped."""

from __future__ import annotations

from guesthouse.worker.trap_trace import shown_trace

HEAD = "error while executing at wasm backtrace:"
CAUSE = "\n\nCaused by:\n    wasm trap: wasm `unreachable` instruction executed"


def test_the_innermost_frames_are_shown_and_the_cause_is_not_repeated() -> None:
    frames = [f"   {number:2}: {number:#8x} - app.wasm!inner{number}" for number in range(40)]
    shown = shown_trace("\n".join((HEAD, *frames)) + CAUSE).splitlines()
    assert shown == [HEAD, *frames[:12]]


def test_frames_without_names_take_one_line() -> None:
    frames = "\n".join(
        f"    {at}:  0x4e2b - <unknown>!<wasm function {of}>" for at, of in enumerate((85, 300, 7))
    )
    assert shown_trace(f"{HEAD}\n{frames}{CAUSE}") == (
        "it was in function 85, called by 300, called by 7 of its component, which was built without names of functions"
    )


def test_frames_of_which_one_has_a_name_are_shown() -> None:
    frames = "    0:  0x1 - <unknown>!<wasm function 85>\n    1:  0x2 - app.wasm!handle"
    assert shown_trace(f"{HEAD}\n{frames}{CAUSE}") == f"{HEAD}\n{frames}"


def test_of_a_traceback_of_python_the_last_lines_are_shown() -> None:
    lines = [f"line {number}" for number in range(40)]
    assert shown_trace("\n".join(lines)).splitlines() == lines[-12:]


def test_lines_are_cut_off_and_nothing_is_fine() -> None:
    assert shown_trace("x" * 1000) == "x" * 300
    assert shown_trace(" \n") == ""
    assert shown_trace(HEAD) == HEAD
