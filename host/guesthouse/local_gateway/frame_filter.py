"""Takes frames out of a stream of bytes, and passes on what is not to be changed. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence


class FrameFilter(ABC):
    """One direction of a connection after its upgrade."""

    __slots__ = ("_input", "_passing", "_wanted")

    def __init__(self) -> None:
        self._input = bytearray()
        self._wanted = 0
        """Bytes of input before which there is nothing to do."""
        self._passing = 0
        """Bytes that pass as they are, of a frame that is not changed."""

    @property
    def held(self) -> int:
        """Bytes of a frame that is not whole."""
        return len(self._input)

    def receive(self, data: bytes) -> Iterator[bytes]:
        """Receive bytes; yields what goes on. To be exhausted, if need be later, before more is received."""
        held = self._input
        if held:
            held += data
            if len(held) < self._wanted:
                return
            data, self._input = bytes(held), bytearray()
        start, end = 0, len(data)
        while start < end:
            if self._passing:
                passed = min(self._passing, end - start)
                self._passing -= passed
                yield data[start : start + passed] if passed < end else data
                start += passed
                continue
            taken = self._frame(data, start)
            if isinstance(taken, int):
                self._input += memoryview(data)[start:]
                self._wanted = taken
                return
            start, output = taken
            yield from output

    @abstractmethod
    def _frame(self, data: bytes, start: int) -> tuple[int, Sequence[bytes]] | int:
        """Take the frame at `start`, or set `_passing` if it passes. Returns where the input goes on and what goes on;
        or how many bytes are needed.
        """
