"""A NATS server that is an attacker's: on the way between a real one and a client it alters, drops, repeats, reorders
and forges what the client is sent. It reads NATS's protocol, and passes on everything else as it came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct, field

LINE_END: Final = b"\r\n"
MOST_SEEN: Final = 2000

Alter = Callable[[str, bytes], list[bytes]]
"""Makes of a message, by its subject and payload, those that arrive."""


class Message(Struct, frozen=True):
    """A message to a client."""

    subject: bytes
    subscription: bytes
    reply: bytes
    headers: bytes
    """Empty, or with the empty line that ends them."""
    payload: bytes

    def written(self) -> bytes:
        """As the protocol has it."""
        words = [self.subject, self.subscription, *([self.reply] if self.reply else [])]
        if self.headers:
            words.append(str(len(self.headers)).encode())
        words.append(str(len(self.headers) + len(self.payload)).encode())
        verb = b"HMSG " if self.headers else b"MSG "
        return verb + b" ".join(words) + LINE_END + self.headers + self.payload + LINE_END


class ToClient:
    """Takes what a server sends a client apart."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> Iterator[Message | bytes]:
        """Messages, and everything else as it is, line by line. What is not whole waits for the rest."""
        self._waiting += data
        while (end := self._waiting.find(LINE_END)) >= 0:
            line = bytes(self._waiting[:end])
            words = line.split()
            if not words or words[0].upper() not in (b"MSG", b"HMSG"):
                del self._waiting[: end + 2]
                yield line + LINE_END
                continue
            start, size = end + 2, int(words[-1])
            if len(self._waiting) < start + size + 2:
                return
            body = bytes(self._waiting[start : start + size])
            del self._waiting[: start + size + 2]
            head = int(words[-2]) if words[0].upper() == b"HMSG" else 0
            rest = words[3:-2] if head else words[3:-1]
            yield Message(words[1], words[2], b"".join(rest), body[:head], body[head:])


class Attacker(Struct, eq=False):
    """What is done to messages, by every connection through it: give `filters` to links."""

    alter: Alter = lambda _, payload: [payload]
    seen: deque[tuple[str, bytes]] = field(default_factory=lambda: deque(maxlen=MOST_SEEN))
    """The messages that passed last, by subject, as they were sent."""
    altered: int = 0
    """How many did not arrive exactly once and as they were."""

    def filters(self) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
        """For a new connection: see `Link`."""
        reading = ToClient()
        return bytes, lambda data: b"".join(self._passed(each) for each in reading.feed(data))

    def _passed(self, each: Message | bytes) -> bytes:
        if isinstance(each, bytes):
            return each
        subject = each.subject.decode()
        self.seen.append((subject, each.payload))
        arriving = self.alter(subject, each.payload)
        self.altered += arriving != [each.payload]
        messages = (
            Message(each.subject, each.subscription, each.reply, each.headers, made) for made in arriving
        )
        return b"".join(message.written() for message in messages)
