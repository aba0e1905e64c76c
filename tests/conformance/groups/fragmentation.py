"""Group 5: messages in fragments, with control frames between them, and in the wrong order."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Await, Case, Grade, Section, Send, binary, echoed, failed, text
from ..frames import Opcode, close, continuation, cut, encode, fragment_frames, fragments, ping, pong
from ..frames import binary as binary_frame
from ..frames import text as text_frame
from ..opening import Target
from .payloads import bytes_of, text_of


def cases(target: Target) -> Iterator[Case]:
    """Group 5."""
    yield from _in_order()
    yield from _empty_ones()
    yield from _control_between()
    yield from _fragmented_control()
    yield from _out_of_order()
    yield from _ended_within()


def _in_order() -> Iterator[Case]:
    section = Section("5.1", "RFC 6455, 5.4")
    for count in (2, 3, 10, 100):
        content = text_of(count * 3)
        parts = cut(content.encode(), 3)
        yield section.case(f"text in {count} fragments", fragments(Opcode.TEXT, parts), echoed(text(content)))
        payload = bytes_of(count * 5)
        yield section.case(
            f"binary in {count} fragments",
            fragments(Opcode.BINARY, cut(payload, 5)),
            echoed(binary(payload)),
        )
    content = text_of(60)
    data = fragments(Opcode.TEXT, cut(content.encode(), 20))
    for segment in (1, 4, 25):
        yield section.case(
            f"text in 3 fragments, in TCP segments of {segment}", Send(data, segment), echoed(text(content))
        )
    sizes = (1, 125, 126, 65535, 65536)
    payload = bytes_of(sum(sizes))
    ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
    parts = [payload[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    yield section.case(
        "binary in fragments of every form of length",
        fragments(Opcode.BINARY, parts),
        echoed(binary(payload)),
    )
    yield section.case(
        "fragmented text, whole text, fragmented binary",
        fragments(Opcode.TEXT, [b"a", b"b"]) + text_frame("c") + fragments(Opcode.BINARY, [b"d", b"e"]),
        echoed(text("ab"), text("c"), binary(b"de")),
    )


def _empty_ones() -> Iterator[Case]:
    section = Section("5.2", "RFC 6455, 5.4")
    tables = {
        "two empty fragments": [b"", b""],
        "three empty fragments": [b"", b"", b""],
        "an empty first fragment": [b"", b"text"],
        "an empty last fragment": [b"text", b""],
        "an empty middle fragment": [b"te", b"", b"xt"],
        "content only in the middle": [b"", b"text", b""],
        "fifty empty fragments around content": [*[b""] * 25, b"text", *[b""] * 25],
    }
    for name, parts in tables.items():
        for opcode, message in (
            (Opcode.TEXT, text(b"".join(parts))),
            (Opcode.BINARY, binary(b"".join(parts))),
        ):
            yield section.case(f"{opcode.name.lower()} of {name}", fragments(opcode, parts), echoed(message))


def _control_between() -> Iterator[Case]:
    section = Section("5.3", "RFC 6455, 5.4")
    frames = fragment_frames(Opcode.TEXT, [b"one ", b"two ", b"three"])
    message = text("one two three")
    for place in (1, 2):
        data = [*frames[:place], ping("between"), *frames[place:]]
        yield section.case(
            f"ping before fragment {place + 1} of 3", b"".join(data), echoed(message, pongs=[b"between"])
        )
    with_pongs = b"".join(frame + pong("unasked") for frame in frames)
    yield section.case("unasked pong after each fragment", with_pongs, echoed(message))
    with_pings = b"".join(ping(f"ping {index}") + frame for index, frame in enumerate(frames))
    pongs = [f"ping {index}".encode() for index in range(3)]
    for segment in (0, 1):
        how = f" in TCP segments of {segment}" if segment else ""
        yield section.case(
            f"ping before each fragment{how}", Send(with_pings, segment), echoed(message, pongs=pongs)
        )
    yield section.case(
        "the pong comes while the message is unfinished",
        [Send(frames[0] + ping("between")), Await(pongs=1), Send(b"".join(frames[1:]))],
        echoed(message, pongs=[b"between"]),
    )
    many = fragment_frames(Opcode.BINARY, [b"x"] * 50)
    yield section.case(
        "ping after each of 50 fragments",
        b"".join(frame + ping(f"{index}") for index, frame in enumerate(many)),
        echoed(binary(b"x" * 50), pongs=[f"{index}".encode() for index in range(50)]),
    )


def _fragmented_control() -> Iterator[Case]:
    section = Section("5.4", "RFC 6455, 5.5")
    for name, opcode, parts in (
        ("ping", Opcode.PING, [b"first", b"last"]),
        ("pong", Opcode.PONG, [b"first", b"last"]),
        ("close frame", Opcode.CLOSE, [b"\x03\xe8", b"bye"]),
    ):
        yield section.case(f"{name} in two fragments", fragments(opcode, parts), failed(1002))
        yield section.case(f"{name} without FIN", encode(opcode, parts[0], fin=False), failed(1002))
        yield section.case(
            f"{name} without FIN within a message",
            text_frame("first", fin=False) + encode(opcode, parts[0], fin=False) + continuation("last"),
            failed(1002),
        )


def _out_of_order() -> Iterator[Case]:
    section = Section("5.5", "RFC 6455, 5.4")
    for fin in (True, False):
        kind = "last" if fin else "middle"
        for content in ("", "lost"):
            size = "full" if content else "empty"
            yield section.case(
                f"{size} {kind} continuation of nothing", continuation(content, fin=fin), failed(1002)
            )
        yield section.case(
            f"{kind} continuation after a whole text",
            [Send(text_frame("whole")), Await(messages=1), Send(continuation("lost", fin=fin))],
            failed(1002, messages=[text("whole")]),
        )
        yield section.case(
            f"{kind} continuation after a fragmented text",
            [
                Send(fragments(Opcode.TEXT, [b"wh", b"ole"])),
                Await(messages=1),
                Send(continuation("lost", fin=fin)),
            ],
            failed(1002, messages=[text("whole")]),
        )
        yield section.case(
            f"{kind} continuation of nothing, in TCP segments of 1",
            Send(continuation("lost", fin=fin), 1),
            failed(1002),
        )
    section = Section("5.6", "RFC 6455, 5.4")
    for name, inner in (
        ("whole text", text_frame("inner")),
        ("empty text", text_frame("")),
        ("first fragment of text", text_frame("inner", fin=False)),
        ("whole binary", binary_frame(b"inner")),
        ("first fragment of binary", binary_frame(b"inner", fin=False)),
    ):
        for outer in (text_frame("outer", fin=False), binary_frame(b"outer", fin=False)):
            kind = "text" if outer[0] == Opcode.TEXT else "binary"
            yield section.case(f"{name} within a fragmented {kind}", outer + inner, failed(1002))
    yield section.case(
        "whole text after two fragments of another",
        text_frame("one", fin=False) + continuation("two", fin=False) + text_frame("three"),
        failed(1002),
    )


def _ended_within() -> Iterator[Case]:
    """Control frames may come within a message, and a close frame is one."""
    section = Section("5.7", "RFC 6455, 5.4")
    for name, rest in (("", b""), (", then its rest", continuation("last"))):
        yield section.case(
            f"close frame within a message{name}",
            text_frame("first", fin=False),
            echoed(),
            failed(1002, grade=Grade.NON_STRICT),
            closing=close() + rest,
        )
