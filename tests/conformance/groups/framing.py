"""Group 1: frames of every length, masked with every kind of key, cut anywhere by TCP."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Case, Grade, Section, Send, binary, echoed, failed, text
from ..frames import LengthForm, Opcode, encode, fragments, ping
from ..frames import binary as binary_frame
from ..frames import text as text_frame
from ..opening import Target
from .payloads import bytes_of, text_of

_SIZES = (0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 1000, 65534, 65535, 65536, 65537)
_SEGMENTS = (1, 2, 3, 5, 7, 13)


def cases(target: Target) -> Iterator[Case]:
    """Group 1."""
    yield from _sizes()
    yield from _segments()
    yield from _masks()
    yield from _unmasked()
    yield from _long_forms()
    yield from _false_lengths()


def _sizes() -> Iterator[Case]:
    section = Section("1.1", "RFC 6455, 5.2")
    for size in _SIZES:
        content = text_of(size)
        yield section.case(f"text of {size} bytes", text_frame(content), echoed(text(content)))
    section = Section("1.2", "RFC 6455, 5.2")
    for size in _SIZES:
        content_bytes = bytes_of(size)
        yield section.case(
            f"binary of {size} bytes", binary_frame(content_bytes), echoed(binary(content_bytes))
        )


def _segments() -> Iterator[Case]:
    section = Section("1.3", "RFC 6455, 5.2")
    for size in (5, 126):
        content = text_of(size)
        for segment in _SEGMENTS:
            yield section.case(
                f"text of {size} bytes in TCP segments of {segment}",
                Send(text_frame(content), segment),
                echoed(text(content)),
            )
    content_bytes = bytes_of(65536)
    for segment in (997, 1460, 4096, 65535):
        yield section.case(
            f"binary of 65536 bytes in TCP segments of {segment}",
            Send(binary_frame(content_bytes), segment),
            echoed(binary(content_bytes)),
        )
    many = [f"message {index}" for index in range(20)]
    data = b"".join(map(text_frame, many))
    for segment in (0, 1, 9, 16):
        how = f"in TCP segments of {segment}" if segment else "in one TCP segment"
        yield section.case(f"20 texts {how}", Send(data, segment), echoed(*map(text, many)))


def _masks() -> Iterator[Case]:
    section = Section("1.4", "RFC 6455, 5.3")
    content = "masked by a key of the client's choice"
    for key in ("00000000", "ffffffff", "00ff00ff", "01020304", "80808080", "00000001", "fffefdfc"):
        frame = encode(Opcode.TEXT, content.encode(), mask=bytes.fromhex(key))
        yield section.case(f"text with masking key {key}", frame, echoed(text(content)))
    for size in range(1, 9):
        payload = bytes(range(size))
        yield section.case(
            f"binary of {size} bytes that masking turns into zeros",
            encode(Opcode.BINARY, payload, mask=payload[:4].ljust(4, b"\0")),
            echoed(binary(payload)),
        )
    keys = [bytes((index, 255 - index, index * 7 % 256, 3)) for index in range(10)]
    yield section.case(
        "10 texts, each with a key of its own",
        b"".join(encode(Opcode.TEXT, content.encode(), mask=key) for key in keys),
        echoed(*[text(content)] * 10),
    )


def _unmasked() -> Iterator[Case]:
    section = Section("1.5", "RFC 6455, 5.1")
    frames = {
        "text": encode(Opcode.TEXT, b"plain", mask=None),
        "empty text": encode(Opcode.TEXT, mask=None),
        "binary": encode(Opcode.BINARY, b"plain", mask=None),
        "binary of 126 bytes": encode(Opcode.BINARY, bytes(126), mask=None),
        "ping": encode(Opcode.PING, b"plain", mask=None),
        "pong": encode(Opcode.PONG, b"plain", mask=None),
        "close": encode(Opcode.CLOSE, b"\x03\xe8", mask=None),
    }
    for name, frame in frames.items():
        yield section.case(f"unmasked {name}", frame, failed(1002))
    first, second = b"masked", encode(Opcode.CONTINUATION, b" and not", mask=None)
    yield section.case(
        "unmasked continuation of a masked text",
        encode(Opcode.TEXT, first, fin=False) + second,
        failed(1002),
    )
    yield section.case(
        "masked text, then an unmasked one",
        text_frame("masked") + encode(Opcode.TEXT, b"plain", mask=None),
        failed(1002, messages=[text("masked")]),
    )
    yield section.case(
        "unmasked text in TCP segments of 1",
        Send(encode(Opcode.TEXT, b"plain", mask=None), 1),
        failed(1002),
    )


def _long_forms() -> Iterator[Case]:
    """The shortest form is a MUST for the sender; a receiver may let it pass."""
    section = Section("1.6", "RFC 6455, 5.2")
    forms: tuple[tuple[int, LengthForm], ...] = (
        (0, 16),
        (5, 16),
        (125, 16),
        (0, 64),
        (5, 64),
        (126, 64),
        (65535, 64),
    )
    for size, form in forms:
        payload = bytes_of(size)
        yield section.case(
            f"binary whose length of {size} is written in {form} bits",
            encode(Opcode.BINARY, payload, form=form),
            failed(1002),
            echoed(binary(payload), grade=Grade.NON_STRICT),
        )
    control: tuple[LengthForm, ...] = (16, 64)
    for form in control:
        yield section.case(
            f"ping whose length of 5 is written in {form} bits",
            encode(Opcode.PING, b"12345", form=form),
            failed(1002),
            echoed(pongs=[b"12345"], grade=Grade.NON_STRICT),
        )


def _false_lengths() -> Iterator[Case]:
    section = Section("1.7", "RFC 6455, 5.2")
    for length in (2**63, 2**63 + 5, 2**64 - 1):
        yield section.case(
            f"length of {length:#x}, whose most significant bit is set",
            encode(Opcode.BINARY, b"only this", length=length),
            failed(1002, 1009),
            probe=False,
        )
    yield section.case(
        "a frame shorter than its payload: the rest is read as the next frame",
        encode(Opcode.BINARY, b"\xff" * 64, length=8, mask=bytes(4)),
        failed(1002, messages=[binary(b"\xff" * 8)]),
        probe=False,
    )
    inner = ping("swallowed")
    yield section.case(
        "a frame longer than its payload takes the next frame's bytes as its own",
        encode(Opcode.BINARY, b"", length=len(inner), mask=bytes(4)) + inner,
        echoed(binary(inner)),
    )
    inner = fragments(Opcode.TEXT, [b"not ", b"frames"])
    yield section.case("frames as payload are payload", binary_frame(inner), echoed(binary(inner)))
