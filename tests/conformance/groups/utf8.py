"""Group 6: text is UTF-8, all of it, wherever it is cut; and nothing else has to be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from ..case import Await, Case, Grade, Section, Send, binary, echoed, failed, text
from ..frames import Opcode, continuation, cut, fragments, ping
from ..frames import binary as binary_frame
from ..frames import text as text_frame
from ..opening import Target

_EDGES: Final = (
    *(0x00, 0x01, 0x0A, 0x7E, 0x7F, 0x80, 0x81, 0xFF, 0x100, 0x7FE, 0x7FF, 0x800, 0x801, 0xFFF, 0x1000),
    *(0xCFFF, 0xD000, 0xD7FE, 0xD7FF, 0xE000, 0xE001, 0xFDD0, 0xFDEF, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF),
    *(0x10000, 0x10001, 0x1FFFE, 0x1FFFF, 0x3FFFF, 0x40000, 0xFFFFF, 0x100000, 0x10FFFE, 0x10FFFF),
)
"""The first and last code points of each length, beside the surrogates, and some that are no characters."""

_TEXTS: Final = {
    "Greek": "κόσμε",
    "Thai, three bytes each": "สวัสดีชาวโลก",
    "emoji with modifiers": "👩🏽‍🚀👨‍👩‍👧‍👦🏳️‍🌈",
    "combining characters": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "right to left": "שלום عالم",
    "a byte order mark at the start": "\ufeffmark",
    "a NUL in the middle": "before\0after",
    "all lengths in turn": "aß水𝄞" * 20,
}

_INVALID: Final = {
    "a continuation byte alone": b"\x80",
    "the last continuation byte alone": b"\xbf",
    "two continuation bytes": b"\x80\xbf",
    "a start byte of two, then a letter": b"\xc2 ",
    "a start byte of three, then a letter": b"\xe2 ",
    "two bytes of three, then a letter": b"\xe2\x82 ",
    "a start byte of four, then a letter": b"\xf0 ",
    "three bytes of four, then a letter": b"\xf0\x9f\x98 ",
    "a start byte of two, twice": b"\xc2\xc2\x80",
    "byte FE": b"\xfe",
    "byte FF": b"\xff",
    "byte F8, a start byte of five": b"\xf8\x88\x80\x80\x80",
    "byte FC, a start byte of six": b"\xfc\x84\x80\x80\x80\x80",
    "slash in two bytes": b"\xc0\xaf",
    "slash in three bytes": b"\xe0\x80\xaf",
    "slash in four bytes": b"\xf0\x80\x80\xaf",
    "NUL in two bytes": b"\xc0\x80",
    "U+007F in two bytes": b"\xc1\xbf",
    "U+07FF in three bytes": b"\xe0\x9f\xbf",
    "U+FFFF in four bytes": b"\xf0\x8f\xbf\xbf",
    "first high surrogate": b"\xed\xa0\x80",
    "last high surrogate": b"\xed\xaf\xbf",
    "first low surrogate": b"\xed\xb0\x80",
    "last low surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "U+110000": b"\xf4\x90\x80\x80",
    "U+13FFFF": b"\xf4\xbf\xbf\xbf",
    "byte F5": b"\xf5\x80\x80\x80",
    "ISO 8859-1": "Grüße".encode("latin-1"),
    "UTF-16 with its mark": "text".encode("utf-16"),
}

_TRUNCATED: Final = {
    "one byte of two": b"\xc3",
    "one byte of three": b"\xe2",
    "two bytes of three": b"\xe2\x82",
    "one byte of four": b"\xf0",
    "two bytes of four": b"\xf0\x9f",
    "three bytes of four": b"\xf0\x9f\x98",
}

_TEXT_RULE: Final = "RFC 6455, 5.6"
_FAIL_RULE: Final = "RFC 6455, 8.1"


def cases(target: Target) -> Iterator[Case]:
    """Group 6."""
    yield from _valid()
    yield from _invalid()
    yield from _truncated()
    yield from _early()
    yield from _elsewhere()


def _valid() -> Iterator[Case]:
    section = Section("6.1", _TEXT_RULE)
    for point in _EDGES:
        content = chr(point)
        yield section.case(f"U+{point:04X}", text_frame(content), echoed(text(content)))
    section = Section("6.2", _TEXT_RULE)
    for point in _EDGES[4:]:
        content = f"<{chr(point)}>"
        yield section.case(
            f"U+{point:04X}, each byte a fragment",
            fragments(Opcode.TEXT, cut(content.encode(), 1)),
            echoed(text(content)),
        )
    section = Section("6.3", _TEXT_RULE)
    for name, content in _TEXTS.items():
        encoded = content.encode()
        yield section.case(f"{name}, whole", text_frame(content), echoed(text(content)))
        yield section.case(
            f"{name}, each byte a fragment", fragments(Opcode.TEXT, cut(encoded, 1)), echoed(text(content))
        )
        yield section.case(
            f"{name}, each byte a TCP segment", Send(text_frame(content), 1), echoed(text(content))
        )
    points = chain(range(0xD800), range(0xE000, 0x10000), range(0x1F300, 0x1F600))
    every = "".join(map(chr, points))
    data = fragments(Opcode.TEXT, cut(every.encode(), 4093))
    yield section.case(
        "every character of the basic plane and more, in fragments of 4093", data, echoed(text(every))
    )


def _invalid() -> Iterator[Case]:
    whole, parts, segments, alone = (Section(f"6.{number}", _FAIL_RULE) for number in (4, 5, 6, 7))
    for name, bad in _INVALID.items():
        content = "good «".encode() + bad + "» good".encode()
        yield whole.case(name, text_frame(content), failed(1007))
        yield parts.case(
            f"{name}, each byte a fragment", fragments(Opcode.TEXT, cut(content, 1)), failed(1007)
        )
        yield segments.case(
            f"{name}, in TCP segments of 1, after a good text",
            [Send(text_frame("good")), Await(messages=1), Send(text_frame(content), 1)],
            failed(1007, messages=[text("good")]),
        )
        yield alone.case(f"{name}, alone, in two fragments", fragments(Opcode.TEXT, [bad, b""]), failed(1007))


def _truncated() -> Iterator[Case]:
    section = Section("6.8", _FAIL_RULE)
    for name, end in _TRUNCATED.items():
        content = b"ends with " + end
        yield section.case(f"text that ends after {name}", text_frame(content), failed(1007))
        yield section.case(
            f"text that ends after {name}, in fragments",
            fragments(Opcode.TEXT, [content[:3], content[3:], b""]),
            failed(1007),
        )
        yield section.case(
            f"text that ends after {name}, and its rest in the next text",
            text_frame(content) + text_frame("😀".encode()[len(end) :]),
            failed(1007),
        )


def _early() -> Iterator[Case]:
    """A server that looks at each fragment as it comes does not answer the ping after the bad one."""
    section = Section("6.9", _FAIL_RULE)
    late = b"too late"
    for name, bad in _INVALID.items():
        yield section.case(
            f"{name}: noticed in the first fragment",
            text_frame(b"good " + bad, fin=False) + ping(late) + continuation("the rest"),
            failed(1007),
            failed(1007, pongs=[late], grade=Grade.NON_STRICT),
        )
    for name, end in _TRUNCATED.items():
        yield section.case(
            f"{name}, then a letter in the next fragment: noticed there",
            text_frame(end, fin=False) + continuation("a", fin=False) + ping(late) + continuation("the rest"),
            failed(1007),
            failed(1007, pongs=[late], grade=Grade.NON_STRICT),
        )


def _elsewhere() -> Iterator[Case]:
    section = Section("6.10", "RFC 6455, 5.6")
    everything = b"".join(_INVALID.values())
    yield section.case("binary need not be UTF-8", binary_frame(everything), echoed(binary(everything)))
    yield section.case(
        "binary in fragments need not be UTF-8",
        fragments(Opcode.BINARY, cut(everything, 1)),
        echoed(binary(everything)),
    )
    yield section.case("a ping need not be UTF-8", ping(everything[:100]), echoed(pongs=[everything[:100]]))
    frame = text_frame("水", fin=False)
    yield section.case(
        "a ping that is not UTF-8 within a text",
        frame + ping(b"\xff") + continuation("水"),
        echoed(text("水水"), pongs=[b"\xff"]),
    )
    half = "水".encode()
    yield section.case(
        "a ping between two halves of a character",
        text_frame(half[:1], fin=False) + ping(b"\xff") + continuation(half[1:]),
        echoed(text("水"), pongs=[b"\xff"]),
    )
    yield section.case(
        "two texts after one another, each in halves of characters",
        fragments(Opcode.TEXT, [half[:1], half[1:]]) * 2,
        echoed(text("水"), text("水")),
    )
