"""What a case is: steps of a client, and the outcomes that the RFC allows. Data only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from . import frames
from .frames import Opcode
from .opening import Opening

_SHOWN: Final = 24


class Grade(IntEnum):
    """How well a server did; more is better."""

    FAILED = 0
    NON_STRICT = 1
    """The RFC would rather have it otherwise, or leaves it open and a careful server would not do so."""
    DECLINED = 2
    """The server did not agree to the extension that the case is about, which it need not."""
    OK = 3


# What a server says.


@dataclass(frozen=True, slots=True)
class Message:
    """A whole data message."""

    opcode: int
    payload: bytes

    def __str__(self) -> str:
        kind = "text" if self.opcode == Opcode.TEXT else "binary"
        return f"{kind} {shown(self.payload)}"


def shown(payload: bytes) -> str:
    """A payload as people can read it."""
    if len(payload) <= _SHOWN:
        return ascii(payload)[1:]
    return f"{ascii(payload[:_SHOWN])[1:]}… ({len(payload)} bytes)"


def text(content: str | bytes) -> Message:
    """A text message."""
    return Message(Opcode.TEXT, content.encode() if isinstance(content, str) else content)


def binary(content: bytes) -> Message:
    """A binary message."""
    return Message(Opcode.BINARY, content)


# What the client does.


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes; in segments of that many bytes, unless it is 0."""

    data: bytes
    segment: int = 0


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message, compressed when that was agreed; in frames of that many bytes, unless it is 0."""

    message: Message
    fragment: int = 0


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until that many messages and pongs came, all in all."""

    messages: int = 0
    pongs: int = 0


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Close our direction of the TCP connection."""


Step = Send | Say | Await | HalfClose


# What may come of it.


@dataclass(frozen=True, slots=True)
class Closed:
    """The server answers our close frame with one of these codes; None is a close frame without one."""

    codes: tuple[int | None, ...] = (1000,)

    def __str__(self) -> str:
        return f"close answered with {_either(self.codes)}"


@dataclass(frozen=True, slots=True)
class Failed:
    """The server fails the connection with one of these codes. (Without a close frame it is non-strict.)"""

    codes: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"connection failed with {_either(self.codes)}"


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection ends, with or without a close frame."""

    def __str__(self) -> str:
        return "connection ended"


@dataclass(frozen=True, slots=True)
class Refused:
    """No upgrade, but one of these HTTP statuses; or any error when there are none. The answer has that header."""

    statuses: tuple[int, ...] = ()
    having: str = ""

    def __str__(self) -> str:
        status = _either(self.statuses) if self.statuses else "an HTTP error"
        return f"refused with {status}" + (f" and {self.having}" if self.having else "")


def _either(values: Sequence[object]) -> str:
    return " or ".join("no code" if value is None else str(value) for value in values)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that may come of a case, and what grade that is.

    Messages and pongs come in order, each among their own kind: nothing in the RFC keeps an echo from
    being overtaken by a pong. A server that fails the connection may have sent fewer of both.
    """

    end: Closed | Failed | Ended | Refused
    messages: tuple[Message, ...] = ()
    pongs: tuple[bytes, ...] = ()
    grade: Grade = Grade.OK

    def __str__(self) -> str:
        parts = [str(message) for message in self.messages[:3]]
        if len(self.messages) > 3:
            parts.append(f"{len(self.messages)} messages in all")
        parts += [f"pong {shown(payload)}" for payload in self.pongs[:3]]
        if len(self.pongs) > 3:
            parts.append(f"{len(self.pongs)} pongs in all")
        mark = "" if self.grade is Grade.OK else f" ({self.grade.name})"
        return ", ".join([*parts, str(self.end)]) + mark


def echoed(*messages: Message, pongs: Sequence[bytes] = (), grade: Grade = Grade.OK) -> Outcome:
    """The messages come back, and then a close frame is answered."""
    return Outcome(Closed(), messages, tuple(pongs), grade)


def failed(
    *codes: int, messages: Sequence[Message] = (), pongs: Sequence[bytes] = (), grade: Grade = Grade.OK
) -> Outcome:
    """The server fails the connection; before that, it may have sent these messages and pongs."""
    return Outcome(Failed(codes), tuple(messages), tuple(pongs), grade)


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Args:
        id: such as `6.12.3`.
        title: what is tried, on one line.
        section: where the RFC speaks of it.
        steps: what the client does after the upgrade.
        outcomes: what may come of it; the best that fits counts.
        opening: the upgrade request.
        offer: the extensions that it offers.
        closing: what the client sends when all has come that should; nothing, when the steps say it.
        probe: whether a ping tells if the server goes on where it must fail. (Not where it would be
            taken for a part of an unfinished frame.)
    """

    id: str
    title: str
    section: str
    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]
    opening: Opening = field(default_factory=Opening)
    offer: str | None = None
    closing: bytes = frames.close()
    probe: bool = True

    @property
    def group(self) -> int:
        """The number of its group."""
        return int(self.id.partition(".")[0])

    @property
    def must_fail(self) -> bool:
        """Whether no outcome lets the connection go on."""
        return all(isinstance(outcome.end, Failed) for outcome in self.outcomes)

    @property
    def is_raw(self) -> bool:
        """Whether it sends frames made beforehand, which make sense only with the extension that it offers."""
        return any(isinstance(step, Send) for step in self.steps)

    @property
    def wanted(self) -> str:
        """What may come of it, for people."""
        return "; or ".join(map(str, self.outcomes))


class Section:
    """Numbers the cases of one section: `6.2` gives 6.2.1, 6.2.2 and so on."""

    def __init__(self, number: str, section: str) -> None:
        self._number = number
        self._section = section
        self._count = 0

    def case(
        self,
        title: str,
        steps: Step | bytes | Sequence[Step],
        *outcomes: Outcome,
        opening: Opening | None = None,
        offer: str | None = None,
        closing: bytes | None = None,
        probe: bool = True,
    ) -> Case:
        """The next case. Steps of plain bytes are sent as they are."""
        self._count += 1
        if isinstance(steps, bytes):
            steps = Send(steps)
        return Case(
            id=f"{self._number}.{self._count}",
            title=title,
            section=self._section,
            steps=(steps,) if isinstance(steps, Step) else tuple(steps),
            outcomes=outcomes,
            opening=opening or Opening(),
            offer=offer,
            closing=frames.close() if closing is None else closing,
            probe=probe,
        )
