"""Fills the holes of the heap when a component is built, so that what a process makes lies together.

Much is freed while modules are imported, and lies between what stays. The allocator takes such holes first: nearly
every new object of a process would lie on another of the pages that processes share until they write to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_CHUNK: Final = 16
"""Sizes of the allocator's chunks are multiples of this, in bytes; the smallest is one."""
_HEAD: Final = 21
"""Bytes of a chunk that the content of a `bytes` object cannot have, where pointers have 32 bits."""
_LARGE: Final = 512
_LARGEST: Final = 256 * 1024
_FRESH: Final = 1024 * 1024
"""Bytes of a block for which no hole is large enough: it lies where memory begins that was never used."""
_MOST_BYTES: Final = 64 * 1024 * 1024
"""In holes, whatever the allocator is."""


def block_of(chunk: int) -> object:
    """A new object that takes a chunk of so many bytes."""
    return object() if chunk == _CHUNK else bytes(chunk - _HEAD)


def filling(block: Callable[[int], object] = block_of, address: Callable[[object], int] = id) -> list[object]:
    """Objects in all holes, from the largest to the smallest: to be kept as long as the process lives.

    Args:
        block: makes an object that takes a chunk of so many bytes.
        address: of an object.
    """
    fresh = address(block(_FRESH))
    kept: list[object] = []
    filled, chunk = 0, _LARGEST
    while chunk and filled < _MOST_BYTES:
        made = block(chunk)
        if address(made) < fresh:
            kept.append(made)
            filled += chunk
        else:
            chunk = chunk // 2 if chunk > _LARGE else chunk - _CHUNK
    return kept
