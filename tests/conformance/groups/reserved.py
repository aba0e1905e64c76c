"""Group 3: reserved bits, without an extension that gives them a meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..case import Await, Case, Section, Send, failed, text
from ..frames import Opcode, continuation, encode, ping
from ..frames import text as text_frame
from ..opening import Target


def cases(target: Target) -> Iterator[Case]:
    """Group 3: every combination of the bits in every kind of frame and place."""
    tables: tuple[Callable[[int], tuple[str, bytes]], ...] = (
        lambda rsv: ("a text", encode(Opcode.TEXT, b"reserved", rsv=rsv)),
        lambda rsv: ("an empty text", encode(Opcode.TEXT, rsv=rsv)),
        lambda rsv: ("a binary", encode(Opcode.BINARY, bytes(126), rsv=rsv)),
        lambda rsv: ("a ping", encode(Opcode.PING, b"reserved", rsv=rsv)),
        lambda rsv: ("a pong", encode(Opcode.PONG, b"reserved", rsv=rsv)),
        lambda rsv: ("a close frame", encode(Opcode.CLOSE, b"\x03\xe8", rsv=rsv)),
        lambda rsv: ("a continuation", text_frame("first", fin=False) + continuation("last", rsv=rsv)),
        lambda rsv: ("a first fragment", text_frame("first", fin=False, rsv=rsv) + continuation("last")),
        lambda rsv: (
            "a ping within a message",
            text_frame("first", fin=False) + encode(Opcode.PING, b"in", rsv=rsv) + continuation("last"),
        ),
    )
    for number, table in enumerate(tables, 1):
        section = Section(f"3.{number}", "RFC 6455, 5.2")
        for rsv in range(1, 8):
            name, data = table(rsv)
            yield section.case(f"reserved bits {rsv:03b} in {name}", data, failed(1002))
    yield from _after_good_ones(Section(f"3.{len(tables) + 1}", "RFC 6455, 5.2"))


def _after_good_ones(section: Section) -> Iterator[Case]:
    bad = {rsv: encode(Opcode.TEXT, b"reserved", rsv=rsv) for rsv in range(1, 8)}
    for rsv, frame in bad.items():
        yield section.case(
            f"reserved bits {rsv:03b} after the echo of a text",
            [Send(text_frame("good")), Await(messages=1), Send(frame)],
            failed(1002, messages=[text("good")]),
        )
    for rsv, frame in bad.items():
        yield section.case(
            f"text, ping and reserved bits {rsv:03b} in TCP segments of 1",
            Send(text_frame("good") + ping("good") + frame, 1),
            failed(1002, messages=[text("good")], pongs=[b"good"]),
        )
