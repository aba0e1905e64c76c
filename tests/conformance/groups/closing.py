"""Group 7: close frames with every code and reason, and what comes after them."""

from __future__ import annotations

from collections.abc import Iterator

from ..case import Await, Case, Closed, Ended, Grade, HalfClose, Outcome, Section, Send, echoed, failed, text
from ..frames import Opcode, close, continuation, encode, ping
from ..frames import text as text_frame
from ..opening import Target
from .payloads import text_of

_VALID = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3001, 3999, 4000, 4001, 4999)
_REGISTERED_LATER = (1012, 1013, 1014)
_FORBIDDEN = (0, 1, 500, 999, 1005, 1006, 1015)
"""Below 1000, or never to be on the wire (section 7.4.1)."""
_UNDEFINED = (1004, 1016, 1017, 1100, 1999, 2000, 2999, 5000, 5001, 9999, 65535)
"""A server may not know what they will mean, but no one may send them now (section 7.4.2)."""

_HANDSHAKE = "RFC 6455, 5.5.1"
_CODES = "RFC 6455, 7.4"


def cases(target: Target) -> Iterator[Case]:
    """Group 7."""
    yield from _sequences()
    yield from _codes()
    yield from _reasons()
    yield from _malformed()
    yield from _without_close()


def _answers(*codes: int | None, grade: Grade = Grade.OK) -> Outcome:
    return Outcome(Closed(codes), grade=grade)


def _sequences() -> Iterator[Case]:
    section = Section("7.1", _HANDSHAKE)
    yield section.case("close at once", [], echoed())
    yield section.case(
        "text, its echo, close", [Send(text_frame("bye")), Await(messages=1)], echoed(text("bye"))
    )
    after = {
        "another close frame": close(1000, "again"),
        "a close frame with another code": close(1001),
        "a text": text_frame("late"),
        "a ping": ping("late"),
        "an unfinished text": text_frame("late", fin=False),
        "a text that is not UTF-8": text_frame(b"\xff"),
        "a frame of a reserved opcode": encode(5, b"late"),
        "an unmasked frame": encode(Opcode.TEXT, b"late", mask=None),
        "a continuation of nothing": continuation("late"),
        "65536 bytes": text_frame(text_of(65536)),
    }
    for name, frame in after.items():
        yield section.case(f"after the close frame, {name}", [], echoed(), closing=close() + frame)
    yield section.case(
        "close frame in TCP segments of 1",
        Send(close(1000, "slowly"), 1),
        echoed(),
        closing=b"",
    )
    yield section.case("ping, its pong, close", [Send(ping("a")), Await(pongs=1)], echoed(pongs=[b"a"]))


def _codes() -> Iterator[Case]:
    section = Section("7.2", _CODES)
    other = _answers(1000, grade=Grade.NON_STRICT)
    yield section.case("close frame without a code", [], _answers(None, 1000), closing=close(None))
    for code in (*_VALID, *_REGISTERED_LATER):
        yield section.case(f"close code {code}", [], _answers(code), other, closing=close(code))
    for code in (1000, 1001, 3000, 4999):
        yield section.case(
            f"close code {code} with a reason", [], _answers(code), other, closing=close(code, "because")
        )
    section = Section("7.3", _CODES)
    for code in _FORBIDDEN:
        yield section.case(f"forbidden close code {code}", close(code), failed(1002))
        yield section.case(f"forbidden close code {code} with a reason", close(code, "because"), failed(1002))
    section = Section("7.4", _CODES)
    for code in _UNDEFINED:
        lax = _answers(code, 1000, None, grade=Grade.NON_STRICT)
        yield section.case(f"undefined close code {code}", [], failed(1002), lax, closing=close(code))


def _reasons() -> Iterator[Case]:
    section = Section("7.5", _HANDSHAKE)
    reasons = {
        "of 1 byte": "a",
        "of 122 bytes": "b" * 122,
        "of 123 bytes, the longest": "c" * 123,
        "of 123 bytes in Greek": "ά" * 61 + ".",
        "with emoji": "👋🏽 bye",
        "with a NUL": "by\0e",
    }
    for name, reason in reasons.items():
        yield section.case(f"reason {name}", [], echoed(), closing=close(1000, reason))
    section = Section("7.6", "RFC 6455, 7.1.6")
    bad = {
        "that is not UTF-8": b"\xff\xfe",
        "that ends within a character": b"bye \xe2\x82",
        "with a surrogate": b"\xed\xa0\x80",
        "with an overlong slash": b"\xc0\xaf",
        "of 123 bytes, the last one bad": b"d" * 122 + b"\x80",
    }
    for name, content in bad.items():
        yield section.case(f"reason {name}", close(1000, content), failed(1007, 1002))


def _malformed() -> Iterator[Case]:
    section = Section("7.7", _HANDSHAKE)
    yield section.case("close frame with half a code", encode(Opcode.CLOSE, b"\x03"), failed(1002))
    for size in (124, 125, 1000, 65534):
        yield section.case(
            f"close frame with a reason of {size} bytes", close(1000, "e" * size), failed(1002)
        )
    yield section.case(
        "close frame that claims 2^62 bytes",
        encode(Opcode.CLOSE, b"\x03\xe8", length=2**62),
        failed(1002, 1009),
        probe=False,
    )
    yield section.case("close frame without FIN", encode(Opcode.CLOSE, b"\x03\xe8", fin=False), failed(1002))
    yield section.case(
        "malformed close frame after the echo of a text",
        [Send(text_frame("good")), Await(messages=1), Send(encode(Opcode.CLOSE, b"\x03"))],
        failed(1002, messages=[text("good")]),
    )


def _without_close() -> Iterator[Case]:
    """Our end of TCP is closed, without a close frame."""
    section = Section("7.8", "RFC 6455, 7.1.5")
    unfinished = {
        "at once": b"",
        "after a text": text_frame("whole"),
        "within a header": b"\x81",
        "within a masking key": text_frame("key")[:4],
        "within a payload": text_frame("payload")[:-2],
        "within a message": text_frame("message", fin=False),
        "after a ping": ping("alive"),
    }
    for name, data in unfinished.items():
        messages = (text("whole"),) if name == "after a text" else ()
        pongs = (b"alive",) if name == "after a ping" else ()
        yield section.case(
            f"TCP closed {name}",
            [Send(data), HalfClose()] if data else [HalfClose()],
            Outcome(Ended(), messages, pongs),
            closing=b"",
        )
