"""A process's mailbox: a bounded queue of link messages, kept until the guest has consumed them.

A message is *waiting*, then *sent* to the worker, then *consumed* by the guest. The worker holds at most a window of
sent messages. `capacity` bounds the memory of a slow process: a full mailbox pauses the feeders that post to it, and
resumes them below half. A paused feeder may still post what it has already read, and channel events are always
accepted, since they are small. Other messages are refused (`refuses`).

**When a run ends**, by a trap, stop or the loss of its worker, messages that it did not consume wait for the next run,
in order. Consumed messages are not delivered again: delivery is at most once. This is exact, since a worker reports
CONSUMED before, and in order with, everything the guest did with the message: the node sees both or neither.

One exception: a message that crashes the worker before it is reported as consumed would do so for ever. So when
`FRUITLESS_RUNS` runs in a row are lost with their worker and none consumed more than OPENs, the first sent message
other than an OPEN is discarded.

**Channels in a new run.** A guest must be told of a channel before its messages, once, and never of the end of a
channel it does not know. At the start of a run the HTTP server announces the open channels. The run receives

1. the announcements. If the original OPEN was never consumed, the announcement takes over its `resumed` flag: the
   channel is new to this process;
2. then all kept messages, in order, except that
   - an OPEN of an announced channel is dropped;
   - a message of a channel that was not announced, because the client left meanwhile, is preceded by that channel's
     OPEN, resumed and without credit;
   - a CLOSE of a channel that was not announced is dropped, as is a SEND_FAILURE of an earlier run.

**A channel that the process closed** is forgotten: its unsent messages are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from guesthouse.core.ports import Feeder
from guesthouse.link.frames import LinkError
from guesthouse.link.to_worker import Close, Http, OfChannel, Open, Push, SendFailure, ToProcess
from guesthouse.link.traced import PLAIN, plain

MESSAGE_OVERHEAD: Final = 256
"""Bytes of memory that a message takes besides its payload."""

FRUITLESS_RUNS: Final = 3

WINDOW_MESSAGES: Final = 256
WINDOW_BYTES: Final = 1024 * 1024


class Mailbox:
    """The mailbox of one process, over all its runs.

    Args:
        capacity: bytes.
        on_full: called when a feeder is paused or a message is refused.
    """

    __slots__ = (
        "_awaiting_open",
        "_capacity",
        "_final",
        "_forgotten",
        "_fruitless",
        "_in_hand",
        "_kept",
        "_on_full",
        "_opens",
        "_paused",
        "_sent",
        "_waiting",
        "size",
        "window_size",
    )

    def __init__(self, capacity: int, on_full: Callable[[], None] | None = None) -> None:
        self.size = 0
        """Bytes of all messages not consumed."""
        self.window_size = 0
        """Bytes of messages sent but not consumed."""
        self._on_full = on_full or _ignore
        self._capacity = capacity
        self._waiting: deque[tuple[ToProcess, int]] = deque()
        self._sent: deque[tuple[ToProcess, int]] = deque()
        self._kept: dict[int, int] = {}  # number of kept messages by channel
        self._opens: dict[int, Open] = {}  # by channel, while messages of it may be kept
        self._awaiting_open: dict[int, int] = {}  # channels whose OPEN still waits: credit added since
        self._forgotten: set[int] = set()  # channels closed by the process, with messages still kept
        self._paused: dict[int, Feeder] = {}
        self._in_hand: tuple[type[ToProcess], int] | None = None  # the last consumed, unless it is finished
        self._final: ToProcess | None = None
        self._fruitless = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    @property
    def full(self) -> bool:
        """Whether it is at capacity."""
        return self.size >= self._capacity

    def post(self, message: ToProcess, payload_size: int) -> None:
        """Add a message that is not of a channel."""
        size = payload_size + MESSAGE_OVERHEAD
        self.size += size
        self._waiting.append((message, size))

    def post_open(self, message: Open) -> None:
        """Add a channel's OPEN."""
        self._opens[message.channel_id] = message
        self._awaiting_open[message.channel_id] = 0
        self._post_of_channel(message, 0)

    def post_push(self, message: Push, payload_size: int, feeder: Feeder) -> None:
        """Add a client's message, and pause `feeder` if the mailbox is now full."""
        self._post_of_channel(message, payload_size)
        if self.size >= self._capacity:
            self._pause(message.channel_id, feeder)

    def hold_back(self, channel_id: int, feeder: Feeder) -> None:
        """Pause the feeder of a posted message if the mailbox is full."""
        if self.size >= self._capacity:
            self._pause(channel_id, feeder)

    def refuses(self) -> bool:
        """Whether a message that can be refused must be. While feeders are paused the limit is half the capacity, or
        other senders would keep taking the room that the feeders wait for.
        """
        refused = self.full or (bool(self._paused) and self.size * 2 >= self._capacity)
        if refused:
            self._on_full()
        return refused

    def pass_push(self, message: Push, payload_size: int, feeder: Feeder) -> bool:
        """Fast path of `post_push` and `take`: if nothing waits and the window has room, record the message as sent;
        the caller sends it. Otherwise returns False and does nothing.
        """
        sent = self._sent
        if self._waiting or self._forgotten or len(sent) >= WINDOW_MESSAGES:
            return False
        size = payload_size + MESSAGE_OVERHEAD
        window_size = self.window_size + size
        if window_size > WINDOW_BYTES and sent:
            return False
        self.window_size = window_size
        channel_id = message.channel_id
        kept = self._kept
        kept[channel_id] = kept.get(channel_id, 0) + 1
        sent.append((message, size))
        self.size += size
        if self.size >= self._capacity:
            self._pause(channel_id, feeder)
        return True

    def post_close(self, message: Close) -> None:
        """Add a channel's CLOSE and drop its feeder."""
        self._paused.pop(message.channel_id, None)
        self._post_of_channel(message, 0)

    def forget_channel(self, channel_id: int) -> bool:
        """Forget a channel that the process closed. Returns whether its worker must be told."""
        self._paused.pop(channel_id, None)
        unknown = self._awaiting_open.pop(channel_id, None) is not None
        if self._kept.get(channel_id):
            self._forgotten.add(channel_id)
        else:
            self._opens.pop(channel_id, None)
        return not unknown

    def add_credit(self, channel_id: int, size: int) -> bool:
        """Add credit to a channel whose OPEN still waits. Returns False if none does: then the worker must be told."""
        if channel_id not in self._awaiting_open:
            return False
        self._awaiting_open[channel_id] += size
        return True

    def take(self, handle: int) -> Iterator[tuple[ToProcess, int]]:
        """Yield the messages to send to a run now, with their sizes: as many as fit the window, but at least one."""
        waiting, sent = self._waiting, self._sent
        while waiting:
            message, size = waiting[0]
            if self._forgotten and isinstance(message, OfChannel) and message.channel_id in self._forgotten:
                waiting.popleft()
                self._drop(message, size)
                continue
            if sent and (self.window_size + size > WINDOW_BYTES or len(sent) >= WINDOW_MESSAGES):
                return
            waiting.popleft()
            if type(message) is Open:
                credit = message.credit + self._awaiting_open.pop(message.channel_id, 0)
                message = replace(message, handle=handle, credit=credit)
            elif message.handle != handle:
                message = replace(message, handle=handle)
            sent.append((message, size))
            self.window_size += size
            yield message, size

    def consumed(self, count: int, *, in_hand: bool = True) -> bool:
        """The guest consumed the next `count` sent messages. Returns whether others wait for `take`.

        Args:
            count: how many; 0 if it has only finished the one in hand.
            in_hand: whether it is still at work on the last of them.

        Raises:
            LinkError: fewer were sent.
        """
        sent, kept = self._sent, self._kept
        if not (count or in_hand):
            self._in_hand = None
            return False
        if not 0 < count <= len(sent):
            raise LinkError(f"a worker reports {count} messages consumed of {len(sent)} sent")
        freed = 0
        for _ in range(count):
            message, size = sent.popleft()
            freed += size
            kind = type(message)
            if kind is not Open:
                self._fruitless = 0
            # `_release` of the most frequent, without calls.
            if kind is Push and not self._forgotten:
                channel_id = message.channel_id  # type: ignore[attr-defined]
                left = kept[channel_id] - 1
                if left:
                    kept[channel_id] = left
                else:
                    del kept[channel_id]
            elif isinstance(message, OfChannel):
                self._release(message)
        self.size -= freed
        self.window_size -= freed
        self._in_hand = _summary(message) if in_hand else None
        if self._paused:
            self._resume_with_room()
        return bool(self._waiting)

    def withdraw(self, message: ToProcess) -> None:
        """Remove a message that was recorded as sent but could not be sent."""
        for place, (sent, size) in enumerate(self._sent):
            if sent is message:
                del self._sent[place]
                self.size -= size
                self.window_size -= size
                if isinstance(message, OfChannel):
                    self._release(message)
                self._resume_with_room()
                return

    def send_last(self, message: ToProcess) -> None:
        """Record a small message that is sent ahead of those waiting, for this run only. It must be the run's last."""
        self._final = message
        self.size += MESSAGE_OVERHEAD
        self.window_size += MESSAGE_OVERHEAD
        self._sent.append((message, MESSAGE_OVERHEAD))

    def end_run(self, *, worker_lost: bool = False) -> str | None:
        """The run ended: messages that it did not consume wait again.

        Args:
            worker_lost: whether its worker crashed or was killed.

        Returns:
            A description of the message that is not delivered again: the one in hand or the discarded one; or None.
        """
        last, self._in_hand = self._in_hand, None
        if self._sent and self._sent[-1][0] is self._final:
            self.size -= self._sent.pop()[1]
        self._final = None
        if worker_lost and self._sent:
            self._fruitless += 1
        if self._fruitless == FRUITLESS_RUNS:
            self._fruitless = 0
            last = self._discard_first()
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self.window_size = 0
        self._resume_with_room()
        return None if last is None else _describe(*last)

    def begin_run(self, announced: Sequence[Open]) -> None:
        """Order the messages for a new run, as described above.

        Args:
            announced: the OPEN of each open channel, with its current credit.
        """
        kept, self._waiting = self._waiting, deque()
        self.size = 0
        self._kept, self._awaiting_open = {}, {}
        announced_ids = {message.channel_id for message in announced}
        opens, self._opens = self._opens, {}
        resumed = {message.channel_id: message.resumed for message, _ in kept if isinstance(message, Open)}
        for announcement in announced:
            channel_id = announcement.channel_id
            self.post_open(replace(announcement, resumed=resumed.get(channel_id, announcement.resumed)))
        for message, size in kept:
            self._keep_for_new_run(message, size, announced_ids, opens)
        self._forgotten.clear()
        self._resume_with_room()

    def clear(self) -> None:
        """Drop everything and resume all feeders: the process is gone."""
        self._waiting.clear()
        self._sent.clear()
        self.size = self.window_size = 0
        for held in (self._kept, self._opens, self._awaiting_open, self._forgotten):
            held.clear()
        self._resume()

    def hand_over(self) -> tuple[list[Open], list[tuple[ToProcess, int]]]:
        """What the next run of the node takes over, between two runs of the process: how the channels were opened of
        which messages are kept, and the messages.
        """
        opens = [message for channel_id, message in self._opens.items() if self._kept.get(channel_id)]
        return opens, [
            (plain(message), size)
            for message, size in self._waiting
            if not (isinstance(message, OfChannel) and message.channel_id in self._forgotten)
        ]

    def take_over(self, opens: Sequence[Open], messages: Sequence[tuple[ToProcess, int]]) -> None:
        """Begin with what the run of the node before had left; `begin_run` follows."""
        for message in opens:
            self._opens[message.channel_id] = message
        for kept, size in messages:
            self.size += size
            self._waiting.append((kept, size))

    def kept(self) -> Iterator[ToProcess]:
        """All messages not consumed, in order."""
        for message, _ in self._sent:
            yield message
        for message, _ in self._waiting:
            yield message

    def _keep_for_new_run(
        self, message: ToProcess, size: int, announced_ids: set[int], opens: dict[int, Open]
    ) -> None:
        if isinstance(message, SendFailure):
            return
        if not isinstance(message, OfChannel):
            self.size += size
            self._waiting.append((message, size))
            return
        channel_id = message.channel_id
        if channel_id in self._forgotten:
            return
        if isinstance(message, Open):
            if channel_id not in announced_ids:
                announced_ids.add(channel_id)
                self.post_open(message)
            return
        if channel_id not in announced_ids:
            if isinstance(message, Close) or channel_id not in opens:
                return
            announced_ids.add(channel_id)
            self.post_open(replace(opens[channel_id], resumed=True, credit=0))
        self._post_of_channel(message, size - MESSAGE_OVERHEAD)

    def _post_of_channel(self, message: OfChannel, payload_size: int) -> None:
        size = payload_size + MESSAGE_OVERHEAD
        self.size += size
        kept, channel_id = self._kept, message.channel_id
        kept[channel_id] = kept.get(channel_id, 0) + 1
        self._waiting.append((message, size))

    def _discard_first(self) -> tuple[type[ToProcess], int] | None:
        for place, (message, size) in enumerate(self._sent):
            if type(message) is not Open:
                del self._sent[place]
                self.size -= size
                if isinstance(message, OfChannel):
                    self._release(message)
                return _summary(message)
        return None

    def _drop(self, message: OfChannel, size: int) -> None:
        self.size -= size
        self._release(message)
        self._resume_with_room()

    def _release(self, message: OfChannel) -> None:
        channel_id = message.channel_id
        remaining = self._kept[channel_id] - 1
        if remaining:
            self._kept[channel_id] = remaining
            return
        del self._kept[channel_id]
        if self._forgotten and channel_id in self._forgotten:
            self._forgotten.remove(channel_id)
            self._opens.pop(channel_id, None)
        elif type(message) is Close:
            self._opens.pop(channel_id, None)

    def _pause(self, channel_id: int, feeder: Feeder) -> None:
        self._paused[channel_id] = feeder
        feeder.pause_reading()
        self._on_full()

    def _resume_with_room(self) -> None:
        if self._paused and self.size * 2 < self._capacity:
            self._resume()

    def _resume(self) -> None:
        paused, self._paused = self._paused, {}
        for feeder in paused.values():
            feeder.resume_reading()


def _ignore() -> None:
    """Default of `on_full`."""


def _summary(message: ToProcess) -> tuple[type[ToProcess], int]:
    """Type of a message, and its channel or HTTP request; keeps no payload alive."""
    kind = type(message)
    if kind is Push or isinstance(message, OfChannel):
        return kind, message.channel_id  # type: ignore[attr-defined]
    return type(message), message.http_id if isinstance(message, Http) else 0


def _describe(kind: type[ToProcess], number: int) -> str:
    kind = PLAIN.get(kind, kind)  # type: ignore[assignment] # of the same messages
    if issubclass(kind, OfChannel):
        return f"the {kind.__name__.lower()} of channel {number}"
    if kind is Http:
        return f"HTTP request {number}"
    return "a send failure" if kind is SendFailure else f"a {kind.__name__.lower()}"
