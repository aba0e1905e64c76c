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
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[3]))

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.node_frames import FAILURE, REQUEST, RESPONSE, frame, read

from guesthouse.core.capabilities import Capability
from guesthouse.kernel.capabilities.signed import sign
from guesthouse.kernel.cluster.envelopes import MAX_ENVELOPE

LIAR, HONEST = "liar.os", "honest.os"
SOURCE: Final = "guest:house:liar.os"
SERVER: Final = "http-server:distro:sys"
LOT: Final = 400
"""Frames of a tale that is told once."""
LARGE: Final = MAX_ENVELOPE - 1024
TRICKLES: Final = 40
STRANGER: Final = Ed25519PrivateKey.generate()


class Liar:
    """What it says, as lists of frames."""

    def __init__(self, node: str, process: str, key: Ed25519PrivateKey) -> None:
        self.node, self.process, self.key = node, process, key
        self._number = 0

    def number(self) -> int:
        """Another one each time."""
        self._number += 1
        return self._number

    def said(self, message: list[Any] | bytes, **other: Any) -> bytes:
        """An envelope of its own, but for what is named."""
        fields: dict[str, Any] = {"sender": LIAR, "receiver": self.node, "key": self.key, **other}
        return frame(fields.pop("sender"), fields.pop("receiver"), message, fields.pop("key"), **fields)

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
    "unsigned": lambda liar: lot(lambda n: _unsigned(liar.said(liar.request(liar.process)))),
    "wrongly signed": lambda liar: lot(lambda n: liar.said(liar.request(liar.process), key=STRANGER)),
    "of other nodes": lambda liar: lot(
        lambda n: liar.said(liar.request(liar.process), sender=HONEST if n % 2 else f"node{n}.os")
    ),
    "to other nodes": lambda liar: lot(
        lambda n: liar.said(liar.request(liar.process), receiver=f"node{n}.os")
    ),
    "replayed": lambda liar: iter([liar.said(liar.request("nobody:x:y"))] * LOT),
    "another body under a head": lambda liar: iter(
        [read(liar.said(liar.request("nobody:x:y"))).saying([9]).written()] * LOT
    ),
    "of another version": lambda liar: lot(
        lambda n: liar.said(liar.request(liar.process), version=1 + n % 2 * 2)
    ),
    "too old": lambda liar: lot(lambda n: liar.said(liar.request(liar.process), expires=time.time() - 100)),
    "noise": lambda liar: lot(lambda n: (b"%d" % n) * n),
    "shapeless": lambda liar: lot(lambda n: liar.said(SHAPELESS[n % len(SHAPELESS)])),
    "twenty million empty lists": lambda liar: iter([liar.said(HEAP), liar.said(b"\x91\x00" + HEAP)]),
    "large and wrongly signed": lambda liar: iter([liar.said(HEAP, key=STRANGER)] * 4),
    "too large": lambda liar: iter([liar.said(b"\x00" * (MAX_ENVELOPE + 1))] * 2),
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


def _unsigned(data: bytes) -> bytes:
    taken = read(data)
    return data[: len(taken.head())] + bytes(64) + taken.body


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

    async def failed(self, number: int) -> None:
        """Return once it hears that this request of its failed; all else is passed over."""
        while True:
            size = int.from_bytes(await self._reader.readexactly(4), "little")
            message = read(await self._reader.readexactly(size)).message
            if message[:2] == [FAILURE, number]:
                return

    def close(self) -> None:
        self._writer.close()


async def tell(liar: Liar, name: str, path: str, connection: Connection) -> None:
    """Tell a tale once, and wait until all of it was heard: what comes behind it is answered."""
    last = 2**63 + liar.number()
    heard = asyncio.ensure_future(connection.failed(last))
    if name == TRICKLE:
        slow = [await Connection.open(path, f"slow{number}.os") for number in range(TRICKLES)]
        data = msgspec.msgpack.encode(bytes(200))
        await asyncio.gather(*(each.trickle(b"\xff\x00\x00\x00" + data) for each in slow))
        for each in slow:
            each.close()
    else:
        for data in TALES[name](liar):
            await connection.send(data)
    await connection.send(liar.said(liar.request("nobody:x:y", number=last)))
    await heard


async def main() -> None:
    path, node, process, *keys = sys.argv[1:]
    mine, honest = (Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)) for key in keys)
    liar, other = Liar(node, process, mine), Liar(node, process, honest)
    lies, asks = await Connection.open(path, LIAR), await Connection.open(path, HONEST)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        asked = json.loads(line)
        if "tale" in asked:
            await tell(liar, asked["tale"], path, lies)
        else:
            number = other.number()
            heard = asyncio.ensure_future(asks.failed(number))
            await asks.send(other.said(other.request("nobody:x:y", number=number), sender=HONEST))
            await heard
        print("{}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
