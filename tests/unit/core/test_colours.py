"""Colours of lines on a terminal."""

from __future__ import annotations

import pytest

from guesthouse.core.printable import coloured

RED, YELLOW, BOLD, PLAIN = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1m", "\x1b[0m"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12:00:00 info    node: fine", "12:00:00 info    node: fine"),
        ("12:00:00 error   node: no", f"12:00:00 {RED}error{PLAIN}   node: no"),
        ("app.py:3:5: error: no", f"{BOLD}app.py:3:5: {RED}error{PLAIN}: no"),
        ("src/a.c:3:5: fatal error: no", f"{BOLD}src/a.c:3:5: {RED}fatal error{PLAIN}: no"),
        ("    app.ts:3: warning: odd", f"    {BOLD}app.ts:3: {YELLOW}warning{PLAIN}: odd"),
        ("src/lib.rs:3:5: error[E0308]: no", f"{BOLD}src/lib.rs:3:5: {RED}error{PLAIN}[E0308]: no"),
        (
            "src/lib.rs:3:5: warning[dead_code]: x",
            f"{BOLD}src/lib.rs:3:5: {YELLOW}warning{PLAIN}[dead_code]: x",
        ),
        ("error: no such package", f"{RED}error{PLAIN}: no such package"),
        ("error[E0463]: can't find crate", f"{RED}error{PLAIN}[E0463]: can't find crate"),
        ("12:00:00 info    dev: warning: odd", f"12:00:00 info    dev: {YELLOW}warning{PLAIN}: odd"),
        ("errors: 3", "errors: 3"),
        ("a process says error: x", "a process says error: x"),
    ],
)
def test_levels_and_places_have_colours(text: str, expected: str) -> None:
    assert coloured(text) == expected


def test_both_in_one_line() -> None:
    shown = coloured("12:00:00 error   dev: app.py:3: error: no\n    app.py:4: error: too")
    assert shown == (
        f"12:00:00 {RED}error{PLAIN}   dev: {BOLD}app.py:3: {RED}error{PLAIN}: no\n"
        f"    {BOLD}app.py:4: {RED}error{PLAIN}: too"
    )
