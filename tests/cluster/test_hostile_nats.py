"""What stands between NATS and a client in these tests reads the protocol as it is, and changes what it is told to."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from nats.aio.msg import Msg
from tests.e2e.waiting import until

from .harness.hostile_nats import Attacker, Message, ToClient
from .harness.links import Link
from .servers import connected, running

STREAM = (
    b'INFO {"server_id":"x"}\r\nPING\r\nMSG a.b 1 3\r\na\r\n\r\n'
    b"HMSG a.b 2 reply.to 12 14\r\nNATS/1.0\r\n\r\nhi\r\n+OK\r\nMSG c 3 inbox 0\r\n\r\n-ERR 'x'\r\n"
)
READ = [
    b'INFO {"server_id":"x"}\r\n',
    b"PING\r\n",
    Message(b"a.b", b"1", b"", b"", b"a\r\n"),
    Message(b"a.b", b"2", b"reply.to", b"NATS/1.0\r\n\r\n", b"hi"),
    b"+OK\r\n",
    Message(b"c", b"3", b"inbox", b"", b""),
    b"-ERR 'x'\r\n",
]


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_is_taken_apart_wherever_it_is_cut_and_is_the_same_again(seed: int) -> None:
    chance, reading, found = Random(seed), ToClient(), list[Message | bytes]()
    rest = STREAM
    while rest:
        size = chance.randint(1, 20)
        found += reading.feed(rest[:size])
        rest = rest[size:]
    assert found == READ
    assert b"".join(each if isinstance(each, bytes) else each.written() for each in found) == STREAM


async def test_a_client_of_a_real_server_gets_what_the_attacker_makes_of_it(tmp_path: Path) -> None:
    attacker = Attacker(alter=lambda subject, payload: [payload, b"forged"] if subject == "x" else [payload])
    got: list[bytes] = []

    async def take(message: Msg) -> None:
        got.append(message.data)

    async def all_of_it() -> list[bytes]:
        return got

    async with running(tmp_path, 1) as servers, Link(servers[0].port) as link:
        link.filters = attacker.filters
        async with connected(f"nats://127.0.0.1:{link.port}") as client:
            await client.jetstream().account_info()
            await client.subscribe("x", cb=take)
            await client.publish("x", b"one" * 20_000)
            await client.publish("x", b"")
            await until(all_of_it, lambda found: len(found) == 4, "not everything arrived")
    assert got == [b"one" * 20_000, b"forged", b"", b"forged"]
    assert attacker.altered == 2
    assert list(attacker.seen)[-1] == ("x", b"")
