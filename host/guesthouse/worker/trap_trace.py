"""What the log says of where a guest was when it trapped."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Final

_LINES: Final = 12
_CHARACTERS: Final = 300
"""Of a line."""

_BACKTRACE: Final = "error while executing at wasm backtrace:"
_NAMELESS: Final = re.compile(r"<unknown>!<wasm function (\d+)>")


def shown_trace(trace: str) -> str:
    """The part of a trap's trace that helps: the innermost frames.

    wasmtime begins with the innermost frame, and Python ends with it. A component that was stripped gives numbers,
    which take one line.
    """
    lines = trace.strip().splitlines()
    if not lines or lines[0].strip() != _BACKTRACE:
        return _joined(lines[-_LINES:])
    frames = list(takewhile(str.strip, lines[1:]))[:_LINES]
    numbers = [found[1] for frame in frames if (found := _NAMELESS.search(frame))]
    if numbers and len(numbers) == len(frames):
        within = ", called by ".join(numbers)
        return f"it was in function {within} of its component, which was built without names of functions"
    return _joined([lines[0], *frames])


def _joined(lines: list[str]) -> str:
    return "\n".join(line[:_CHARACTERS] for line in lines)
