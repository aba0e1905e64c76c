"""Group 10: order, content that tempts, and what happens after a fault."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Await, Case, Grade, Section, Send, binary, echoed, failed, text
from ..frames import Opcode, close, continuation, cut, encode, fragments, ping
from ..frames import binary as binary_frame
from ..frames import text as text_frame
from ..opening import Target
from .payloads import bytes_of, text_of


def cases(target: Target) -> Iterator[Case]:
    """Group 10."""
    yield from _fragmented_by_a_library()
    yield from _order()
    yield from _content()
    yield from _after_a_fault()


def _fragmented_by_a_library() -> Iterator[Case]:
    section = Section("10.1", "RFC 6455, 5.4")
    content = text_of(65536)
    parts = cut(content.encode(), 1300)
    yield section.case(
        "text of 65536 bytes in fragments of 1300", fragments(Opcode.TEXT, parts), echoed(text(content))
    )
    yield section.case(
        "the same in TCP segments of 1460", Send(fragments(Opcode.TEXT, parts), 1460), echoed(text(content))
    )


def _order() -> Iterator[Case]:
    section = Section("10.2", "RFC 6455, 6.2")
    mixed = [text(f"text {index}") if index % 2 else binary(bytes_of(index * 13)) for index in range(60)]
    data = b"".join(encode(message.opcode, message.payload) for message in mixed)
    for segment in (0, 11, 100):
        how = f"in TCP segments of {segment}" if segment else "at once"
        yield section.case(f"60 messages of both types {how}", Send(data, segment), echoed(*mixed))
    sizes = (0, 70000, 1, 65536, 125, 126, 0, 30000, 2)
    messages = [binary(bytes_of(size)) for size in sizes]
    yield section.case(
        "large and small messages in turn",
        b"".join(binary_frame(message.payload) for message in messages),
        echoed(*messages),
    )
    parts = b"".join(fragments(message.opcode, cut(message.payload, 7)) for message in mixed)
    yield section.case("60 fragmented messages of both types", parts, echoed(*mixed))


def _content() -> Iterator[Case]:
    section = Section("10.3", "RFC 6455, 5.6")
    every_byte = bytes(range(256))
    yield section.case("every byte value", binary_frame(every_byte * 4), echoed(binary(every_byte * 4)))
    for name, content in {
        "line ends": "one\r\ntwo\nthree\r",
        "an HTTP request": "GET / HTTP/1.1\r\nHost: example\r\n\r\n",
        "JSON": '{"WebSocketPush": {"channel_id": 1, "message_type": "Text"}}',
        "nested JSON": '{"a": {"b": [1, 2, {"c": null}]}, "encrypted": false}',
        "markup": "<script>alert('&')</script>",
        "format directives": "%s %n {0} {} ${HOME} \\x00",
        "white space": "  \t ",
    }.items():
        yield section.case(f"text of {name}", text_frame(content), echoed(text(content)))
    frame = close(1001, "as content")
    yield section.case("a close frame as content of a binary", binary_frame(frame), echoed(binary(frame)))


def _after_a_fault() -> Iterator[Case]:
    """Nothing that comes after it may be answered (RFC 6455, section 7.1.7)."""
    section = Section("10.4", "RFC 6455, 7.1.7")
    faults = {
        "a reserved opcode": (encode(3), 1002),
        "a reserved bit": (encode(Opcode.TEXT, b"bad", rsv=2), 1002),
        "an unmasked frame": (encode(Opcode.TEXT, b"bad", mask=None), 1002),
        "a continuation of nothing": (continuation("bad"), 1002),
        "text that is not UTF-8": (text_frame(b"\xff"), 1007),
        "a ping of 126 bytes": (encode(Opcode.PING, bytes(126)), 1002),
    }
    for name, (fault, code) in faults.items():
        yield section.case(f"after {name}, a text", fault + text_frame("after"), failed(code))
        yield section.case(
            f"after {name}, a ping",
            fault + ping("after"),
            failed(code),
            failed(code, pongs=[b"after"], grade=Grade.NON_STRICT),
        )
        yield section.case(f"after {name}, a close frame", fault + close(1000), failed(code))
        yield section.case(
            f"after {name}, a megabyte: the close frame comes through",
            fault + binary_frame(bytes(65536)) * 16,
            failed(code),
        )
        yield section.case(
            f"the echo of a text, then {name} in TCP segments of 1",
            [Send(text_frame("good")), Await(messages=1), Send(fault, 1)],
            failed(code, messages=[text("good")]),
        )
