"""Messages of channels that a guest receives and answers without the host (`wasm/plan/batch_module.py`).

A batch is open while the guest runs: from `receive` until the guest's next other host call, or the end of its slice.
Then what it did is carried out, as if it had called the host for each, and what it has not received is still in its
inbox. So all that the batch was made from, such as credit, is still as it was, and it is checked again all the same.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from struct import Struct
from typing import Final, Protocol

from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.messages import WsMessageType
from guesthouse.link.credit import PUSH_OVERHEAD
from guesthouse.link.to_node import Push
from guesthouse.link.to_worker import Push as Received
from guesthouse.link.to_worker import ToProcess
from guesthouse.wasm.abi.memory import LinearMemory
from guesthouse.wasm.abi.traps import not_unicode
from guesthouse.wasm.engine.engines import WASM_PAGE
from guesthouse.wasm.engine.fiber import Fiber
from guesthouse.wasm.errors import GuestTrap, allocator_called_host, host_fault
from guesthouse.wasm.plan import batch_layout as layout
from guesthouse.wasm.values import check_utf8, is_utf8
from guesthouse.worker.link import LinkWriter
from guesthouse.worker.shared_push import SharedPush

_STATE: Final = Struct("<8I")
"""`UNREAD` to `ALLOCATING`."""
_read_state: Final = _STATE.unpack_from
_write_state: Final = Struct("<7I").pack_into
"""All but `ALLOCATING`, which is the module's own."""
_CLOSED: Final = (0, 0, 0, 0, 0, 0, 0)
_write_settings: Final = Struct("<3I").pack_into
_write_head: Final = Struct("<IIIIIi").pack_into
_read_sent: Final = Struct("<4I").unpack_from

MOST_BYTES: Final = WASM_PAGE // 2
"""Of the messages of a batch; what the guest sends may take the rest of the page."""
_MOST_CREDIT: Final = (1 << 31) - 1
_MOST_SKIPPED: Final = 4096
_NO_SIZE: Final = (1 << 32) - 1
_TEXT: Final = int(WsMessageType.TEXT)
_BINARY: Final = int(WsMessageType.BINARY)


class MessageLimits(Protocol):
    """Of `GuestLimits`."""

    @property
    def message_bytes(self) -> int:
        """Bytes of the longest message to a client."""

    @property
    def cpu_seconds_per_message(self) -> float:
        """CPU time for each message."""


class BatchOwner(Protocol):
    """A guest, as its batch sees it: see `Guest`."""

    handle: int
    node: str
    taken: int
    in_hand: bool
    told_in_hand: bool
    noted: bool
    channel_id: int
    channels: dict[int, int]
    slice_budget: float
    blob: tuple[str | None, bytes | memoryview | None]
    last_blob: tuple[str | None, bytes | memoryview | None]
    inbox: deque[ToProcess | SharedPush]
    outgoing: LinkWriter
    fiber: Fiber

    @property
    def limits(self) -> MessageLimits:
        """Its limits."""


class Batch:
    """The batches of one guest.

    Args:
        guest: the guest.
        memory: of the module that answers it.
    """

    __slots__ = ("_before_call", "_guest", "_memory", "_most", "_sent_at", "_skip", "_strikes", "_unread")

    def __init__(self, guest: BatchOwner, memory: LinearMemory) -> None:
        self._guest = guest
        self._memory = memory
        self._most = min(guest.limits.message_bytes, WASM_PAGE)
        self._unread = 0
        self._sent_at = layout.MESSAGES
        self._skip = 0
        """Messages that are left to the host before the next batch."""
        self._strikes = 0
        """Batches in a row of which little was used."""
        self._before_call = self.before_call  # made once
        name = guest.node.encode()
        size = len(name)
        if size > layout.MOST_NODE:
            name, size = b"", _NO_SIZE  # no guest's text has that, and so the host answers
        _write_settings(memory.view, layout.MOST, self._most, PUSH_OVERHEAD, size)
        memory.view[layout.NODE : layout.NODE + len(name)] = name

    def open(self, first: Received) -> None:
        """Begin a batch of the message in hand and those that follow it in the inbox.

        Args:
            first: the message in hand, which the host has answered.
        """
        if self._skip:
            self._skip -= 1
            return
        guest = self._guest
        view, channels = self._memory.view, guest.channels
        heads: dict[int, int] = {}
        at, second, count = layout.MESSAGES, 0, 0
        for message in chain((first,), guest.inbox):
            if type(message) is not Received:
                break
            kind, payload = message.message_type, message.payload
            size = len(payload)
            end = at + layout.PAYLOAD + size
            if end > MOST_BYTES or kind > _BINARY:
                break
            channel_id = message.channel_id
            head, credit = heads.get(channel_id), 0
            if head is None:
                head = heads[channel_id] = at
                credit = channels.get(channel_id, -1)
                if credit > _MOST_CREDIT:
                    credit = _MOST_CREDIT
            is_text = payload.isascii() or (kind == _TEXT and is_utf8(payload))
            _write_head(view, at, channel_id, kind, size, head + layout.CREDIT, is_text, credit)
            view[at + layout.PAYLOAD : end] = payload
            at = (end + 3) & -4
            second = second or at
            count += 1
        if count:
            self._unread = count - 1
            self._sent_at = at
            _write_state(view, 0, count - 1, second, layout.MESSAGES, at, WASM_PAGE, 0, 0)
            guest.fiber.before_call = self._before_call

    def before_call(self) -> None:
        """The guest calls the host: carry out what it did until now, and end the batch.

        Raises:
            GuestTrap: it sent a text that is not UTF-8, or its allocator calls the host.
        """
        if self._close(by_call=True):
            self._guest.fiber.before_call = self._before_call  # as long as it runs
            raise allocator_called_host()

    def after_slice(self) -> None:
        """The guest's slice is over: the same.

        Raises:
            GuestTrap: it sent a text that is not UTF-8, or that could not be carried out.
        """
        try:
            if self._close(by_call=False):
                self._guest.fiber.before_call = self._before_call
        except BaseException as error:
            raise host_fault(error) from None

    def let_go(self) -> None:
        """The guest has ended: no more batches, and no cycle of references that keeps them."""
        del self._before_call

    def _close(self, *, by_call: bool) -> bool:
        """End the batch; returns whether the guest's allocator is at work for an answer."""
        guest, view = self._guest, self._memory.view
        fiber = guest.fiber
        fiber.before_call = None
        _, _, _, sent_end, was_open, calls, taken, allocating = _read_state(view)
        _write_state(view, 0, *_CLOSED)
        most, self._unread = self._unread, 0
        fiber.calls += calls
        if by_call and was_open:  # else it ended with a slice, in which the allocator was at work
            self._judge(most - taken, calls)
        self._carry_out(view, sent_end, taken, most)
        return bool(allocating)

    def _carry_out(self, view: memoryview, sent_end: int, taken: int, most: int) -> None:
        """Receive and send in the order in which the guest did. The node hears of each message just before what was
        sent after it: if the worker dies, or the guest is ended for what it sent, those behind are delivered again.

        Args:
            view: of the module's memory.
            sent_end: where what the guest sent ends.
            taken: messages that it received.
            most: messages that it was handed.
        """
        guest = self._guest
        handle, channels, add, longest = guest.handle, guest.channels, guest.outgoing.add, self._most
        at, received = self._sent_at, 0
        if taken > most or sent_end > len(view):
            raise _broken()
        while at < sent_end:
            channel_id, kind, size, before = _read_sent(view, at)
            at += layout.SENT
            if before != received:
                if not received < before <= taken:
                    raise _broken()
                self._receive(before - received)
                received = before
            left = channels.get(channel_id, -1) - size - PUSH_OVERHEAD
            if left < 0 or size > longest or kind > _BINARY or at + size > sent_end:
                raise _broken()
            payload = view[at : at + size].tobytes()
            if kind == _TEXT and not payload.isascii():
                try:
                    check_utf8(payload)
                except UnicodeDecodeError as error:
                    not_unicode(error)
            channels[channel_id] = left
            add(Push(handle, channel_id, kind, payload), size)
            at = (at + size + 3) & -4
        if taken > received:
            self._receive(taken - received)

    def _receive(self, count: int) -> None:
        """The guest received so many messages, of which the last is in hand."""
        guest = self._guest
        inbox = guest.inbox
        for _ in range(count - 1):
            inbox.popleft()
        message = inbox.popleft()
        if type(message) is not Received:
            raise _broken()
        if not guest.noted:
            guest.outgoing.note_consumer(guest)
        guest.taken += count
        guest.channel_id = message.channel_id
        guest.blob = guest.last_blob = (None, message.payload)
        guest.slice_budget = guest.limits.cpu_seconds_per_message

    def _judge(self, left: int, calls: int) -> None:
        """A batch of which much is left was made in vain: leave more and more messages to the host until the next one,
        so that making batches costs little in comparison.
        """
        if left > 0 or not calls:
            self._strikes += 1
            self._skip = min(max(left, 1) << min(self._strikes, 12), _MOST_SKIPPED)
        else:
            self._strikes = 0


def _broken() -> GuestTrap:
    return GuestTrap(ExitCause.HOST_FAULT, "what its batch noted is not possible")
