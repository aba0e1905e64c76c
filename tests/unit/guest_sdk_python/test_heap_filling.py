"""All holes of a heap are filled, and nothing beyond, with an allocator that takes the first hole that fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pytest
from guesthouse_sdk import _heap_filling
from guesthouse_sdk._heap_filling import block_of, filling

USED: Final = 1 << 24


@dataclass(frozen=True)
class Block:
    """A part of the heap."""

    address: int
    size: int


class Heap:
    """Memory below `USED` with holes; all above it is fresh, and blocks there are freed at once."""

    def __init__(self, *holes: Block) -> None:
        self.holes = list(holes)

    def block(self, size: int) -> Block:
        for at, hole in enumerate(self.holes):
            if hole.size >= size:
                rest = Block(hole.address + size, hole.size - size)
                self.holes[at : at + 1] = [rest] if rest.size else []
                return Block(hole.address, size)
        return Block(USED, size)


def address_of(block: object) -> int:
    assert isinstance(block, Block)
    return block.address


@pytest.mark.parametrize(
    "sizes", [[], [16], [32, 16, 48], [512, 528, 1024], [16 * 12_345, 1_048_560], [16 * size for size in range(1, 200)]]
)  # fmt: skip
def test_every_hole_is_filled_and_what_fills_it_is_kept(sizes: list[int]) -> None:
    starts = [sum(sizes[:at]) + 64 * at for at in range(len(sizes))]
    holes = [Block(start, size) for start, size in zip(starts, sizes, strict=True)]
    heap = Heap(*holes)
    kept = filling(heap.block, address_of)
    assert heap.holes == []
    covered = sorted(address for each in kept if isinstance(each, Block)
                     for address in range(each.address, each.address + each.size, 16))  # fmt: skip
    assert covered == [at for hole in holes for at in range(hole.address, hole.address + hole.size, 16)]


def test_a_heap_that_never_fills_up_is_not_filled_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_heap_filling, "_MOST_BYTES", 1 << 20)
    below = iter([USED])
    kept = filling(lambda size: Block(next(below, 0), size), address_of)
    assert sum(each.size for each in kept if isinstance(each, Block)) == 1 << 20


@pytest.mark.parametrize("chunk", [16, 32, 48, 512, 4096])
def test_a_block_is_an_object_that_fits_its_chunk(chunk: int) -> None:
    made = block_of(chunk)
    content = len(made) if isinstance(made, bytes) else -9
    assert chunk - 16 < 4 + 16 + content + 1 <= chunk or chunk == 16
