"""The lane for large payloads: they cross in shared memory, and the link carries where they are (`Placed`).

Each end writes one ring and reads the other (`shared_memory.py`). The sender copies a payload into its ring, and the
node copies it out when it handles the message, so that nothing which it validates can change afterwards. A worker,
which trusts the node, reads it where it is (`WorkerLane`). Then `Released` gives regions back, oldest first, with
whatever is sent next. A payload that finds no room crosses by the socket, in the same order.

Nothing that the other end says is believed: offsets and sizes are checked, and no more than a ring holds is taken
before it is released.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Raw
from msgspec.structs import force_setattr, replace

from guesthouse.link import to_node, to_worker
from guesthouse.link.frames import LARGE, MOST_MESSAGES, LinkError
from guesthouse.link.ring import ALIGNMENT, Ring
from guesthouse.link.schema import Message
from guesthouse.link.shared_memory import RING_BYTES, Memory, WorkerMemory
from guesthouse.link.traced import PLAIN

LEAST: Final = LARGE
"""Smaller payloads, in bytes, cross by the socket: a region costs more than their copies."""
MOST: Final = RING_BYTES // 2
"""Larger ones, too, in pieces: copying one takes the receiver from everything else."""
_RELEASE: Final = RING_BYTES // 4
"""Bytes taken that are released even if nothing else is to be sent."""

_FIELDS: dict[Any, str] = {
    to_node.Push: "payload",
    to_node.PushMany: "payload",
    to_node.HttpResponse: "body",
    to_worker.Push: "payload",
    to_worker.Http: "body",
}
_FIELDS |= {kind: _FIELDS[plain] for kind, plain in PLAIN.items() if plain in _FIELDS}
"""The payload of each message that may be placed."""


class PayloadLane:
    """One end of the lane.

    Args:
        memory: this end of the shared memory.
        placed: the type of what this end sends, `to_node.Placed` or `to_worker.Placed`.
        released: its `Released`.
    """

    __slots__ = ("_memory", "_packed", "_placed", "_push", "_released", "_ring", "_taken", "_taken_bytes")

    def __init__(self, memory: Memory, placed: Any, released: Any) -> None:
        self._memory = memory
        self._push = to_node.Push if placed is to_node.Placed else to_worker.Push
        self._placed = placed
        self._released = released
        self._ring = Ring(RING_BYTES)
        self._taken = 0
        """Regions of the other end's ring that were taken and not yet released."""
        self._taken_bytes = 0
        self._packed = (0, 0, 0)
        """What the last `pack` changed: regions placed, and regions and bytes released."""

    # Sending

    def place(self, message: Any) -> Any:
        """Place the payload of a message that is about to be sent, after those that are placed already. The payload may
        be a view: it is copied. Returns what to send instead, or None if the message has none or there is no room.
        """
        field = _FIELDS.get(type(message))
        if field is None:
            return None
        payload = getattr(message, field)
        size = len(payload)
        if not LEAST < size <= MOST or (offset := self._place(payload, size)) is None:
            return None
        try:
            if type(message) is self._push:  # as most are
                small = self._push(message.handle, message.channel_id, message.message_type, b"")
            else:
                small = replace(message, **{field: b""})
            return self._placed(small, offset, size)
        except MemoryError:  # the other end is not told of the region, so it would never be released
            self._ring.undo(1)
            raise

    def has_room(self, size: int, messages: int) -> bool:
        """Whether so many messages with payloads of `size` bytes in all, of which none is over `MOST`, find room."""
        return size <= MOST and self._ring.place_for(size + messages * ALIGNMENT) is not None

    def pack(self, messages: Sequence[Message | Raw], payload_bytes: int) -> Sequence[Message | Raw]:
        """Place large payloads of messages that are about to be sent, as far as there is room, and release what was
        taken. Returns what to send instead.
        """
        placed, self._packed = 0, (0, 0, 0)
        if payload_bytes > LEAST:
            packed = list(messages)
            for number, message in enumerate(messages):
                instead = self.place(message)
                if instead is not None:
                    packed[number] = instead
                    placed += 1
            messages = packed
        return self.release_with(messages, placed)

    def release_with(self, messages: Sequence[Message | Raw], placed: int = 0) -> Sequence[Message | Raw]:
        """Release what was taken, together with these messages that are about to be sent. Returns what to send instead.

        Args:
            messages: of one frame.
            placed: payloads of theirs that `unpack` takes back.
        """
        taken = self._taken
        if taken and len(messages) < MOST_MESSAGES:
            self._packed = (placed, taken, self._taken_bytes)
            self._taken = self._taken_bytes = 0
            # First, because what follows may let the other end place more: in a ring that is empty again.
            return [self._released(taken), *messages]
        self._packed = (placed, 0, 0)
        return messages

    def unpack(self) -> None:
        """What the last `pack` or `release_with` returned is not sent."""
        placed, taken, taken_bytes = self._packed
        self._ring.undo(placed)
        self._taken += taken
        self._taken_bytes += taken_bytes
        self._packed = (0, 0, 0)

    def _place(self, payload: bytes | memoryview, size: int) -> int | None:
        offset = self._ring.take(size)
        if offset is None:
            return None
        try:
            if self._memory.back(offset + size):
                self._memory.write(offset, payload)
                return offset
        except BaseException:
            self._ring.undo(1)
            raise
        self._ring.undo(1)
        return None

    def released(self, message: to_node.Released | to_worker.Released) -> None:
        """The other end has taken so many payloads.

        Raises:
            LinkError: it has not got them.
        """
        try:
            self._ring.release(message.count)
        except ValueError as error:
            raise LinkError(str(error)) from None

    # Receiving

    @property
    def must_release(self) -> bool:
        """Whether so much was taken that it should be released by a message of its own."""
        return self._taken_bytes >= _RELEASE

    def take(self, placed: to_node.Placed | to_worker.Placed) -> Any:
        """The message with its payload, which is copied.

        Raises:
            LinkError: the payload is beyond the ring, or the message has one of its own, or more is placed than the
                ring holds.
        """
        message = placed.message
        field = self._check(placed, self._taken_bytes)
        self._taken += 1
        self._taken_bytes += placed.size
        force_setattr(message, field, self._memory.read(placed.offset, placed.size))
        return message

    def _check(self, placed: to_node.Placed | to_worker.Placed, held: int) -> str:
        """Check a place, beside so many bytes that are not released; returns the name of the payload's field."""
        message: Any = placed.message
        field, offset, size = _FIELDS[type(message)], placed.offset, placed.size
        if getattr(message, field) or not LEAST < size <= MOST or offset + size > RING_BYTES:
            raise LinkError(f"a payload of {size} bytes at {offset} of a ring of {RING_BYTES}")
        if held + size > RING_BYTES:
            raise LinkError("more is placed in a ring than it holds")
        return field


class WorkerLane(PayloadLane):
    """A worker's end, which need not copy: it trusts the node not to change what it has placed, and the node's ring is
    mapped without the right to write to it.

    Args:
        memory: this end of the shared memory.
    """

    __slots__ = ("_lent", "_lent_bytes", "_ring_view")

    def __init__(self, memory: WorkerMemory) -> None:
        super().__init__(memory, to_node.Placed, to_node.Released)
        self._ring_view = memory.from_node
        self._lent = 0
        """Regions since the oldest that was lent; none is released before the others."""
        self._lent_bytes = 0

    def lend(self, placed: to_worker.Placed) -> memoryview:
        """The payload of a message where it is, until `settle`.

        Raises:
            LinkError: as `take`.
        """
        self._check(placed, self._taken_bytes + self._lent_bytes)
        self._lent += 1
        self._lent_bytes += placed.size
        return self._ring_view[placed.offset : placed.offset + placed.size]

    def take(self, placed: to_node.Placed | to_worker.Placed) -> Any:
        """See `PayloadLane`. Regions are released in order, so what is taken behind one that is lent waits for it."""
        if not self._lent:
            return super().take(placed)
        field = self._check(placed, self._taken_bytes + self._lent_bytes)
        self._lent += 1
        self._lent_bytes += placed.size
        force_setattr(placed.message, field, self._memory.read(placed.offset, placed.size))
        return placed.message

    def settle(self) -> None:
        """Nothing of what was lent is needed any more: it may be released."""
        self._taken += self._lent
        self._taken_bytes += self._lent_bytes
        self._lent = self._lent_bytes = 0


def of_node(memory: Memory) -> PayloadLane:
    """The node's end."""
    return PayloadLane(memory, to_worker.Placed, to_worker.Released)


def of_worker(memory: WorkerMemory) -> WorkerLane:
    """A worker's end."""
    return WorkerLane(memory)
