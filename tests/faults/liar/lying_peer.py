"""`lying_peer.py SOCKET NODE PROCESS KEYS`: another node, which lies. It connects to the socket of a joined node and
says what the lines of its standard input name: `{"tale": NAME}`, or `{"ask": true}`, which an honest node of another
name does. Each line is answered once the joined node has heard all of it.

KEYS are the private keys of the liar and the honest one, in hexadecimal.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[3]))

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.node_frames import CONTROL, FAILURE, PROCESSES, REQUEST, RESPONSE, HandMade, LyingNode

from guesthouse.core.capabilities import Capability
from guesthouse.kernel.capabilities.signed import sign
from guesthouse.kernel.cluster.services import MAX_MESSAGE

LIAR, HONEST = "liar.os", "honest.os"
SOURCE: Final = "guest:house:liar.os"
SERVER: Final = "http-server:distro:sys"
LOT: Final = 400
"""Frames of a tale that is told once."""
LARGE: Final = MAX_MESSAGE - 1024
PART: Final = 128 * 1024
TRICKLES: Final = 40
STRANGER: Final = Ed25519PrivateKey.generate()


class Liar:
    """What it says, as lists of frames."""

    def __init__(self, node: str, process: str, name: str, key: Ed25519PrivateKey) -> None:
        self.node, self.process, self.name, self.key = node, process, name, key
        self.unsent: list[bytes] = []
        self.lies = LyingNode(name, key, node, self.unsent.append)
        self._number = 0

    def number(self) -> int:
        """Another one each time."""
        self._number += 1
        return self._number

    def said(self, message: list[Any] | bytes, service: int = PROCESSES, *, more: bool = False) -> bytes:
        """The next frame of its session."""
        return self.lies.session.sealed(message, service, more=more)

    def in_parts(self, message: bytes) -> Iterator[bytes]:
        """A message in frames as the transport takes them."""
        for at in range(0, len(message), PART):
            yield self.said(message[at : at + PART], more=at + PART < len(message))

    def hello(self, key: Ed25519PrivateKey | None = None, **other: Any) -> bytes:
        """A Hello, but for what is named."""
        return HandMade(self.name, key or self.key, self.node).hello(**other)

    def altered(self) -> bytes:
        """A frame with the head of the next, and another body."""
        frame = self.lies.session.sealed([9], sequence=self.lies.session.sent)
        return frame[:-1] + bytes([frame[-1] ^ 1])

    def missing(self) -> bytes:
        """A frame behind one that is not sent."""
        self.lies.session.sent += 1
        return self.said(self.request("nobody:x:y"))

    def request(self, target: str, body: bytes = b"flood", **other: Any) -> list[Any]:
        """A request, by the names of its fields."""
        fields: dict[str, Any] = {
            "number": self.number(),
            "source": SOURCE,
            "expects": 5,
            "handed": [],
            "shown": [],
        }
        fields |= other
        head = [REQUEST, fields["number"], fields["source"], target, body, False, fields["expects"]]
        return [*head, None, None, b"blob", fields["handed"], fields["shown"]]

    def signed(self, issuer: str, params: str, holder: str) -> list[Any]:
        """A capability, signed by the liar."""
        made = sign(self.key, Capability.read(issuer, params), holder, time.time() + 60)
        return [made.issuer, made.params, made.holder, made.expires, made.signature]

    def forged(self, number: int) -> list[Any]:
        """A capability of a process of the node's, which the liar signed."""
        return self.signed(f"{self.node}@{self.process}", str(number), f"{LIAR}@{SOURCE}")

    def push(self, channel: int, *, own: bool) -> bytes:
        """A push to a channel, with a right that nobody gave."""
        fields = {"channel_id": channel, "message_type": "Text"}
        issuer = f"{LIAR}@{SOURCE}" if own else f"{self.node}@{self.process}"
        right = self.signed(issuer, json.dumps({"channel": channel}), f"{LIAR}@{SOURCE}")
        return self.said(
            self.request(
                SERVER, json.dumps({"WebSocketPush": fields}).encode(), shown=[right] * 32, handed=[right]
            )
        )

    def answer(self, number: int) -> bytes:
        """An answer to what it was not asked, which hands something over."""
        mine = self.signed(f"{LIAR}@{SOURCE}", '"messaging"', f"{self.node}@{self.process}")
        if number % 2:
            return self.said([RESPONSE, number, SOURCE, b"forged", None, None, b"blob", [mine] * 32])
        return self.said([FAILURE, number, "not-authorised", [f"{self.node}@{self.process}", '"messaging"']])


def lot(make: Callable[[int], bytes], count: int = LOT) -> Iterator[bytes]:
    return map(make, range(1, count + 1))


HEAP: Final = b"\xdd" + (LARGE - 300).to_bytes(4, "big") + b"\x90" * (LARGE - 300)
SHAPELESS: Final[list[Any]] = [
    [],
    [9],
    [REQUEST],
    [FAILURE, 1, "fun", None],
    [RESPONSE, "1"],
    b"\xc1",
    b"\x91" * 9999,
]
ACTIONS: Final = (b'{"WebSocketClose":7}', b"[" * 9999, b'{"Bind":{"path":"/x"}}', b'{"WebSocketPush":null}')
TALES: Final[dict[str, Callable[[Liar], Iterator[bytes]]]] = {
    "requests to nobody": lambda liar: lot(lambda n: liar.said(liar.request(f"nobody{n}:x:y"))),
    "requests to a process": lambda liar: lot(
        lambda n: liar.said(liar.request(liar.process, bytes(1000), number=0))
    ),
    "requests that wait for a year": lambda liar: lot(
        lambda n: liar.said(liar.request(liar.process, expects=2**63))
    ),
    "requests of nobody": lambda liar: lot(
        lambda n: liar.said(liar.request(liar.process, source=f"no id {n}"))
    ),
    "Hellos that are not signed": lambda liar: lot(lambda n: _unsigned(liar.hello())),
    "Hellos that are wrongly signed": lambda liar: lot(lambda n: liar.hello(STRANGER)),
    "Hellos of other nodes": lambda liar: lot(
        lambda n: liar.hello(sender=HONEST if n % 2 else f"node{n}.os")
    ),
    "Hellos to other nodes": lambda liar: lot(lambda n: liar.hello(receiver=f"node{n}.os")),
    "Hellos of another version": lambda liar: lot(
        lambda n: liar.hello(versions=(1 + n % 2 * 8, 2 + n % 2 * 8)), 4
    ),
    "Hellos without end": lambda liar: lot(lambda n: liar.hello()),
    "one Hello again and again": lambda liar: iter([liar.hello()] * LOT),
    "Hellos that say nothing": lambda liar: lot(lambda n: b"\x11" + bytes(n)),
    "frames that were sent before": lambda liar: iter([liar.said(liar.request("nobody:x:y"))] * LOT),
    "frames that were altered": lambda liar: lot(lambda n: liar.altered()),
    "frames of no session": lambda liar: lot(lambda n: b"\x13" + n.to_bytes(8, "big") + bytes(n)),
    "frames that are missing": lambda liar: lot(lambda n: liar.missing(), 3),
    "noise": lambda liar: lot(lambda n: (b"%d" % n) * n),
    "shapeless": lambda liar: lot(lambda n: liar.said(SHAPELESS[n % len(SHAPELESS)])),
    "shapeless control messages": lambda liar: lot(
        lambda n: liar.said(SHAPELESS[n % len(SHAPELESS)], CONTROL, more=n % 2 > 0)
    ),
    "credit without end": lambda liar: lot(lambda n: liar.said(["credit", 2**32 - 1], CONTROL)),
    "services that there are not": lambda liar: lot(lambda n: liar.said(b"x" * n, n % 11 + 3)),
    "messages that never end": lambda liar: lot(lambda n: liar.said(bytes(PART), n % 14 + 1, more=True)),
    "twenty million empty lists": lambda liar: chain(liar.in_parts(HEAP), liar.in_parts(b"\x91\x00" + HEAP)),
    "large and forged": lambda liar: iter([liar.altered() + bytes(PART)] * 160),
    "too large": lambda liar: liar.in_parts(b"\x00" * (MAX_MESSAGE + 1)),
    "larger than a transport takes": lambda liar: iter([liar.said(HEAP)]),
    "answers that nobody asked for": lambda liar: lot(liar.answer, 100),
    "pushes to channels of others": lambda liar: lot(lambda n: liar.push(n, own=n % 2 > 0), 100),
    "requests to the HTTP server": lambda liar: lot(
        lambda n: liar.said(liar.request(SERVER, ACTIONS[n % len(ACTIONS)]))
    ),
    "signatures that are forged": lambda liar: lot(
        lambda n: liar.said(liar.request(liar.process, number=0, handed=[liar.forged(n)] * 32)), 20
    ),
}
TRICKLE: Final = "byte by byte"


def _unsigned(hello: bytes) -> bytes:
    return hello[:1] + bytes(64) + hello[65:]


class Connection:
    """To the joined node, under some name."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, path: str, name: str) -> Connection:
        connection = cls(*await asyncio.open_unix_connection(path))
        await connection.send(name.encode())
        return connection

    async def send(self, data: bytes) -> None:
        self._writer.write(len(data).to_bytes(4, "little") + data)
        await self._writer.drain()

    async def trickle(self, data: bytes) -> None:
        for byte in data:
            self._writer.write(bytes([byte]))
            await asyncio.sleep(0.001)

    async def hear(self) -> bytes:
        size = int.from_bytes(await self._reader.readexactly(4), "little")
        return await self._reader.readexactly(size)

    def close(self) -> None:
        self._writer.close()


class Talk:
    """A session of one that lies, or does not, with the joined node."""

    def __init__(self, liar: Liar, connection: Connection) -> None:
        self.liar, self.connection = liar, connection

    async def hear(self) -> None:
        """Hear what the node says, for ever."""
        while True:
            self.liar.lies.incoming(await self.connection.hear())
            await self.send_unsent()

    async def be_there(self) -> None:
        """Ping now and then, for ever, or begin a session."""
        while True:
            if self.liar.lies.up:
                self.liar.lies.ping()
            else:
                self.liar.lies.begin()
            await self.send_unsent()
            await asyncio.sleep(0.4)

    async def send_unsent(self) -> None:
        while self.liar.unsent:
            await self.connection.send(self.liar.unsent.pop(0))

    async def up(self) -> None:
        """Return once there is a session."""
        await until(lambda: self.liar.lies.up)

    async def heard_out(self) -> None:
        """Return once the node has heard all so far: it answers what comes behind, in this session or the next."""
        heard = self.liar.lies.heard
        heard.clear()
        while True:
            await self.up()
            last, session = 2**63 + self.liar.number(), self.liar.lies.session
            await self.connection.send(self.liar.said(self.liar.request("nobody:x:y", number=last)))

            def answered(last: int = last) -> bool:
                return any(message[:2] == [FAILURE, last] for message in heard)

            def ended(session: HandMade = session) -> bool:
                return self.liar.lies.session is not session or not self.liar.lies.up

            await until(answered, ended)
            if answered():
                return


async def until(*true: Callable[[], bool]) -> None:
    """Return once one of these is true."""
    while not any(each() for each in true):  # noqa: ASYNC110 - what a frame brings is not an event
        await asyncio.sleep(0.002)


async def tell(talk: Talk, name: str, path: str) -> None:
    """Tell a tale once, and wait until all of it was heard."""
    await talk.up()
    if name == TRICKLE:
        slow = [await Connection.open(path, f"slow{number}.os") for number in range(TRICKLES)]
        data = msgspec.msgpack.encode(bytes(200))
        await asyncio.gather(*(each.trickle(b"\xff\x00\x00\x00" + data) for each in slow))
        for each in slow:
            each.close()
    else:
        for data in TALES[name](talk.liar):
            await talk.connection.send(data)
    await talk.heard_out()


async def answer_lines(path: str, lies: Talk, asks: Talk) -> None:
    """Do what the lines of standard input name."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        asked = json.loads(line)
        if "tale" in asked:
            await tell(lies, asked["tale"], path)
        else:
            await asks.heard_out()
        print("{}", flush=True)


async def main() -> None:
    path, node, process, *keys = sys.argv[1:]
    mine, honest = (Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)) for key in keys)
    lies = Talk(Liar(node, process, LIAR, mine), await Connection.open(path, LIAR))
    asks = Talk(Liar(node, process, HONEST, honest), await Connection.open(path, HONEST))
    talks = [asyncio.ensure_future(each) for talk in (lies, asks) for each in (talk.hear(), talk.be_there())]
    await answer_lines(path, lies, asks)
    for each in talks:
        each.cancel()


if __name__ == "__main__":
    asyncio.run(main())
