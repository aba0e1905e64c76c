"""Attacks before there is a channel."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Final

from ...conformance import frames
from ...conformance.opening import KEY, Opening, Target
from .wire import Tally, Wire, dial, each

_DRIP_SECONDS: Final = 0.1
_COOKIE: Final = "kinode-auth_e2e-node.os"


async def slow_heads(target: Target, count: int) -> Tally:
    """Send upgrade requests byte by byte, and never their end."""

    async def one(_: str) -> str:
        async with dial(target) as wire:
            head = Opening().having("X-Filler", "x" * 4096).request(target, None)
            return await wire.drip((bytes((byte,)) for byte in head), _DRIP_SECONDS)

    return await each(["a head"] * count, one, at_once=count)


async def slow_bodies(target: Target, count: int) -> Tally:
    """Get an answer to a request whose body is still to come, then drip that body, or empty lines."""

    async def one(name: str) -> str:
        length = "Content-Length: 100000\r\n" if name == "a body that nobody wants" else ""
        async with dial(target) as wire:
            await wire.send(f"GET /login HTTP/1.1\r\nHost: {target.host}\r\n{length}\r\n".encode())
            return await wire.drip(itertools.repeat(b"\r\n"), _DRIP_SECONDS)

    names = ["a body that nobody wants", "empty lines after an answer"]
    return await each(names * (count // 2), one, at_once=count)


async def slow_registers(target: Target, count: int, process: str) -> Tally:
    """Open WebSockets and do not register: say nothing, or drip the message in fragments of a byte."""
    message = json.dumps({"auth_token": "x" * 2000, "target_process": process}).encode()

    def fragments() -> Iterator[bytes]:
        yield frames.text(message[:1], fin=False)
        for byte in message[1:]:
            yield frames.continuation(bytes((byte,)), fin=False)

    def pings() -> Iterator[bytes]:
        return itertools.repeat(frames.ping(b"still here"))

    async def one(name: str) -> str:
        async with dial(Target(target.host, target.port)) as wire:
            await wire.open()
            if name == "silence":
                return await wire.outcome()
            return await wire.drip(fragments() if name == "fragments" else pings(), _DRIP_SECONDS)

    return await each(["silence", "fragments", "pings"] * (count // 3), one, at_once=count)


async def crowd(target: Target, count: int) -> Tally:
    """Connect and ask, all at the same moment; once all are answered, leave at the same moment, without a word."""
    nowhere = Target(target.host, target.port, "/nobody:at:home.os/")
    register = Target(target.host, target.port)
    answered = asyncio.Barrier(count)

    async def one(name: str) -> str:
        async with dial(register if name == "the register form" else nowhere) as wire:
            status = await wire.open()
            await answered.wait()
            wire.reset()
            return str(status)

    return await each(["the register form", "a path that nobody bound"] * (count // 2), one, at_once=count)


async def registers(target: Target, count: int, process: str, tokens: dict[str, str]) -> Tally:
    """Register again and again with each of the tokens, and break off."""

    async def one(name: str) -> str:
        async with dial(Target(target.host, target.port)) as wire:
            await wire.open()
            await wire.send(frames.text(json.dumps({"auth_token": tokens[name], "target_process": process})))
            if name == "right":
                return await _registered(wire)
            return await wire.outcome()

    return await each(list(tokens) * count, one)


async def _registered(wire: Wire) -> str:
    data = await wire.reader.read(4096)
    wire.reset()
    return "a channel" if b'{"channel_id": ' in data else repr(data)


async def upgrades(target: Target, count: int, headers: dict[str, list[list[str]]], path: str) -> Tally:
    """Ask for the path of logins, with each set of headers; everything else is in order."""
    closed = Target(target.host, target.port, target.path.removesuffix("public") + path)

    async def one(name: str) -> str:
        opening = Opening()
        for header, value in headers[name]:
            opening = opening.having(header, value)
        async with dial(closed) as wire:
            return str(await wire.open(opening))

    return await each(list(headers) * count, one)


def _upgrade(target: Target, *lines: str, path: str | None = None) -> str:
    return "\r\n".join(
        (
            f"GET {target.path if path is None else path} HTTP/1.1",
            *lines,
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            "",
            "",
        )
    )


def requests(target: Target) -> dict[str, bytes]:
    """Heads that another server might read differently, by name. Behind each is a request for what is secret."""
    host = f"Host: {target.host}:{target.port}"
    hidden = f"GET /login?hidden HTTP/1.1\r\n{host}\r\n\r\n"
    plain = f"GET /login HTTP/1.1\r\n{host}\r\n"
    post = f"POST /login HTTP/1.1\r\n{host}\r\n"
    texts = {
        "length and encoding": f"{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        "two lengths": f"{post}Content-Length: 0\r\nContent-Length: 60\r\n\r\n{hidden}",
        "a list of lengths": f"{post}Content-Length: 0, 60\r\n\r\n{hidden}",
        "a signed length": f"{post}Content-Length: +0\r\n\r\n{hidden}",
        "a length over 64 bits": f"{post}Content-Length: 18446744073709551616\r\n\r\n{hidden}",
        "an unknown encoding": f"{post}Transfer-Encoding: xchunked\r\n\r\n{hidden}",
        "an encoding twice": f"{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}",
        "an encoding after a space": f"{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}",
        "a chunk size with a sign": f"{post}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{hidden}",
        "a folded header": f"{plain}X-Folded: one\r\n two\r\n\r\n{hidden}",
        "bare line feeds": f"{plain}\r\n{hidden}".replace("\r\n", "\n"),
        "a bare carriage return": f"{plain}X-Bare: a\rb\r\n\r\n{hidden}",
        "a NUL in a header": f"{plain}X-Nul: a\0b\r\n\r\n{hidden}",
        "no colon": f"{plain}no colon here\r\n\r\n{hidden}",
        "a space in a name": f"{plain}X Space: 1\r\n\r\n{hidden}",
        "two hosts": f"{plain}Host: elsewhere.example\r\n\r\n",
        "no host": "GET /login HTTP/1.1\r\n\r\n",
        "an absolute target": f"GET http://elsewhere.example/login HTTP/1.1\r\n{host}\r\n\r\n",
        "an absolute target of its own": (
            f"GET http://{target.host}:{target.port}/login HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"
        ),
        "HTTP/0.9": "GET /login\r\n\r\n",
        "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a method in lower case": f"get /login HTTP/1.1\r\n{host}\r\n\r\n",
        "TLS": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\x00" * 32,
        "a huge target": f"GET /{'a' * 70_000} HTTP/1.1\r\n{host}\r\n\r\n",
        "a huge header": f"{plain}X-Huge: {'a' * 70_000}\r\n\r\n",
        "a huge name": f"{plain}{'a' * 70_000}: 1\r\n\r\n",
        "ten thousand headers": plain + "a: b\r\n" * 10_000 + "\r\n",
        "upgrade: requests behind it": _upgrade(target, host) + hidden * 3,
        "upgrade: a body": _upgrade(target, host, f"Content-Length: {len(hidden)}") + hidden,
        "upgrade: two hosts": _upgrade(target, host, "Host: elsewhere.example"),
        "upgrade: two keys": _upgrade(target, host, f"Sec-WebSocket-Key: {KEY}"),
        "upgrade: two versions": _upgrade(target, host, "Sec-WebSocket-Version: 8"),
        "upgrade: a short key": _upgrade(target, host).replace(KEY, "c2hvcnQ="),
        "upgrade: by POST": _upgrade(target, host).replace("GET", "POST", 1),
        "upgrade: HTTP/1.0": _upgrade(target, host).replace("HTTP/1.1", "HTTP/1.0"),
        "upgrade: to nothing, requests behind it": _upgrade(target, host, path="/nobody:at:home.os/") + hidden * 3,
        "upgrade: to h2c": f"{plain}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n{hidden}",
        "upgrade: a folded header": _upgrade(target, host, "X-Folded: one\r\n two"),
        "upgrade: ten thousand headers": _upgrade(target, host, *["a: b"] * 10_000),
        "upgrade: a huge header": _upgrade(target, host, f"X-Huge: {'a' * 70_000}"),
        "upgrade: a cookie of a thousand parts": _upgrade(
            target, host, f"Cookie: {'; '.join(['a=1'] * 1000)}", path=target.path.removesuffix("public")
        ),
        "upgrade: two hundred tokens": _upgrade(
            target, host, f"Cookie: {'; '.join([_COOKIE + '=a.b.c'] * 200)}", path=target.path.removesuffix("public")
        ),
    }  # fmt: skip
    return {name: text.encode("latin-1") for name, text in texts.items()}


async def odd_requests(target: Target, count: int) -> Tally:
    """Send each of the odd requests; the statuses of all answers, and the close code when there is a channel."""
    sent = requests(target)

    async def one(name: str) -> str:
        async with dial(target) as wire:
            await wire.send(sent[name])
            data = await wire.all_bytes()
            return _answers(wire, data)

    return await each(list(sent) * count, one)


def _answers(wire: Wire, data: bytes) -> str:
    statuses = [
        line.split(b" ", 2)[1].decode() for line in data.split(b"\r\n") if line.startswith(b"HTTP/1.")
    ]
    if statuses == ["101"]:
        wire.heard.receive(data)
        return f"101, then {wire.said}"
    return ", ".join(statuses) or "nothing"
