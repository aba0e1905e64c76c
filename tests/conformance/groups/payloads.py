"""Payloads that several groups send. Pure, and the same in every run."""

from __future__ import annotations

import random
from typing import Final

_WORDS: Final = ("channel", "process", "πλατεία", "guest", "木", "node", "🜁", "message", "ß", "address")


def text_of(size: int) -> str:
    """Text of so many bytes, with characters of every UTF-8 length."""
    chosen = random.Random(size)
    pieces: list[str] = []
    length = 0
    while length < size:
        word = chosen.choice(_WORDS) + " "
        pieces.append(word)
        length += len(word.encode())
    whole = "".join(pieces).encode()[:size].decode(errors="ignore")
    return whole + "." * (size - len(whole.encode()))


def bytes_of(size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(size).randbytes(size)
