"""Memory that the node shares with one worker: a ring for each direction, for the payloads of `link/lane.py`.

The node makes both as memfds, so that no file system is needed, and seals their size: a worker that could shrink one
would end the node by a bus error. Once the node has mapped the ring that it writes, no one else can write to it
(F_SEAL_FUTURE_WRITE). The ring that a worker writes is never mapped by the node, which copies out of it by `pread`: a
page that is missing there costs nothing and faults nowhere.

Imports no asyncio and little else, as the first workers are spawned while the node is still importing.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Final, Protocol

RING_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a ring. Pages are used only as far as payloads reach."""
_STEP: Final = 256 * 1024
"""Bytes by which a ring's used part grows."""

_NO_EXEC: Final = 0x0008
"""MFD_NOEXEC_SEAL, Linux 6.3: it can never be executed as a program."""
_SEAL_FUTURE_WRITE: Final = 0x0010
_SIZE: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE, Linux 5.14: fails where touching the pages would raise a bus error."""


class Memory(Protocol):
    """One end of the shared memory."""

    def back(self, end: int) -> bool:
        """See that the first `end` bytes of the ring that this end writes are there; False if memory is lacking."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Copy into the ring that this end writes."""

    def read(self, offset: int, size: int) -> bytes:
        """Copy out of the ring that the other end writes; offset and size are checked by the caller."""


class NodeMemory:
    """The node's end. To be closed by its owner.

    Raises:
        OSError: on creation: there is no memfd, or no memory.
    """

    __slots__ = ("_backed", "_from_worker", "_map", "_to_worker")

    def __init__(self) -> None:
        with ExitStack() as undo:
            self._to_worker = _memfd("guesthouse-to-worker")
            undo.callback(os.close, self._to_worker)
            self._from_worker = _memfd("guesthouse-to-node")
            undo.callback(os.close, self._from_worker)
            self._map = mmap.mmap(self._to_worker, RING_BYTES)
            undo.callback(self._map.close)
            fcntl.fcntl(self._to_worker, fcntl.F_ADD_SEALS, _SIZE | _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SEAL)
            fcntl.fcntl(self._from_worker, fcntl.F_ADD_SEALS, _SIZE | fcntl.F_SEAL_SEAL)
            undo.pop_all()
        self._backed = 0

    @property
    def descriptors(self) -> tuple[int, int]:
        """Of both rings, for `WorkerMemory`."""
        return self._to_worker, self._from_worker

    def back(self, end: int) -> bool:
        """See `Memory`."""
        if end <= self._backed:
            return True
        start, backed = self._backed, min(-(-end // _STEP) * _STEP, RING_BYTES)
        try:
            os.posix_fallocate(self._to_worker, start, backed - start)
        except OSError:
            return False
        _populate(self._map, start, backed)
        self._backed = backed
        return True

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """See `Memory`."""
        self._map[offset : offset + len(data)] = data

    def read(self, offset: int, size: int) -> bytes:
        """See `Memory`."""
        return os.pread(self._from_worker, size, offset)

    def close(self) -> None:
        """Give the memory back; the pages are freed when the worker is gone too."""
        if not self._map.closed:
            self._map.close()
            os.close(self._to_worker)
            os.close(self._from_worker)
            self._to_worker = self._from_worker = -1


class WorkerMemory:
    """A worker's end, for the life of the worker.

    Args:
        descriptors: of `NodeMemory`; may be closed afterwards.

    Raises:
        OSError: they are none of its.
    """

    __slots__ = ("_backed", "_to_node", "from_node")

    def __init__(self, descriptors: Sequence[int]) -> None:
        from_node, to_node = descriptors
        self.from_node = memoryview(mmap.mmap(from_node, RING_BYTES, prot=mmap.PROT_READ))
        """The ring that the node writes."""
        self._to_node = mmap.mmap(to_node, RING_BYTES)
        self._backed = 0

    def back(self, end: int) -> bool:
        """See `Memory`; where the kernel cannot tell, the ring counts as there."""
        if end > self._backed:
            start, self._backed = self._backed, min(-(-end // _STEP) * _STEP, RING_BYTES)
            _populate(self._to_node, start, self._backed)
        return True

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """See `Memory`."""
        self._to_node[offset : offset + len(data)] = data

    def read(self, offset: int, size: int) -> bytes:
        """See `Memory`."""
        return self.from_node[offset : offset + size].tobytes()


def _populate(mapped: mmap.mmap, start: int, end: int) -> None:
    """Map pages at once rather than by a fault for each."""
    with suppress(OSError):  # an older kernel: they are mapped one by one
        mapped.madvise(_POPULATE_WRITE, start, end - start)


def _memfd(name: str) -> int:
    try:
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _NO_EXEC)
    except OSError:  # an older kernel does not know the flag
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, RING_BYTES)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
