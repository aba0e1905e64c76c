"""A client's large message whose payload is still in memory that the node shares."""

from __future__ import annotations

from guesthouse.link.schema import Message
from guesthouse.link.to_worker import Push


class SharedPush(Message, frozen=True):
    """A `Push` that is read where it is: the payload reaches the guest's memory with one copy. It has to be handled, or
    `owned`, before the worker releases what it was lent (`WorkerLane.settle`).

    The node has checked that text is UTF-8, and does not change what it has placed: a worker trusts its node.
    """

    handle: int
    channel_id: int
    message_type: int
    payload: memoryview

    def owned(self) -> Push:
        """The same with a copy of the payload."""
        return Push(self.handle, self.channel_id, self.message_type, self.payload.tobytes())
