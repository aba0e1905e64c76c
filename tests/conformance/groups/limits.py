"""Group 9: large messages, many messages, and those over the limit, which go by what their header says."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Await, Case, Section, Send, binary, echoed, failed, text
from ..frames import Opcode, continuation, cut, encode, fragments, ping
from ..frames import binary as binary_frame
from ..frames import text as text_frame
from ..opening import Target
from .payloads import bytes_of, text_of

_KIB = 1024
_LARGEST = 4096 * _KIB
_TOO_BIG = "RFC 6455, 7.4.1"
_SIZE = "RFC 6455, 10.4"


def cases(target: Target) -> Iterator[Case]:
    """Group 9."""
    yield from _large(min(target.max_message, _LARGEST))
    yield from _pieces(min(target.max_message, 256 * _KIB))
    yield from _many()
    yield from _too_large(target.max_message)
    yield from _too_large_in_all(target.max_message)
    yield from _many_fragments()


def _large(limit: int) -> Iterator[Case]:
    sizes = {size for size in (64 * _KIB, 256 * _KIB, 512 * _KIB, limit - 1, limit) if size <= limit}
    texts, binaries = Section("9.1", _SIZE), Section("9.2", _SIZE)
    for size in sorted(sizes):
        content = text_of(size)
        yield texts.case(f"text of {size} bytes", text_frame(content), echoed(text(content)))
        payload = bytes_of(size)
        yield binaries.case(f"binary of {size} bytes", binary_frame(payload), echoed(binary(payload)))


def _pieces(size: int) -> Iterator[Case]:
    content, payload = text_of(size), bytes_of(size)
    section = Section("9.3", "RFC 6455, 5.4")
    for piece in (256, 1024, 4096, 16384, 65536):
        yield section.case(
            f"text of {size} bytes in fragments of {piece}",
            fragments(Opcode.TEXT, cut(content.encode(), piece)),
            echoed(text(content)),
        )
        yield section.case(
            f"binary of {size} bytes in fragments of {piece}",
            fragments(Opcode.BINARY, cut(payload, piece)),
            echoed(binary(payload)),
        )
    section = Section("9.4", "RFC 6455, 5.2")
    for piece in (128, 997, 1460, 8192):
        yield section.case(
            f"text of {size} bytes in TCP segments of {piece}",
            Send(text_frame(content), piece),
            echoed(text(content)),
        )


def _many() -> Iterator[Case]:
    section = Section("9.5", _SIZE)
    for size, count in ((0, 500), (16, 1000), (64, 1000), (256, 500), (1024, 500), (4096, 200), (65536, 20)):
        content = text_of(size)
        yield section.case(
            f"{count} texts of {size} bytes at once",
            text_frame(content) * count,
            echoed(*[text(content)] * count),
        )
    for size, count in ((16, 500), (1024, 200), (16384, 20)):
        payload = bytes_of(size)
        yield section.case(
            f"{count} binaries of {size} bytes at once",
            binary_frame(payload) * count,
            echoed(*[binary(payload)] * count),
        )
    steps: list[Send | Await] = []
    for index in range(100):
        steps += [Send(text_frame(f"turn {index}")), Await(messages=index + 1)]
    yield section.case(
        "100 texts, each after the echo of the one before",
        steps,
        echoed(*[text(f"turn {index}") for index in range(100)]),
    )


def _too_large(limit: int) -> Iterator[Case]:
    """Only headers: a server that waits for the payload before it objects never gets it."""
    section = Section("9.6", _TOO_BIG)
    lengths = {limit + 1, limit + 2, 2 * limit, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1}
    for length in sorted(length for length in lengths if length > limit):
        for opcode in (Opcode.TEXT, Opcode.BINARY):
            yield section.case(
                f"{opcode.name.lower()} whose header says {length} bytes",
                encode(opcode, b"and no more", length=length),
                failed(1009),
                probe=False,
            )
    yield section.case(
        "too large, after the echo of a text",
        [Send(text_frame("good")), Await(messages=1), Send(encode(Opcode.BINARY, length=limit + 1))],
        failed(1009, messages=[text("good")]),
        probe=False,
    )
    yield section.case(f"a whole binary of {limit + 1} bytes", binary_frame(bytes(limit + 1)), failed(1009))
    yield section.case(
        "a header of 2^63-1 bytes in TCP segments of 1",
        Send(encode(Opcode.BINARY, length=2**63 - 1), 1),
        failed(1009),
        probe=False,
    )


def _too_large_in_all(limit: int) -> Iterator[Case]:
    section = Section("9.7", _TOO_BIG)
    half = bytes(limit // 2)
    rest = bytes(limit - len(half))
    first = binary_frame(half, fin=False)
    yield section.case(
        f"two fragments of {limit} bytes in all", first + continuation(rest), echoed(binary(half + rest))
    )
    yield section.case(
        f"two fragments of {limit + 1} bytes in all, the second only announced",
        first + encode(Opcode.CONTINUATION, length=len(rest) + 1),
        failed(1009),
        probe=False,
    )
    yield section.case(
        "a full message in fragments, then one more byte",
        first + continuation(rest, fin=False) + continuation("x"),
        failed(1009),
    )
    yield section.case(
        "pings within a full message do not count",
        first + ping("x" * 100) + continuation(rest),
        echoed(binary(half + rest), pongs=[b"x" * 100]),
    )
    yield section.case(
        "the size of one message does not count for the next",
        (first + continuation(rest)) * 2,
        echoed(*[binary(half + rest)] * 2),
    )


def _many_fragments() -> Iterator[Case]:
    """A server may limit the number of fragments, but then it says so."""
    section = Section("9.8", _SIZE)
    for count in (500, 1000, 5000, 50_000):
        payload = b"y" * count
        yield section.case(
            f"binary in {count} fragments of 1 byte",
            fragments(Opcode.BINARY, cut(payload, 1)),
            echoed(binary(payload)),
            failed(1009, 1008),
        )
    yield section.case(
        "50000 empty fragments, and no end",
        text_frame("", fin=False) + continuation("", fin=False) * 50_000,
        echoed(),
        failed(1009, 1008),
    )
