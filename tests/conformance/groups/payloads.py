"""Payloads that several groups send. Pure, and the same in every run."""

from __future__ import annotations

import random
from functools import cache
from typing import Final

_WORDS: Final = ("channel", "process", "πλατεία", "guest", "木", "node", "🜁", "message", "ß", "address")


_BLOCK_WORDS: Final = 10_000
"""Words of a block, which large texts repeat: far more than a compressor looks back."""


@cache
def text_of(size: int) -> str:
    """Text of so many bytes, with characters of every UTF-8 length."""
    words = random.Random(size).choices(_WORDS, k=min(size, _BLOCK_WORDS))
    block = "".join(f"{word} " for word in words).encode()
    whole = (block * (size // max(1, len(block)) + 1))[:size].decode(errors="ignore")
    return whole + "." * (size - len(whole.encode()))


def bytes_of(size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(size).randbytes(size)
