"""Group 12: compressed messages, good and bad (RFC 7692, section 7.2)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from ..case import Await, Case, Grade, Message, Outcome, Say, Section, Send, binary, echoed, failed, text
from ..deflate import TAIL, Agreed, Deflater, offer
from ..frames import RSV1, Opcode, close, continuation, cut, encode, fragment_frames, fragments, ping
from ..frames import text as text_frame
from ..opening import Target
from .payloads import bytes_of, text_of

_OFFERS: Final = {
    "plain": offer(client_bits=True),
    "without takeover on either side": offer(
        server_no_takeover=True, client_no_takeover=True, client_bits=True
    ),
    "window of 9 bits for the server": offer(server_bits=9, client_bits=True),
    "windows of 15 bits": offer(server_bits=15, client_bits=15),
    "the best of three": ", ".join(
        (
            offer(server_no_takeover=True, server_bits=9, client_bits=True),
            offer(server_no_takeover=True, client_bits=True),
            offer(client_bits=True),
        )
    ),
}

_PLAIN: Final = offer(client_no_takeover=True, client_bits=True)
"""What the cases with frames made beforehand offer: each such message is compressed by itself."""

_SMALL: Final = Agreed(client_no_takeover=True, client_bits=9)
"""Compressed so, a message suits every window that a server can have agreed to, but one of 8 bits."""

_RULE: Final = "RFC 7692, 7.2"


def cases(target: Target) -> Iterator[Case]:
    """Group 12."""
    yield from _tables()
    yield from _examples()
    yield from _fragmented()
    yield from _mixed()
    yield from _final_blocks()
    yield from _wrong_bits()
    yield from _corrupt()
    yield from _not_utf8()
    yield from _bombs(target.max_message)


def deflated(payload: bytes) -> bytes:
    """A payload, compressed by itself."""
    return Deflater(_SMALL).compress(payload)


@cache
def zeros(size: int) -> bytes:
    """So many zeros, compressed by themselves: of a bomb this takes half a second."""
    return deflated(bytes(size))


def _json_of(size: int) -> Message:
    rows = [{"id": index, "name": f"row {index}", "open": index % 3 == 0} for index in range(size // 40 + 1)]
    return text(json.dumps(rows)[:size].ljust(size))


_KINDS: Final[dict[str, Callable[[int], Message]]] = {
    "prose": lambda size: text(text_of(size)),
    "JSON": _json_of,
    "noise": lambda size: binary(bytes_of(size)),
    "zeros": lambda size: binary(bytes(size)),
}


def _tables() -> Iterator[Case]:
    for number, (name, offered) in enumerate(_OFFERS.items(), 1):
        section = Section(f"12.{number}", _RULE)
        for kind, make in _KINDS.items():
            for size, count in ((0, 10), (16, 30), (128, 30), (1024, 20), (8192, 10), (65536, 3)):
                message = make(size)
                yield section.case(
                    f"{count} times {size} bytes of {kind}, offer: {name}",
                    [Say(message)] * count,
                    echoed(*[message] * count),
                    offer=offered,
                )


def _raw(section: Section, title: str, data: bytes, outcome: Outcome, *, segment: int = 0) -> Case:
    return section.case(title, Send(data, segment), outcome, offer=_PLAIN)


def _compressed(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    return encode(opcode, payload, fin=fin, rsv=RSV1)


def _examples() -> Iterator[Case]:
    """The RFC's own messages, byte for byte (RFC 7692, section 7.2.3)."""
    section = Section("12.6", "RFC 7692, 7.2.3")
    hello = bytes.fromhex("f248cdc9c90700")
    examples = {
        "one block": hello,
        "a block without compression": bytes.fromhex("000500faff48656c6c6f00"),
        "a final block": bytes.fromhex("f348cdc9c9070000"),
        "two blocks": bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", "")),
    }
    for name, payload in examples.items():
        yield _raw(section, f"'Hello' in {name}", _compressed(Opcode.TEXT, payload), echoed(text("Hello")))
    parts = fragments(Opcode.TEXT, [hello[:3], hello[3:]], rsv=RSV1)
    yield _raw(section, "'Hello' in two fragments", parts, echoed(text("Hello")))
    yield section.case(
        "the second 'Hello' refers to the first",
        _compressed(Opcode.TEXT, hello) + _compressed(Opcode.TEXT, bytes.fromhex("f200110000")),
        echoed(text("Hello"), text("Hello")),
        failed(1002, 1007, messages=[text("Hello")]),  # when the server asked for no takeover
        offer=offer(client_bits=True),
    )
    yield _raw(section, "an empty message", _compressed(Opcode.TEXT, b"\0"), echoed(text("")))
    yield _raw(
        section,
        "an empty message in two fragments",
        fragments(Opcode.BINARY, [b"\0", b""], rsv=RSV1),
        echoed(binary(b"")),
    )


def _fragmented() -> Iterator[Case]:
    section = Section("12.7", "RFC 7692, 7.2.1")
    for size, fragment in ((100, 1), (1000, 7), (8192, 128), (65536, 1000), (65536, 16384)):
        for message in (text(text_of(size)), binary(bytes_of(size))):
            kind = "text" if message.opcode == Opcode.TEXT else "binary"
            yield section.case(
                f"3 times {kind} of {size} bytes, compressed, in fragments of {fragment}",
                [Say(message, fragment)] * 3,
                echoed(*[message] * 3),
                offer=_OFFERS["plain"],
            )
    content = text_of(300)
    frames = fragment_frames(Opcode.TEXT, cut(deflated(content.encode()), 30), rsv=RSV1)
    whole = b"".join(frames)
    echo = echoed(text(content))
    yield _raw(section, "compressed fragments in TCP segments of 1", whole, echo, segment=1)
    with_pings = b"".join(frame + ping(f"{index}") for index, frame in enumerate(frames))
    pongs = [f"{index}".encode() for index in range(len(frames))]
    yield _raw(section, "pings between compressed fragments", with_pings, echoed(text(content), pongs=pongs))
    empty = fragments(Opcode.TEXT, [b"", deflated(content.encode()), b""], rsv=RSV1)
    yield _raw(section, "empty fragments around a compressed one", empty, echo)


def _mixed() -> Iterator[Case]:
    section = Section("12.8", "RFC 7692, 6")
    plain, packed = text("sent as it is"), text("sent compressed")
    packed_frame = _compressed(Opcode.TEXT, deflated(packed.payload))
    plain_frame = text_frame(plain.payload)
    yield _raw(section, "an uncompressed message", plain_frame, echoed(plain))
    yield _raw(
        section,
        "compressed and uncompressed messages in turn",
        (packed_frame + plain_frame) * 5,
        echoed(*[packed, plain] * 5),
    )
    parts = fragments(Opcode.TEXT, [b"not ", b"compressed"])
    yield _raw(section, "an uncompressed message in fragments", parts, echoed(text("not compressed")))
    yield section.case(
        "uncompressed messages do not enter the window",
        [Say(packed), Await(messages=1), Say(packed), Say(packed)],
        echoed(*[packed] * 3),
        offer=_OFFERS["plain"],
    )
    for level in (0, 1, 9):
        encoder = zlib.compressobj(level, zlib.DEFLATED, -9)
        data = encoder.compress(text_of(5000).encode()) + encoder.flush(zlib.Z_SYNC_FLUSH)
        frame = _compressed(Opcode.TEXT, data[:-4])
        yield _raw(section, f"compressed at level {level}", frame, echoed(text(text_of(5000))))
    yield _raw(
        section, "a ping and a close frame are not compressed", ping("plain"), echoed(pongs=[b"plain"])
    )


def _final_blocks() -> Iterator[Case]:
    """A sender may set BFINAL; what comes after such a block counts all the same (RFC 7692, section 7.2.3.4)."""
    section = Section("12.9", "RFC 7692, 7.2.3.4")
    final = bytes.fromhex("f348cdc9c9070000")
    frame = _compressed(Opcode.TEXT, final)
    yield _raw(section, "two messages that end in a final block", frame * 2, echoed(*[text("Hello")] * 2))
    after = _compressed(Opcode.TEXT, deflated(b"after"))
    yield _raw(
        section, "after a final block, another message", frame + after, echoed(text("Hello"), text("after"))
    )
    yield section.case(
        "with takeover: after a final block, another message",
        frame + after,
        echoed(text("Hello"), text("after")),
        offer=offer(),
    )
    yield section.case(
        "with takeover: five final blocks", frame * 5, echoed(*[text("Hello")] * 5), offer=offer()
    )
    yield section.case(
        "with takeover: after a final block, a message that refers to it",
        frame + _compressed(Opcode.TEXT, bytes.fromhex("f200110000")),
        echoed(text("Hello"), text("Hello")),
        failed(1002, 1007, messages=[text("Hello")], grade=Grade.NON_STRICT),
        offer=offer(),
    )
    stopped = final.removesuffix(b"\0")
    for name, offered in (("without", _PLAIN), ("with", offer())):
        yield section.case(
            f"{name} takeover: two final blocks in one message",
            _compressed(Opcode.TEXT, stopped + final),
            echoed(text("HelloHello")),
            offer=offered,
        )
        yield section.case(
            f"{name} takeover: a final block in each fragment",
            fragments(Opcode.TEXT, [stopped, stopped, final], rsv=RSV1),
            echoed(text("HelloHelloHello")),
            offer=offered,
        )
    parts = fragments(Opcode.TEXT, [final[:4], final[4:]], rsv=RSV1)
    yield _raw(section, "a final block in two fragments", parts + after, echoed(text("Hello"), text("after")))


def _wrong_bits() -> Iterator[Case]:
    section = Section("12.10", "RFC 7692, 6")
    data = deflated(b"compressed")
    wrong = {
        "RSV1 in a continuation": _compressed(Opcode.TEXT, data[:4], fin=False)
        + continuation(data[4:], rsv=RSV1),
        "RSV1 only in a continuation": text_frame("plain", fin=False) + continuation(data, rsv=RSV1),
        "RSV1 in a ping": _compressed(Opcode.PING, b"ping"),
        "RSV1 in a pong": _compressed(Opcode.PONG, b"pong"),
        "RSV1 in a close frame": _compressed(Opcode.CLOSE, b"\x03\xe8"),
        "RSV1 in a compressed ping": _compressed(Opcode.PING, deflated(b"ping")),
        "RSV1 in a reserved opcode": _compressed(3, data),
    }
    for rsv in (1, 2, 3, 5, 6, 7):
        wrong[f"reserved bits {rsv:03b} in a text"] = encode(Opcode.TEXT, data, rsv=rsv)
    for name, frame in wrong.items():
        yield _raw(section, name, frame, failed(1002))


def _corrupt() -> Iterator[Case]:
    section = Section("12.11", "RFC 7692, 7.2.2")
    wrong = {
        "a reserved block type": b"\x07",
        "a block whose two lengths differ": bytes.fromhex("000500ffff48656c6c6f00"),
        "a reference before the start": bytes.fromhex("f200110000"),
        "ones": b"\xff" * 64,
        "noise": b"\x05" + bytes_of(200),
        "a zlib header": zlib.compress(b"not raw"),
        "a broken dynamic block": b"\x04\xff\xff\xff\xff\xff",
        "good data, then a reserved block type": deflated(b"good")[:-1] + b"\x06" + b"\xff" * 8,
    }
    for name, payload in wrong.items():
        for opcode in (Opcode.TEXT, Opcode.BINARY):
            frame = _compressed(opcode, payload)
            yield _raw(section, f"{opcode.name.lower()} of {name}", frame, failed(1002, 1007))
    bad = b"\x07"
    parts = fragments(Opcode.BINARY, [bad, b"", b""], rsv=RSV1)
    yield _raw(section, "corrupt data in fragments", parts, failed(1002, 1007))
    good = _compressed(Opcode.TEXT, deflated(b"good"))
    yield section.case(
        "corrupt data after the echo of a text",
        [Send(good), Await(messages=1), Send(_compressed(Opcode.TEXT, bad))],
        failed(1002, 1007, messages=[text("good")]),
        offer=_PLAIN,
    )


def _not_utf8() -> Iterator[Case]:
    section = Section("12.12", "RFC 6455, 8.1")
    for name, bad in (
        ("byte FF", b"\xff"),
        ("half a character", b"\xe2\x82"),
        ("a surrogate", b"\xed\xa0\x80"),
    ):
        data = deflated(b"compressed " + bad)
        yield _raw(section, f"compressed text with {name}", _compressed(Opcode.TEXT, data), failed(1007))
        parts = fragments(Opcode.TEXT, cut(data, 3), rsv=RSV1)
        yield _raw(section, f"compressed text with {name}, in fragments", parts, failed(1007))
    content = "水😀" * 10
    parts = fragments(Opcode.TEXT, cut(deflated(content.encode()), 1), rsv=RSV1)
    yield _raw(section, "compressed text, each byte a fragment", parts, echoed(text(content)))
    data = deflated(b"\xff\xfe")
    yield _raw(
        section,
        "compressed binary of anything",
        _compressed(Opcode.BINARY, data),
        echoed(binary(b"\xff\xfe")),
    )


def _bombs(limit: int) -> Iterator[Case]:
    """What a message becomes counts, not what it was sent as."""
    section = Section("12.13", "RFC 7692, 8")
    full = _compressed(Opcode.BINARY, zeros(limit))
    yield _raw(section, f"{limit} zeros, the most there may be", full, echoed(binary(bytes(limit))))
    for size in (limit + 1, 2 * limit, 16 * limit):
        data = zeros(size)
        for opcode in (Opcode.TEXT, Opcode.BINARY):
            frame = _compressed(opcode, data)
            yield _raw(
                section, f"{opcode.name.lower()} of {size} zeros in {len(data)} bytes", frame, failed(1009)
            )
    data = zeros(2 * limit)
    parts = fragments(Opcode.BINARY, cut(data, 200), rsv=RSV1)
    yield _raw(section, f"{2 * limit} zeros in fragments of 200", parts, failed(1009))
    half = zeros(limit // 2)
    more = fragments(Opcode.BINARY, [half + TAIL, half + TAIL + half], rsv=RSV1)
    yield _raw(section, "a small fragment, then one that is too large with it", more, failed(1009))
    full = fragments(Opcode.BINARY, [zeros(limit) + TAIL, data], rsv=RSV1)
    yield _raw(section, "a fragment that is full, then a bomb", full, failed(1009))
    encoder = zlib.compressobj(wbits=-9)
    final = encoder.compress(b"harmless") + encoder.flush()
    hidden = _compressed(Opcode.BINARY, final + zeros(16 * limit))
    yield _raw(section, "a bomb behind a final block", hidden, failed(1009))
    yield section.case(
        "a hundred thousand final blocks with nothing in them, then a text",
        _compressed(Opcode.TEXT, b"\x03\x00" * 100_000 + deflated(b"after")),
        echoed(text("after")),
        failed(1002, 1007, 1008, 1009),
        offer=_PLAIN,
    )
    yield _raw(
        section, "a bomb, then a ping and a close frame", parts + ping("after") + close(), failed(1009)
    )
