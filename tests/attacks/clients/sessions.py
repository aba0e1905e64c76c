"""Attacks by clients of resumable channels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from ...conformance import frames
from ...conformance.opening import Opening, Target
from ...resume_client import control
from .wire import SECONDS, Tally, Wire, dial, each

OFFER: Final = Opening().having("Sec-WebSocket-Protocol", "guesthouse.v1")
HUGE: Final = 2**53 - 1
_TOLD: Final = {
    "4011 another socket took over the session",
    "4008 no such session",
    "4012 too many failed resumes from this address",
}
_ECHOES: Final = 19
_STORM: Final = 20


def said(**fields: object) -> bytes:
    """A control message as a frame."""
    return frames.text(control(**fields))


async def _begun(wire: Wire, first: bytes) -> str:
    """Open a socket and say something first; the key of the session in the answer, empty without one."""
    await wire.open(OFFER)
    await wire.send(first)
    while not wire.heard.messages and not wire.heard.over:
        if not await wire.read():
            return ""
    return _key_in(wire)


def _key_in(wire: Wire) -> str:
    for message in wire.heard.messages:
        text = message.payload.decode(errors="replace")
        if text.startswith("\x10{"):
            return str(json.loads(text[1:]).get("session", ""))
    return ""


LIES: Final = {
    "acknowledges what was never sent": said(type="ack", received=1000),
    "acknowledges a huge count": said(type="ack", received=HUGE),
    "acknowledges more than counts hold": said(type="ack", received=HUGE + 1),
    "acknowledges less than nothing": said(type="ack", received=-1),
    "acknowledges no number": said(type="ack", received="1"),
    "has lost more than there can be": said(type="lost", count=HUGE) * 2,
    "opens twice": said(type="open"),
    "resumes within a session": said(type="resume", session="x", received=0),
    "says what nobody knows": said(type="x" * 1000),
    "says no JSON": frames.text("\x10{" + "[" * 4000),
    "says too much": frames.text("\x10{" + " " * 9000 + "}"),
}


async def _lie(wire: Wire, name: str) -> str:
    assert await _begun(wire, said(type="open"))
    await wire.send(LIES[name], frames.text("too late"))
    return await wire.outcome()


async def _guess(wire: Wire, name: str) -> str:
    guesses = {"guesses a key": "A" * 64, "guesses no key": "x", "guesses nothing": ""}
    await _begun(wire, said(type="resume", session=guesses[name], received=0))
    return await wire.outcome()


async def _storm(wire: Wire, _: str) -> str:
    """Many sockets resume one session at once: each but the last is told, and the last goes on."""
    key = await _begun(wire, said(type="open"))
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        others = [await stack.enter_async_context(dial(wire.target)) for _ in range(_STORM)]
        resume = said(type="resume", session=key, received=0)
        ends = {tasks.create_task(_resumed(each, resume)) for each in others}
        done: set[asyncio.Task[str]] = set()
        async with asyncio.timeout(SECONDS):
            while len(ends) > 1:
                ended, ends = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                done |= ended
        outcomes = {task.result() for task in done} - _TOLD
        for last in ends:
            last.cancel()
    return ", ".join(sorted(outcomes)) or "one session"


async def _resumed(wire: Wire, resume: bytes) -> str:
    """Resume, and say something; how the node closed the socket then, if it did."""
    if await _begun(wire, resume):
        await wire.send(frames.text("x"))
    while not wire.heard.over and await wire.read():
        pass
    return wire.said


async def _never(wire: Wire, _: str) -> str:
    """Have more sent than fits the outbox, acknowledge nothing, and be gone without a word."""
    assert await _begun(wire, said(type="open"))
    for _number in range(_ECHOES):
        await wire.send(frames.binary(bytes(60_000)))
    await wire.send(said(type="ping", data="end"))
    async with asyncio.timeout(SECONDS):
        while not wire.heard.over and not any(b'"pong"' in each.payload for each in wire.heard.messages):
            if not await wire.read():
                break
    wire.reset()
    return "kept within the outbox"


async def _leave(wire: Wire, _: str) -> str:
    """Open a session and be gone, which leaves the node to keep it."""
    assert await _begun(wire, said(type="open"))
    wire.reset()
    return "left"


_SHAPES: Final[dict[str, Callable[[Wire, str], Awaitable[str]]]] = {
    **dict.fromkeys(LIES, _lie),
    **dict.fromkeys(("guesses a key", "guesses no key", "guesses nothing"), _guess),
    "resumes from many sockets at once": _storm,
    "never acknowledges": _never,
    "opens sessions and leaves": _leave,
}


async def resumers(target: Target, count: int, leavers: int) -> Tally:
    """Lie, guess, come twice, never acknowledge, and leave: all at once."""

    async def one(name: str) -> str:
        async with dial(target) as wire:
            return await _SHAPES[name](wire, name)

    return await each([*list(_SHAPES) * count, *["opens sessions and leaves"] * leavers], one)
