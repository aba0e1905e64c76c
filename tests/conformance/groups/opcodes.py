"""Group 4: opcodes that the RFC reserves."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Await, Case, Section, Send, failed, text
from ..frames import continuation, encode, ping
from ..frames import text as text_frame
from ..opening import Target

_RESERVED = (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)


def cases(target: Target) -> Iterator[Case]:
    """Group 4: every reserved opcode in every place."""
    sections = [Section(f"4.{number}", "RFC 6455, 5.2") for number in range(1, 7)]
    for opcode in _RESERVED:
        yield from _cases_of(opcode, sections)


def _cases_of(opcode: int, sections: list[Section]) -> Iterator[Case]:
    empty, full = encode(opcode), encode(opcode, b"reserved")
    good = failed(1002, messages=[text("good")], pongs=[b"good"])
    alone, within, after, cut, fragment, long = sections
    yield alone.case(f"empty frame of opcode {opcode}", empty, failed(1002))
    yield within.case(
        f"opcode {opcode} between two fragments",
        text_frame("first", fin=False) + full + continuation("last"),
        failed(1002),
    )
    yield after.case(
        f"opcode {opcode} after the echo of a text",
        [Send(text_frame("good")), Await(messages=1), Send(full)],
        good,
    )
    yield cut.case(
        f"text, opcode {opcode} and ping in TCP segments of 1",
        Send(text_frame("good") + full + ping("after"), 1),
        failed(1002, messages=[text("good")]),
    )
    yield fragment.case(
        f"first fragment of opcode {opcode}",
        encode(opcode, b"first", fin=False) + continuation("last"),
        failed(1002),
    )
    yield long.case(f"frame of opcode {opcode} of 300 bytes", encode(opcode, bytes(300)), failed(1002))
