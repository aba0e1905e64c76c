"""Guests whose calls are all well formed: too many of them, or with what belongs to others."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.patience import tried_again

from guesthouse.control.control_client import CommandRefused
from guesthouse.package.build.build_package import build_package

from ...e2e.clients import Client, registered
from ...e2e.waiting import until
from ..harness import CLIENTS_PER_NEIGHBOUR, NEIGHBOURS, Attack, Scene, neighbour
from .attackers import SUITE, installed

pytestmark = pytest.mark.asyncio(loop_scope="module")

MOST_PROCESSES: Final = 40
SPAWN: Final[dict[str, str]] = {"process": "kernel:distro:sys", "params": "spawn"}


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    return {
        "process_cpu_seconds_per_message": 20,
        "process_mailbox_bytes": 2**20,
        "package_processes": MOST_PROCESSES,
    }


@dataclass(frozen=True, slots=True)
class Raider:
    """An installed raider, which does what it is told."""

    scene: Scene
    id: str

    async def do(self, word: str) -> str:
        """What it answers."""
        (response,) = await self.scene.ask("send", address=self.id, body=word, seconds=60)
        body: str = response["body"]
        return body


@asynccontextmanager
async def raider(scene: Scene, **keys: Any) -> AsyncIterator[Raider]:
    """A raider between its installation and its end."""
    wasm = build_package(Path(__file__).with_name("raider")) / "build/raider.wasm"
    async with installed(scene, "raider", wasm.read_bytes(), **keys) as process_id:
        yield Raider(scene, process_id)


@asynccontextmanager
async def raid(scene: Scene, title: str, gets: str = "", **keys: Any) -> AsyncIterator[tuple[Raider, Attack]]:
    """A raider that attacks all through the block."""
    async with raider(scene, **keys) as attacker, scene.attack(SUITE, title, attacker.id) as attack:
        attack.gets = gets
        yield attacker, attack


@tried_again
async def test_a_guest_that_spawns_thousands_gets_its_packages_limit(scene: Scene) -> None:
    async with raider(scene, request_capabilities=[SPAWN]) as attacker:
        before = await scene.figures()
        async with scene.attack(SUITE, "thousands of spawned children", attacker.id) as attack:
            started, refused = map(int, (await attacker.do("spawn 3000")).split())
            assert (started, refused) == (MOST_PROCESSES - 1, 3000 - started)
            attack.gets = f"{started} children, and `too-many` for the other {refused}"
            children = [name for name in await scene.ps() if "raider:test.os" in name and name != attacker.id]
            assert len(children) == started
            for child in children:
                await scene.ask("stop", process=child)
        assert (await scene.figures()).processes == before.processes


@tried_again
async def test_a_flood_of_log_lines_is_counted_and_made_harmless(scene: Scene) -> None:
    async with raid(scene, "log flood", "200 lines a second; the rest are counted") as (attacker, attack):
        while not attack.measured or not attack.log:
            assert await attacker.do("chatter 20000") == "done"
            with suppress(AssertionError):  # the count is told before the next line that there is room for
                attack.log = await scene.log_line(
                    attacker.id, "log lines over the rate were dropped", seconds=1
                )
    lines = [line for line in await scene.ask("logs", lines=100_000) if line["source"] == attacker.id]
    assert len(lines) < 20_000
    assert "\x1b" not in scene.daemon.stderr()


def uncompressed(scene: Scene, process_id: str) -> AbstractAsyncContextManager[Client]:
    """A channel whose messages are as large as they look."""
    return registered(scene.daemon, process_id, scene.token, compression=None)


@tried_again
async def test_a_flood_of_pushes_to_one_channel_is_held_back_at_its_outbox(scene: Scene) -> None:
    async with (
        raider(scene) as attacker,
        registered(scene.daemon, attacker.id, scene.token, compression=None) as client,
    ):
        client.socket.transport.pause_reading()
        async with scene.attack(SUITE, "push flood to one channel", attacker.id) as attack:
            taken = int(await attacker.do(f"flood {client.channel_id} 300"))
            while not attack.measured:
                taken += int(await attacker.do(f"flood {client.channel_id} 300"))
            assert 0 < taken < 400
            attack.gets = f"{taken} messages of 64 KiB are taken, then `channel-full`"
            client.socket.transport.resume_reading()
            for _ in range(taken):
                assert isinstance(await client.receive(), bytes)


@tried_again
async def test_a_flood_of_pushes_to_all_channels_is_held_back_at_each_outbox(scene: Scene) -> None:
    async with raider(scene) as attacker, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(uncompressed(scene, attacker.id)) for _ in range(20)]
        for client in clients:
            client.socket.transport.pause_reading()
        async with scene.attack(SUITE, "push flood to all its channels", attacker.id) as attack:
            refused = int(await attacker.do("everyone 3000"))
            while not attack.measured:
                refused += int(await attacker.do("everyone 3000"))
            assert refused > 0
            attack.gets = "4 MiB waiting for each channel, then `channel-full`"
        for client in clients:
            client.socket.transport.abort()


async def channels_of_neighbours(scene: Scene) -> list[int]:
    """The ids of the channels that the neighbours' clients have, once all are open."""
    names = {neighbour(name) for name in NEIGHBOURS}

    async def found() -> list[int]:
        return [item["channel_id"] for item in await scene.ask("channels") if item["process"] in names]

    count = len(names) * CLIENTS_PER_NEIGHBOUR
    return await until(found, lambda ids: len(ids) >= count, f"{count} channels of neighbours")


@tried_again
async def test_channels_of_others_cannot_be_guessed(scene: Scene) -> None:
    victims = await channels_of_neighbours(scene)
    async with raid(scene, "guessed channel ids", "`channel-not-found`") as (attacker, attack):
        for victim in victims:
            assert await attacker.do(f"guess {victim - 50} 100") == "0"
        while not attack.measured:
            assert await attacker.do(f"guess {random.randrange(2**32 - 20_000)} 10000") == "0"


@tried_again
async def test_channels_of_others_cannot_be_reached_in_json_either(scene: Scene) -> None:
    """A push is refused. A close is answered as that of a channel that is gone, and its client sees none of it."""
    target = neighbour(next(iter(NEIGHBOURS)))
    async with (
        registered(scene.daemon, target, scene.token) as client,
        raid(scene, "another's channel, in JSON", "an error; to a close nothing") as (attacker, attack),
    ):
        while not attack.measured:
            for victim in (client.channel_id, *await channels_of_neighbours(scene)):
                pushed = {"WebSocketPush": {"channel_id": victim, "message_type": "Text"}}
                answer = await attacker.do(f"send http-server:distro:sys {json.dumps(pushed)}")
                assert "Err" in answer, answer
                closed = {"WebSocketClose": victim}
                answer = await attacker.do(f"send http-server:distro:sys {json.dumps(closed)}")
                assert json.loads(answer) == {"Ok": None}, answer
        owners = {item["channel_id"]: item["process"] for item in await scene.ask("channels")}
        assert owners[client.channel_id] == target
        assert await client.ask("nothing came before this") == "nothing came before this"


@tried_again
async def test_a_flood_of_requests_fills_one_mailbox_and_no_more(scene: Scene) -> None:
    """The target's clients wait for no more than their turn. The attacker's own mailbox fills with refusals."""
    target = next(iter(NEIGHBOURS))
    title = "requests to a neighbour"
    async with raider(scene) as attacker, scene.attack(SUITE, title, attacker.id, target=target) as attack:
        attack.gets = "`mailbox-full`, and its own mailbox is full of that"
        while True:
            with suppress(CommandRefused):
                assert await attacker.do(f"pester {neighbour(target)} 200") == "done"
            if attack.measured:
                break


@tried_again
async def test_answers_that_nobody_asked_for_reach_nobody(scene: Scene) -> None:
    async with raid(scene, "forged responses", "they are dropped") as (attacker, attack):
        while not attack.measured or not attack.log:
            assert await attacker.do("interrupt 2000") == "done"
            attack.log = await scene.log_line(attacker.id, "a response was dropped")


@tried_again
async def test_a_capability_that_a_guest_made_up_is_worth_nothing(scene: Scene) -> None:
    async with raid(scene, "forged capabilities", "`not-authorised`") as (attacker, attack):
        while not attack.measured or not attack.log:
            for params in ('"spawn"', '""', '"messaging"'):
                assert await attacker.do(f"forge kernel:distro:sys {params}") == "0 1"
            attack.log = await scene.log_line(attacker.id, "spawning a process")
            assert await attacker.do("spawn 100") == "0 100"


NUMBERS: Final = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "1e308",
    "-1",
    "0.5",
    "1e15",
    str(2**64),
    "null",
    "[]",
)


@tried_again
async def test_times_that_are_no_times_are_refused(scene: Scene) -> None:
    """What JSON and floats can say of a deadline."""
    rights: list[Any] = ["timer:distro:sys", "kv:distro:sys", "vfs:distro:sys"]
    title = "NaN and infinity as deadlines"
    async with raid(scene, title, "an error", request_capabilities=rights) as (attacker, _):
        for number in NUMBERS:
            for body in (f'{{"SetTimer": {number}}}', f'{{"Set": {{"id": "x", "milliseconds": {number}}}}}'):
                answer = await attacker.do(f"send timer:distro:sys {body}")
                assert "Err" in answer or answer == "failed", (body, answer)


DEAR: Final = "$argon2id$v=19$m=4194304,t=1000000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"


@tried_again
async def test_passwords_without_end_are_hashed_one_at_a_time(scene: Scene) -> None:
    """Each takes 19 MiB and some hundredths of a second of a CPU, and its package rests after it."""
    rights: list[Any] = ["passwords:distro:sys"]
    title = "passwords to hash, without end"
    async with raid(scene, title, "one hash at a time, and rests", request_capabilities=rights) as (
        attacker,
        attack,
    ):
        while not attack.measured:
            answer = await attacker.do('send passwords:distro:sys {"Hash": "x"}')
            assert answer.startswith('{"Hash":"$argon2id$'), answer
        fields = {"password": "x", "hash": DEAR}
        answer = await attacker.do(f"send passwords:distro:sys {json.dumps({'Verify': fields})}")
        assert "costs more than" in answer
