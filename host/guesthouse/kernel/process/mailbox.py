"""What waits for a process: link messages in order, bounded, kept until the guest took them.

A message goes through three states: it *waits*, it is *sent* to the worker, it is *consumed* (the
guest took it). The worker holds at most a window of sent messages, so a mailbox is what a slow
process costs the node, and `capacity` bounds it: a full mailbox pauses the feeders that post to it
and resumes them below half. A feeder that is paused may still post what it had read already; so may
the events of channels, which are small and cannot be refused. `refuses` is for those that can be.

**When a run ends**, by trap, stop or the loss of its worker, what it had not consumed waits again, in
order, for the next run. What it had consumed is not delivered again: a message is handed to a guest
at most once. That is exact and not a race, because a worker reports CONSUMED before, and in order
with, everything the guest did with the message: as far as the node ever sees, both happened or neither.

The one exception: a message that ends the worker before the worker could say that it was taken would do
so for ever, to all processes there. So when `FRUITLESS_RUNS` runs in a row are lost with their worker and
none consumed more than OPENs, the first message besides those that it was sent is given up.

**Channels in a new run.** A guest must hear of a channel before its messages, once, and must never hear
of the end of a channel it does not know. A new run knows nothing, and the HTTP server announces the
channels that are open now. So the new run gets

1. the announcements, first. One whose original OPEN was never consumed takes its place and its `resumed`
   flag: to this process the channel is new;
2. then everything kept, in order, except that
   - an OPEN of an announced channel is dropped (it was announced);
   - a message of a channel that this run has not heard of, because the client left since, is preceded by
     that channel's OPEN, resumed and without credit, so that it is understood rather than lost;
   - a CLOSE of a channel that this run has not heard of is dropped, and so is a SEND_FAILURE: the run that sent
     what failed is over.

**A channel that the process closed** is forgotten: its messages that were not sent yet are dropped, since
the process wants no more of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from guesthouse.core.ports import Feeder
from guesthouse.link.frames import LinkError
from guesthouse.link.to_worker import Close, Http, OfChannel, Open, Push, SendFailure, ToProcess

MESSAGE_OVERHEAD: Final = 256
"""Bytes that a message costs the node beside its payload: its numbers and its place."""

FRUITLESS_RUNS: Final = 3

WINDOW_MESSAGES: Final = 256
WINDOW_BYTES: Final = 1024 * 1024


class Mailbox:
    """The mailbox of one process, over all its runs.

    Args:
        capacity: bytes from which on it is full.
        on_full: called when somebody is paused or refused for want of room.
    """

    __slots__ = (
        "_awaiting_open",
        "_capacity",
        "_forgotten",
        "_fruitless",
        "_kept",
        "_last_consumed",
        "_last_words",
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
        """Bytes of all messages that are not consumed."""
        self.window_size = 0
        """Bytes of the messages that are sent and not consumed."""
        self._on_full = on_full or _nothing
        self._capacity = capacity
        self._waiting: deque[tuple[ToProcess, int]] = deque()
        self._sent: deque[tuple[ToProcess, int]] = deque()
        self._kept: dict[int, int] = {}  # channel: how many of its messages are kept
        self._opens: dict[int, Open] = {}  # channel: its OPEN, while a message of it may be kept
        self._awaiting_open: dict[int, int] = {}  # channels whose OPEN still waits: credit that came since
        self._forgotten: set[int] = set()  # channels that the process closed, with messages still kept
        self._paused: dict[int, Feeder] = {}
        self._last_consumed: tuple[type[ToProcess], int] | None = None
        self._last_words: ToProcess | None = None
        self._fruitless = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    @property
    def full(self) -> bool:
        """Whether senders that can be refused should be."""
        return self.size >= self._capacity

    def post(self, message: ToProcess, payload_size: int) -> None:
        """Keep a message that is not of a channel."""
        size = payload_size + MESSAGE_OVERHEAD
        self.size += size
        self._waiting.append((message, size))

    def post_open(self, message: Open) -> None:
        """Keep a channel's OPEN."""
        self._opens[message.channel_id] = message
        self._awaiting_open[message.channel_id] = 0
        self._post_of_channel(message, 0)

    def post_push(self, message: Push, payload_size: int, feeder: Feeder) -> None:
        """Keep a client's message, and pause `feeder` when there is no room for another."""
        self._post_of_channel(message, payload_size)
        if self.size >= self._capacity:
            self._pause(message.channel_id, feeder)

    def hold_back(self, channel_id: int, feeder: Feeder) -> None:
        """Pause the feeder of a message that was posted, when there is no room for another."""
        if self.size >= self._capacity:
            self._pause(channel_id, feeder)

    def refuses(self) -> bool:
        """Whether it is full, for a message that is refused then. While feeders are paused it is so from half on:
        or whoever sends again and again would take the room that they wait for.
        """
        refused = self.full or (bool(self._paused) and self.size * 2 >= self._capacity)
        if refused:
            self._on_full()
        return refused

    def pass_push(self, message: Push, payload_size: int, feeder: Feeder) -> bool:
        """`post_push` and `take` in one, when nothing waits before it and the window has room: then it is to be
        sent now. False, and nothing is done, when not.
        """
        size = payload_size + MESSAGE_OVERHEAD
        sent = self._sent
        if self._waiting or self._forgotten:
            return False
        if sent and (self.window_size + size > WINDOW_BYTES or len(sent) >= WINDOW_MESSAGES):
            return False
        channel_id = message.channel_id
        kept = self._kept
        kept[channel_id] = kept.get(channel_id, 0) + 1
        self.window_size += size
        self.size += size
        sent.append((message, size))
        if self.size >= self._capacity:
            self._pause(channel_id, feeder)
        return True

    def post_close(self, message: Close) -> None:
        """Keep a channel's CLOSE; its feeder is let go."""
        self._paused.pop(message.channel_id, None)
        self._post_of_channel(message, 0)

    def forget_channel(self, channel_id: int) -> bool:
        """Drop a channel that the process closed. Returns whether its worker has to be told."""
        self._paused.pop(channel_id, None)
        unknown = self._awaiting_open.pop(channel_id, None) is not None
        if self._kept.get(channel_id):
            self._forgotten.add(channel_id)
        else:
            self._opens.pop(channel_id, None)
        return not unknown

    def add_credit(self, channel_id: int, size: int) -> bool:
        """Add to the credit of a channel whose OPEN still waits. Returns False when there is none such:
        then the worker is to be told.
        """
        if channel_id not in self._awaiting_open:
            return False
        self._awaiting_open[channel_id] += size
        return True

    def take(self, handle: int) -> Iterator[tuple[ToProcess, int]]:
        """Yield the messages to send to that run now, with their sizes: as many as the window has room for, or one."""
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

    def consumed(self, count: int) -> None:
        """The guest took `count` more messages, in the order they were sent.

        Raises:
            LinkError: not so many were sent.
        """
        sent = self._sent
        if not 0 < count <= len(sent):
            raise LinkError(f"a worker reports {count} messages consumed of {len(sent)} sent")
        freed = 0
        for _ in range(count):
            message, size = sent.popleft()
            freed += size
            if type(message) is not Open:
                self._fruitless = 0
            if isinstance(message, OfChannel):
                self._release(message)
        self.size -= freed
        self.window_size -= freed
        self._last_consumed = _named(message)
        if self._paused:
            self._resume_with_room()

    def withdraw(self, message: ToProcess) -> None:
        """Forget a message that `take` or `pass_push` gave and that was not sent after all."""
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
        """A small message that went to this run ahead of what waits, and is for no other run. Nothing may be
        taken after it.
        """
        self._last_words = message
        self.size += MESSAGE_OVERHEAD
        self.window_size += MESSAGE_OVERHEAD
        self._sent.append((message, MESSAGE_OVERHEAD))

    def end_run(self, *, worker_lost: bool = False) -> str | None:
        """The run is over: what it did not consume waits again. Returns the message that is not delivered
        again, in words: the one it took last, or the one that is given up; None when there is none.
        """
        last, self._last_consumed = self._last_consumed, None
        if self._sent and self._sent[-1][0] is self._last_words:
            self.size -= self._sent.pop()[1]
        self._last_words = None
        if worker_lost and self._sent:
            self._fruitless += 1
        if self._fruitless == FRUITLESS_RUNS:
            self._fruitless = 0
            last = self._give_up_first()
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self.window_size = 0
        self._resume_with_room()
        return None if last is None else _in_words(*last)

    def begin_run(self, announced: Sequence[Open]) -> None:
        """Order what waits for a new run, as the rule above says.

        Args:
            announced: the OPEN of each channel that is open now, with fresh credit.
        """
        kept, self._waiting = self._waiting, deque()
        self.size = 0
        self._kept, self._awaiting_open = {}, {}
        told = {message.channel_id for message in announced}
        opens, self._opens = self._opens, {}
        resumed = {message.channel_id: message.resumed for message, _ in kept if isinstance(message, Open)}
        for announcement in announced:
            channel_id = announcement.channel_id
            self.post_open(replace(announcement, resumed=resumed.get(channel_id, announcement.resumed)))
        for message, size in kept:
            self._keep_for_new_run(message, size, told, opens)
        self._forgotten.clear()
        self._resume_with_room()

    def clear(self) -> None:
        """Drop everything and let all feeders go: the process will not return."""
        self._waiting.clear()
        self._sent.clear()
        self.size = self.window_size = 0
        for held in (self._kept, self._opens, self._awaiting_open, self._forgotten):
            held.clear()
        self._resume()

    def kept(self) -> Iterator[ToProcess]:
        """All messages that are not consumed, in order."""
        for message, _ in self._sent:
            yield message
        for message, _ in self._waiting:
            yield message

    def _keep_for_new_run(
        self, message: ToProcess, size: int, told: set[int], opens: dict[int, Open]
    ) -> None:
        if isinstance(message, SendFailure):
            return  # of something that an earlier run sent
        if not isinstance(message, OfChannel):
            self.size += size
            self._waiting.append((message, size))
            return
        channel_id = message.channel_id
        if channel_id in self._forgotten:
            return
        if isinstance(message, Open):
            if channel_id not in told:
                told.add(channel_id)
                self.post_open(message)
            return
        if channel_id not in told:
            if isinstance(message, Close) or channel_id not in opens:
                return
            told.add(channel_id)
            self.post_open(replace(opens[channel_id], resumed=True, credit=0))
        self._post_of_channel(message, size - MESSAGE_OVERHEAD)

    def _post_of_channel(self, message: OfChannel, payload_size: int) -> None:
        size = payload_size + MESSAGE_OVERHEAD
        self.size += size
        kept, channel_id = self._kept, message.channel_id
        kept[channel_id] = kept.get(channel_id, 0) + 1
        self._waiting.append((message, size))

    def _give_up_first(self) -> tuple[type[ToProcess], int] | None:
        for place, (message, size) in enumerate(self._sent):
            if type(message) is not Open:
                del self._sent[place]
                self.size -= size
                if isinstance(message, OfChannel):
                    self._release(message)
                return _named(message)
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


def _nothing() -> None:
    """What a full mailbox calls that nobody watches."""


def _named(message: ToProcess) -> tuple[type[ToProcess], int]:
    """What it is and of which channel, without what it holds."""
    if isinstance(message, OfChannel):
        return type(message), message.channel_id
    return type(message), message.http_id if isinstance(message, Http) else 0


def _in_words(kind: type[ToProcess], number: int) -> str:
    if issubclass(kind, OfChannel):
        return f"the {kind.__name__.lower()} of channel {number}"
    if kind is Http:
        return f"HTTP request {number}"
    return "a send failure" if kind is SendFailure else f"a {kind.__name__.lower()}"
