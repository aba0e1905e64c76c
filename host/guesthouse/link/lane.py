"""The lane for large payloads: they cross in shared memory, and the link carries where they are (`Placed`).

Each end writes one ring and reads the other (`shared_memory.py`). The sender copies a payload into its ring, and the
receiver copies it out when it handles the message, so that nothing which is validated can change afterwards. Then
`Released` gives regions back, oldest first, with whatever is sent next. A payload that finds no room crosses by the
socket, in the same order.

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
from guesthouse.link.shared_memory import RING_BYTES, Memory
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

    __slots__ = ("_memory", "_packed", "_placed", "_released", "_ring", "_taken", "_taken_bytes")

    def __init__(self, memory: Memory, placed: Any, released: Any) -> None:
        self._memory = memory
        self._placed = placed
        self._released = released
        self._ring = Ring(RING_BYTES)
        self._taken = 0
        """Regions of the other end's ring that were taken and not yet released."""
        self._taken_bytes = 0
        self._packed = (0, 0, 0)
        """What the last `pack` changed: regions placed, and regions and bytes released."""

    # Sending

    def has_room(self, size: int, messages: int) -> bool:
        """Whether so many messages with payloads of `size` bytes in all, of which none is over `MOST`, find room."""
        return size <= MOST and self._ring.place_for(size + messages * ALIGNMENT) is not None

    def pack(self, messages: Sequence[Message | Raw], payload_bytes: int) -> Sequence[Message | Raw]:
        """Place large payloads of messages that are about to be sent, as far as there is room, and release what was
        taken. Returns what to send instead.
        """
        placed, taken = 0, self._taken
        if payload_bytes > LEAST:
            packed = list(messages)
            for number, message in enumerate(messages):
                field = _FIELDS.get(type(message))
                if field is not None:
                    payload = getattr(message, field)
                    size = len(payload)
                    if LEAST < size <= MOST and (offset := self._place(payload, size)) is not None:
                        small = replace(message, **{field: b""})  # type: ignore[type-var] # a struct
                        packed[number] = self._placed(small, offset, size)
                        placed += 1
            messages = packed
        if taken and len(messages) < MOST_MESSAGES:
            self._packed = (placed, taken, self._taken_bytes)
            self._taken = self._taken_bytes = 0
            return [*messages, self._released(taken)]
        self._packed = (placed, 0, 0)
        return messages

    def unpack(self) -> None:
        """What the last `pack` returned is not sent."""
        placed, taken, taken_bytes = self._packed
        self._ring.undo(placed)
        self._taken += taken
        self._taken_bytes += taken_bytes
        self._packed = (0, 0, 0)

    def _place(self, payload: bytes, size: int) -> int | None:
        offset = self._ring.take(size)
        if offset is None:
            return None
        if not self._memory.back(offset + size):
            self._ring.undo(1)
            return None
        self._memory.write(offset, payload)
        return offset

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
        message: Any = placed.message
        field, offset, size = _FIELDS[type(message)], placed.offset, placed.size
        if getattr(message, field) or not LEAST < size <= MOST or offset + size > RING_BYTES:
            raise LinkError(f"a payload of {size} bytes at {offset} of a ring of {RING_BYTES}")
        if self._taken_bytes + size > RING_BYTES:
            raise LinkError("more is placed in a ring than it holds")
        self._taken += 1
        self._taken_bytes += size
        force_setattr(message, field, self._memory.read(offset, size))
        return message


def of_node(memory: Memory) -> PayloadLane:
    """The node's end."""
    return PayloadLane(memory, to_worker.Placed, to_worker.Released)


def of_worker(memory: Memory) -> PayloadLane:
    """A worker's end."""
    return PayloadLane(memory, to_node.Placed, to_node.Released)
