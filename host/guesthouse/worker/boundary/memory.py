"""How much memory a guest has, and had when it died.

Nothing tells the host that `memory.grow` was refused. Of a guest that the boundary has put together itself the size
is known; of one that runs as a component it is not, but a memory is a mapping of its own, and what disappears from
`/proc/self/maps` when its store is freed is what it had. The mappings are read when such a guest is instantiated,
now and then while it runs, and when it traps: that costs about 1 ms per 2,000 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from guesthouse.worker.boundary.fiber import Fiber

_MAPS: Final = Path("/proc/self/maps").open("rb")  # noqa: SIM115 - opened while files still can be
WASM_PAGE: Final = 65_536
_RESERVED: Final = 2**30


def freed_with(fiber: Fiber) -> int:
    """Drop a guest's fiber and return the bytes of memory it had."""
    known = fiber.known_memory()
    if known is None:
        return largest_freed_by(fiber.drop)
    fiber.drop()
    return known[1]


def largest_freed_by(free: Callable[[], None]) -> int:
    """Call `free` and return the bytes of the largest writable mapping that is gone after it."""
    before = _writable()
    free()
    after = _writable()
    return max((size for start, size in before.items() if start not in after), default=0)


def linear_memories() -> dict[int, int]:
    """The bytes of each guest's memory in this worker, by address: what it has grown to, used or not.

    wasmtime reserves the addresses of the largest possible memory, so a memory is what can be written at the
    beginning of a mapping that is over a gigabyte and otherwise cannot. What it contains from the first may be
    mapped from the compiled component, in front of the rest.
    """
    memories: dict[int, int] = {}
    start, end, from_file = 0, -1, False
    _MAPS.seek(0)
    for line in _MAPS:
        span, mode, _, _, inode = line.split(None, 5)[:5]
        low, _, high = span.partition(b"-")
        if mode == b"rw-p":
            if not from_file or int(low, 16) != end:
                start = int(low, 16)
            end, from_file = int(high, 16), inode != b"0"
        elif mode == b"---p" and int(low, 16) == end and int(high, 16) - end > _RESERVED:
            memories[start] = end - start
    return memories


def _writable() -> dict[int, int]:
    """Sizes of the private writable mappings by address; neighbours count as one."""
    regions: dict[int, int] = {}
    last_start, last_end = 0, -1
    _MAPS.seek(0)
    for line in _MAPS:
        span, mode = line.split(b" ", 2)[:2]
        if mode != b"rw-p":
            continue
        low, _, high = span.partition(b"-")
        start, end = int(low, 16), int(high, 16)
        if start == last_end:
            regions[last_start] += end - start
        else:
            last_start = start
            regions[start] = end - start
        last_end = end
    return regions
