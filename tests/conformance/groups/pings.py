"""Group 2: pings are answered, pongs are not."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Await, Case, Section, Send, binary, echoed, failed, text
from ..frames import Opcode, encode, ping, pong
from ..frames import binary as binary_frame
from ..frames import text as text_frame
from ..opening import Target
from .payloads import bytes_of

_SIZES = (0, 1, 2, 3, 4, 5, 64, 123, 124, 125)
_TOO_LONG = (126, 127, 1000, 65536)


def cases(target: Target) -> Iterator[Case]:
    """Group 2."""
    yield from _single()
    yield from _too_long()
    yield from _several()
    yield from _pongs()
    yield from _beside_data()


def _single() -> Iterator[Case]:
    section = Section("2.1", "RFC 6455, 5.5.2")
    for size in _SIZES:
        payload = bytes_of(size)
        yield section.case(f"ping of {size} bytes", ping(payload), echoed(pongs=[payload]))
    section = Section("2.2", "RFC 6455, 5.5.2")
    odd = {
        "text": b"Hello",
        "bytes that are not UTF-8": b"\xfe\xff\x80\xc0",
        "zeros": bytes(20),
        "all ones": b"\xff" * 125,
        "something like a frame": ping("inner"),
    }
    for name, payload in odd.items():
        yield section.case(f"ping of {name}", ping(payload), echoed(pongs=[payload]))
    for segment in (1, 3):
        payload = bytes_of(125)
        yield section.case(
            f"ping of 125 bytes in TCP segments of {segment}",
            Send(ping(payload), segment),
            echoed(pongs=[payload]),
        )


def _too_long() -> Iterator[Case]:
    section = Section("2.3", "RFC 6455, 5.5")
    for name, opcode in (("ping", Opcode.PING), ("pong", Opcode.PONG)):
        for size in _TOO_LONG:
            yield section.case(f"{name} of {size} bytes", encode(opcode, bytes(size)), failed(1002))
    yield section.case(
        "ping of 126 bytes in TCP segments of 1", Send(encode(Opcode.PING, bytes(126)), 1), failed(1002)
    )


def _several() -> Iterator[Case]:
    """A server may answer only the last of several pings."""
    section = Section("2.4", "RFC 6455, 5.5.3")
    for count in (2, 10, 100):
        payloads = [f"ping {index}".encode() for index in range(count)]
        yield section.case(f"{count} pings at once", b"".join(map(ping, payloads)), echoed(pongs=payloads))
    payloads = [f"ping {index}".encode() for index in range(10)]
    yield section.case(
        "10 pings in TCP segments of 1", Send(b"".join(map(ping, payloads)), 1), echoed(pongs=payloads)
    )
    steps: list[Send | Await] = []
    for index, payload in enumerate(payloads):
        steps += [Send(ping(payload)), Await(pongs=index + 1)]
    yield section.case("10 pings, each after the pong before", steps, echoed(pongs=payloads))


def _pongs() -> Iterator[Case]:
    section = Section("2.5", "RFC 6455, 5.5.3")
    for size in (0, 1, 125):
        yield section.case(f"unasked pong of {size} bytes is passed over", pong(bytes_of(size)), echoed())
    yield section.case("10 unasked pongs are passed over", pong("unasked") * 10, echoed())
    yield section.case("unasked pong, then a ping", pong("unasked") + ping("asked"), echoed(pongs=[b"asked"]))
    yield section.case(
        "ping, then an unasked pong with the same payload",
        ping("same") + pong("same"),
        echoed(pongs=[b"same"]),
    )
    yield section.case(
        "unasked pong, then a text", pong("unasked") + text_frame("hello"), echoed(text("hello"))
    )
    yield section.case(
        "unasked pong in TCP segments of 1, then a text",
        [Send(pong("unasked"), 1), Send(text_frame("hello"))],
        echoed(text("hello")),
    )


def _beside_data() -> Iterator[Case]:
    section = Section("2.6", "RFC 6455, 5.5.2")
    content = bytes_of(300)
    data, control = binary_frame(content), ping("beside")
    echo = echoed(binary(content), pongs=[b"beside"])
    yield section.case("ping, then a message", control + data, echo)
    yield section.case("message, then a ping", data + control, echo)
    yield section.case(
        "ping after the echo of a message", [Send(data), Await(messages=1), Send(control)], echo
    )
    yield section.case("message after the pong", [Send(control), Await(pongs=1), Send(data)], echo)
    texts = [f"text {index}" for index in range(10)]
    payloads = [f"ping {index}".encode() for index in range(10)]
    pairs = b"".join(
        ping(payload) + text_frame(content) for payload, content in zip(payloads, texts, strict=True)
    )
    for segment in (0, 1):
        how = f"in TCP segments of {segment}" if segment else "at once"
        yield section.case(
            f"10 pings and 10 texts in turn, {how}",
            Send(pairs, segment),
            echoed(*map(text, texts), pongs=payloads),
        )
