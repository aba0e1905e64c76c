"""Mutations of seeds: the same for the same name, everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

MOST_BYTES: Final = 64 * 1024

_ODD: Final = (
    *(
        b"",
        b"\0",
        b"\xff",
        b"\r\n",
        b"\n",
        b"/",
        b"..",
        b"%2e%2e%2f",
        b"%00",
        b"\\",
        b":",
        b"@",
        b";",
        b"=",
        b'"',
    ),
    *(
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xef\xbf\xbe",
        b"\\ud800",
        "é".encode(),
        b"\xe2\x80\xae",
    ),
    *(
        b"[" * 2000,
        b"{" * 500,
        b"[[[[",
        b"]]",
        b"null",
        b"true",
        b"NaN",
        b"1e999",
        b"-0",
        b"18446744073709551616",
    ),
    *(
        b"\x7f\xff\xff\xff",
        b"\x80\x00\x00\x00",
        b"\xff" * 8,
        b"\x00" * 8,
        b"\x9f\x9f\x9f",
        b"\xdf",
        b"\xc2\xff",
    ),
    *(b"9" * 400, b"a" * 300, b"-1", b"4294967296", b"0x10", b"chunked", b"http://", b"127.0.0.1"),
)
_EDGES: Final = (0, 1, 2, 125, 126, 127, 128, 254, 255)


def mutations(name: str, seeds: Sequence[bytes], count: int) -> Iterator[bytes]:
    """`count` inputs made of a target's seeds."""
    random = Random(name)
    for _ in range(count):
        data = bytearray(random.choice(seeds)) if seeds else bytearray()
        for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
            _mutate(random, data, seeds)
        yield bytes(data[:MOST_BYTES])


def _mutate(random: Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.choice((1, 2, 4, 16, 64)))
    match random.randrange(9):
        case 0 if data:
            data[at % len(data)] ^= 1 << random.randrange(8)
        case 1 if data:
            data[at % len(data)] = random.choice(_EDGES)
        case 2:
            data[at:at] = random.choice(_ODD)
        case 3:
            data[at:end] = random.choice(_ODD)
        case 4:
            del data[at:end]
        case 5:
            del data[at:]
        case 6:
            data[at:at] = data[at:end] * random.choice((1, 2, 50))
        case 7 if seeds:
            other = random.choice(seeds)
            start = random.randrange(len(other) + 1)
            data[at:] = other[start:]
        case _:
            data[at:at] = random.randbytes(random.choice((1, 2, 8)))
