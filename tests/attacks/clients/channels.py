"""Attacks on an open channel."""

from __future__ import annotations

import asyncio
import itertools
import zlib
from typing import Final

from ...conformance import frames
from ...conformance.deflate import NAME, TAIL
from ...conformance.frames import RSV1, Opcode
from ...conformance.opening import Target
from .wire import SECONDS, Tally, Wire, dial, each

OVER: Final = 2**20 + 1
"""More bytes than a message may have."""
_FLOODED_SECONDS: Final = 50.0
_HELD_SECONDS: Final = 1.5
_BAD_UTF8: Final = {
    "a lone continuation byte": b"\x80",
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xe0\x80\x80",
    "a surrogate": b"\xed\xa0\x80",
    "over U+10FFFF": b"\xf4\x90\x80\x80",
    "never a byte of UTF-8": b"\xff",
    "cut within a character": b"\xe2\x82",
}


def broken_frames() -> dict[str, bytes]:
    """Every frame that is wrong by its first two bytes, and lengths that lie, by name."""
    found = {}
    for opcode, rsv in itertools.product(range(16), range(8)):
        if rsv or opcode not in (0, 1, 2, 8, 9, 10):
            found[f"opcode {opcode}, reserved bits {rsv:03b}"] = frames.encode(opcode, b"x", rsv=rsv)
    for opcode in (1, 2, 9, 10):
        found[f"opcode {opcode}, not masked"] = frames.encode(opcode, b"x", mask=None)
    for opcode in (8, 9, 10):
        found[f"opcode {opcode}, 126 bytes"] = frames.encode(opcode, b"x" * 126)
        found[f"opcode {opcode}, fragmented"] = frames.encode(opcode, b"", fin=False)
    return found | {
        "a continuation of nothing": frames.continuation("x"),
        "a message within a message": frames.text("a", fin=False) + frames.text("b"),
        "5 bytes in a length of 16 bits": frames.encode(1, b"12345", form=16),
        "5 bytes in a length of 64 bits": frames.encode(1, b"12345", form=64),
        "a length of 2^63": frames.encode(2, b"", length=2**63, form=64),
        "a length of 2^64 - 1": frames.encode(2, b"", length=2**64 - 1, form=64),
        "a length over the limit": frames.encode(2, b"", length=OVER),
        "fragments over the limit": frames.binary(b"x" * 2**19, fin=False)
        + frames.continuation(b"x" * 2**19 + b"x", fin=False),
        "fragments without end": frames.text("x", fin=False) + frames.continuation("x", fin=False) * 1100,
        "empty fragments without end": frames.text("", fin=False) + frames.continuation("", fin=False) * 1100,
    }


def bad_texts() -> dict[str, list[bytes]]:
    """Text that is not UTF-8, by name: whole, in fragments cut at each byte, and compressed. Frames by themselves."""
    found = {}
    for name, bad in _BAD_UTF8.items():
        content = "ok € ".encode() + bad + (b"" if name.startswith("cut") else b" ok")
        found[f"{name}, whole"] = [frames.text(content)]
        found[f"{name}, in fragments"] = frames.fragment_frames(Opcode.TEXT, frames.cut(content, 1))
        found[f"{name}, compressed"] = [frames.text(deflated(content), rsv=RSV1)]
        pieces = frames.cut(deflated(content), 1)
        found[f"{name}, compressed, in fragments"] = frames.fragment_frames(Opcode.TEXT, pieces, rsv=RSV1)
    return found


def deflated(content: bytes) -> bytes:
    """A message's payload, compressed within the window that the node asks for."""
    encoder = zlib.compressobj(9, zlib.DEFLATED, -12)
    return (encoder.compress(content) + encoder.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def bombs() -> dict[str, bytes]:
    """What is a thousand times as large as it looks, by name."""
    over, most = deflated(bytes(2 * OVER)), deflated(bytes(OVER - 64))
    return {
        "over the limit": frames.binary(over, rsv=RSV1),
        "over the limit, text": frames.text(over, rsv=RSV1),
        "over the limit, in fragments": frames.fragments(Opcode.BINARY, frames.cut(over, 64), rsv=RSV1),
        "in many final blocks": frames.binary(b"\x03\x00" * 5000, rsv=RSV1),
        "no DEFLATE": frames.binary(b"\xff" * 512, rsv=RSV1),
        "never finished": frames.binary(most, fin=False, rsv=RSV1),
    }


async def broken(target: Target, count: int) -> Tally:
    """Send each broken frame on a channel of its own, with a good one behind it that must not be answered."""
    return await _send_each(target, {name: [data] for name, data in broken_frames().items()}, count)


async def texts(target: Target, count: int) -> Tally:
    """Send each text that is none."""
    return await _send_each(target, bad_texts(), count, NAME)


async def explosions(target: Target, count: int) -> Tally:
    """Send each bomb; those that never go off are held for as long as the node lets them be."""
    sent = bombs()

    async def one(name: str) -> str:
        async with dial(target) as wire:
            await wire.open(offered=NAME)
            await wire.send(sent[name])
            return await wire.outcome(_HELD_SECONDS if name == "never finished" else SECONDS)

    return await each(list(sent) * count, one, at_once=len(sent) * count)


async def _send_each(
    target: Target, sent: dict[str, list[bytes]], count: int, offered: str | None = None
) -> Tally:
    async def one(name: str) -> str:
        async with dial(target) as wire:
            await wire.open(offered=offered)
            await wire.send(*sent[name], frames.text("too late"))
            outcome = await wire.outcome()
            return outcome if not wire.heard.messages else f"{outcome}, after {wire.heard.messages}"

    return await each(list(sent) * count, one)


async def floods(target: Target, count: int, messages: int) -> Tally:
    """Send as fast as the node takes it: pings, one-byte messages, fragments; then close in order."""
    shapes = {
        "pings": frames.ping(),
        "long pings": frames.ping(b"x" * 125),
        "pongs": frames.pong(),
        "one-byte messages": frames.text("x"),
        "two-fragment messages": frames.text("x", fin=False) + frames.continuation("y"),
    }

    async def one(name: str) -> str:
        async with dial(target) as wire, asyncio.TaskGroup() as tasks:
            await wire.open()
            ending = tasks.create_task(wire.outcome(_FLOODED_SECONDS))
            await wire.send(shapes[name] * messages, frames.close())
            return await ending

    return await each(list(shapes) * count, one)


async def half_open(target: Target, count: int) -> Tally:
    """Say nothing more and read nothing, as when the network is gone. Never close."""

    async def one(_: str) -> str:
        async with dial(target) as wire:
            await wire.open()
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined] # of a socket's transport
            return await _ended(wire)

    return await each(["a socket that says nothing more"] * count, one, at_once=count)


async def _ended(wire: Wire) -> str:
    """Wait until the node has ended the connection."""
    try:
        async with asyncio.timeout(20):
            while not _is_reset(wire):  # noqa: ASYNC110 - a socket that is not read tells nobody
                await asyncio.sleep(0.05)
    except TimeoutError:
        return "left open"
    return "cut off"


def _is_reset(wire: Wire) -> bool:
    """Whether the kernel knows that the other end is gone: its state is no longer ESTABLISHED (tcp(7), TCP_INFO)."""
    import socket

    info: bytes = wire.writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    established = 1
    return info[0] != established


CLOSINGS: Final = {
    "in order": frames.close(1000, "bye"),
    "without a status": frames.close(None),
    "with status 1005": frames.close(1005),
    "with status 999": frames.close(999),
    "with half a status": frames.encode(Opcode.CLOSE, b"\x03"),
    "with a reason that is not UTF-8": frames.close(1000, b"\xff"),
    "in order, twice": frames.close() * 2,
    "by FIN": b"",
    "by RST": b"",
}


async def closing_storm(target: Target, count: int) -> Tally:
    """Open many channels, and end all of them at the same moment, each in one of many ways."""
    names = list(itertools.islice(itertools.cycle(CLOSINGS), count))
    ready = asyncio.Barrier(count)

    async def one(name: str) -> str:
        async with dial(target) as wire:
            await wire.open()
            await wire.send(frames.text("answered or not"))
            await ready.wait()
            if name == "by RST":
                wire.reset()
                return "cut off"
            if name == "by FIN":
                wire.writer.write_eof()
            else:
                await wire.send(CLOSINGS[name])
            return await wire.outcome()

    return await each(names, one, at_once=count)
