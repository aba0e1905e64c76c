"""What clients have begun and not finished is bounded for all of them together."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass

import pytest
from msgspec.structs import replace as replaced
from tests.patience import PATIENCE

from guesthouse.core.config import ConnectionLimits
from guesthouse.http_server.state.partial_messages import FREE, PartialMessages
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, House, Start, masked, until, upgrade_request

BIG = 4 * FREE


@dataclass(eq=False)
class Client:
    closed: bool = False

    def make_room(self) -> None:
        self.closed = True


def test_who_has_not_finished_for_the_longest_makes_room() -> None:
    unfinished, clients = PartialMessages(4 * BIG), [Client() for _ in range(6)]
    for client in clients[:4]:
        unfinished.note(client, BIG)
    unfinished.note(clients[0], BIG, restarted=True)  # it finished one, and began another
    unfinished.note(clients[4], BIG)
    assert [client.closed for client in clients] == [False, True, False, False, False, False]
    unfinished.note(clients[2], 0)
    unfinished.note(clients[5], BIG)
    assert sum(client.closed for client in clients) == 1
    assert unfinished.total == 4 * BIG


def test_little_is_free_and_too_much_of_one_client_is_its_own_loss() -> None:
    unfinished, client, other = PartialMessages(BIG), Client(), Client()
    for _ in range(1000):
        unfinished.note(Client(), FREE)
    assert unfinished.total == 0
    unfinished.note(client, BIG + 1)
    assert client.closed
    unfinished.note(other, BIG)
    assert not other.closed
    unfinished.note(other, FREE)
    assert unfinished.total == 0


@pytest.mark.parametrize("compressed", [False, True])
async def test_messages_that_never_end_are_given_up_oldest_first(start: Start, compressed: bool) -> None:
    house: House = await start(replaced(ConnectionLimits(), unfinished_bytes=3 * BIG))
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    encoder = zlib.compressobj(9, zlib.DEFLATED, -12)
    small = (encoder.compress(bytes(BIG - 64)) + encoder.flush(zlib.Z_SYNC_FLUSH)).removesuffix(
        b"\0\0\xff\xff"
    )
    sent = masked(0x42, small) if compressed else masked(0x02, bytes(BIG - 64))
    offer = ["Sec-WebSocket-Extensions: permessage-deflate"] if compressed else []
    clients = []
    for number in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", house.server.port)
        writer.write(upgrade_request(f"/{CHAT}/", house.server.port, *offer))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(sent)
        clients.append((reader, writer))
        expected = min(number + 1, 3) * (BIG - 64)
        await until(lambda expected=expected: house.server._context.unfinished.total == expected)  # type: ignore[misc]
    for reader, _ in clients[:2]:
        frame = await asyncio.wait_for(reader.read(), PATIENCE)
        assert frame[2:4] == (1013).to_bytes(2, "big"), frame
    for _, writer in clients[2:]:
        writer.write(masked(0x80, b""))
    for _, writer in clients:
        writer.close()
    await until(lambda: not house.server._context.connections)
    assert house.server._context.unfinished.total == 0
    assert house.chat.pushes == 3
