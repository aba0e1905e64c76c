"""Resumable channels of real nodes: connections are reset at random moments, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from tests.resume_client import ESCAPE, Message, ResumableClient
from tests.tiers import thorough_after
from websockets.exceptions import ConnectionClosed

from .clients import ECHO, ECHO_C, register_message, registered
from .conftest import StartNode
from .daemon import Daemon
from .test_upgrade import VERSIONS, version
from .waiting import until

CUTS = 40
BURST = 12


@asynccontextmanager
async def resumable(
    daemon: Daemon, process: str, token: str, *, compression: str | None = None
) -> AsyncIterator[ResumableClient]:
    """A channel opened by the register form."""
    register = {"auth_token": token, "target_process": process}
    async with ResumableClient(daemon.ws_url + "/", register=register, compression=compression) as client:
        yield client


def numbered(number: int) -> Message:
    """A message that says its number; some are binary, some begin with the escape, some are long."""
    message = f"{number} " + "x" * (number * 37 % 3000)
    return message.encode() if number % 3 == 0 else ESCAPE * (number % 4) + message


async def send(client: ResumableClient, messages: Sequence[Message]) -> None:
    """Send messages of which the node says that it has them; answers are not read."""
    wanted = client.session.sent + len(messages)
    for message in messages:
        await client.send(message)
    await client.say(type="ping")
    assert client.socket is not None
    while client.session.acknowledged < wanted:
        async with asyncio.timeout(PATIENCE):
            heard = await client.socket.recv()
        if isinstance(heard, str) and heard.startswith(ESCAPE + "{"):
            client.session.take(heard)


async def cut_and_be_away(daemon: Daemon, process: str, client: ResumableClient) -> None:
    client.cut()

    async def away() -> list[bool]:
        return [each["away"] for each in await daemon.channels(process) if each["resumable"]]

    await until(away, lambda found: found == [True], "the client is away")


async def pushed_while_away(daemon: Daemon, process: str, count: int) -> None:
    """Wait until the process has sent so many messages to the one client that is away."""

    async def pushed() -> list[int]:
        return [each["messages_out"] for each in await daemon.channels(process) if each["away"]]

    await until(pushed, lambda found: found == [count], "the process has answered")


async def cut_amid_echoes(client: ResumableClient, process: str, seed: int, cuts: int) -> None:
    """Send numbered messages to an echo, and cut the connection at random moments; each comes back once, in order."""
    rng = random.Random(f"{process} {seed}")
    sent = heard = 0
    for _ in range(cuts):
        for _ in range(rng.randint(0, BURST)):
            await client.send(numbered(sent))
            sent += 1
        try:
            for _ in range(rng.randint(0, sent - heard)):
                assert await client.receive() == numbered(heard)
                heard += 1
        except ConnectionClosed:
            pass
        for _ in range(rng.randint(0, BURST)):  # these are under way when it is cut
            await client.send(numbered(sent))
            sent += 1
        for _ in range(rng.randint(0, 3)):
            await asyncio.sleep(0)
        client.cut()
        for _ in range(rng.randint(0, BURST)):
            await client.send(numbered(sent))
            sent += 1
        await client.resume()
    while heard < sent:
        assert await client.receive() == numbered(heard)
        heard += 1
    assert (client.session.received, client.session.lost) == (sent, 0)
    await client.say(type="ping")
    assert (await client.hear("pong"))["received"] == sent


@pytest.mark.parametrize("compression", thorough_after(1, [None, "deflate"]))
async def test_connections_are_reset_at_random_moments_and_each_message_comes_once(
    start: StartNode, compression: str | None
) -> None:
    daemon = await start("echo", "echo-c")
    token = await daemon.token()
    for process in (ECHO_C, ECHO):
        async with resumable(daemon, process, token, compression=compression) as client:
            await cut_amid_echoes(client, process, seed=len(compression or ""), cuts=CUTS)
            (channel,) = await daemon.channels(process)
            assert channel["channel_id"] == client.session.channel_id
            assert (channel["resumable"], channel["away"]) == (True, False)
    await daemon.no_channels()


@pytest.mark.thorough
async def test_many_clients_are_cut_at_once(start: StartNode) -> None:
    daemon = await start("echo-c")
    token = await daemon.token()
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(_one_of_many(daemon, token, number))
    await daemon.no_channels()


async def _one_of_many(daemon: Daemon, token: str, number: int) -> None:
    async with resumable(daemon, ECHO_C, token) as client:
        await cut_amid_echoes(client, ECHO_C, seed=number, cuts=8)


async def test_a_process_is_started_anew_while_its_client_is_away(start: StartNode) -> None:
    daemon = await start("echo-c")
    async with resumable(daemon, ECHO_C, await daemon.token()) as client:
        for number in range(10):
            await client.send(numbered(number))
        await client.say(type="ping")
        while client.session.acknowledged < 10:
            assert await client.receive() == numbered(client.session.received - 1)
        client.cut()
        await until(daemon.channels, lambda items: [each["away"] for each in items] == [True], "it is away")
        process = (await daemon.ps())[ECHO_C]
        assert [process[name] for name in ("channels", "resumable", "away", "ended")] == [1, 1, 1, 0]
        for number in range(10, 20):
            await client.send(numbered(number))
        await daemon.ask("restart", process=ECHO_C)
        await client.resume()
        while client.session.received < 20:
            assert await client.receive() == numbered(client.session.received - 1)
        assert client.session.lost == 0
    await daemon.no_channels()


@pytest.mark.thorough
async def test_a_worker_is_killed_between_cuts_and_the_channel_goes_on(start: StartNode) -> None:
    daemon = await start("echo-c")
    async with resumable(daemon, ECHO_C, await daemon.token()) as client:
        await cut_amid_echoes(client, ECHO_C, seed=1, cuts=3)
        (worker,) = daemon.workers()
        os.kill(worker.pid, signal.SIGKILL)
        client.cut()
        first = client.session.received
        await client.send("after the worker")
        await client.resume()
        assert await client.receive() == "after the worker"
        assert client.session.received == first + 1


async def test_a_worker_is_killed_while_the_client_is_away_and_what_waited_for_it_is_handled_once(
    start: StartNode,
) -> None:
    daemon = await start("echo-c")
    async with resumable(daemon, ECHO_C, await daemon.token()) as client:
        await client.send(numbered(0))
        assert await client.receive() == numbered(0)
        (worker,) = daemon.workers()
        os.kill(worker.pid, signal.SIGSTOP)
        await send(client, [numbered(number) for number in range(1, 11)])
        await cut_and_be_away(daemon, ECHO_C, client)
        for number in range(11, 21):
            await client.send(numbered(number))
        os.kill(worker.pid, signal.SIGKILL)
        await pushed_while_away(daemon, ECHO_C, 11)
        assert (await client.resume())["received"] == 11
        assert [await client.receive() for _ in range(20)] == [numbered(number) for number in range(1, 21)]
        assert (client.session.received, client.session.lost) == (21, 0)
    await daemon.no_channels()


@pytest.mark.thorough
async def test_a_package_is_upgraded_while_the_client_is_away_and_each_message_is_answered_once(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start()
    await daemon.install(version(tmp_path, 1))
    async with resumable(daemon, VERSIONS, await daemon.token()) as client:
        channel_id = client.session.channel_id
        await send(client, [f"text {number}" for number in range(10)])
        await cut_and_be_away(daemon, VERSIONS, client)
        for number in range(10, 20):
            await client.send(f"text {number}")
        await daemon.install(version(tmp_path, 2))
        (channel,) = await daemon.channels(VERSIONS)
        assert (channel["channel_id"], channel["away"]) == (channel_id, True)
        assert (await client.resume())["received"] == 10
        heard = [await client.receive() for _ in range(20)]
        assert heard == [f"{1 + number // 10} {number + 1} text {number}" for number in range(20)]
        assert (client.session.received, client.session.lost) == (20, 0)
    await daemon.no_channels()


@pytest.mark.thorough
async def test_the_next_version_answers_a_client_that_is_away(start: StartNode, tmp_path: Path) -> None:
    daemon = await start(settings={"process_handover_seconds": 0.5})
    await daemon.install(version(tmp_path, 1))
    token = await daemon.token()
    async with registered(daemon, VERSIONS, token) as other, resumable(daemon, VERSIONS, token) as client:
        await other.send("hold")
        await (await other.socket.ping())  # then the mailbox has it first
        await send(client, [f"text {number}" for number in range(10)])
        await cut_and_be_away(daemon, VERSIONS, client)
        await daemon.install(version(tmp_path, 2))
        await pushed_while_away(daemon, VERSIONS, 10)
        await client.resume()
        heard = [str(await client.receive()) for _ in range(10)]
        assert [each.split(" ", 2)[0] for each in heard] == ["2"] * 10
        assert [each.split(" ", 2)[2] for each in heard] == [f"text {number}" for number in range(10)]
        assert (client.session.received, client.session.lost) == (10, 0)
    await daemon.no_channels()


async def test_an_encrypted_channel_keeps_its_secret_over_its_sockets(start: StartNode) -> None:
    daemon = await start("echo-c")
    register = {"auth_token": await daemon.token(), "target_process": ECHO_C, "encrypted": True}
    async with ResumableClient(daemon.ws_url + "/", register=register) as client:
        cipher = await secret_of(daemon, client.session.channel_id)
        nonces = iter(number.to_bytes(12, "big") for number in range(100))

        def sealed(text: str) -> bytes:
            nonce = next(nonces)
            return cipher.encrypt(nonce, text.encode(), None) + nonce

        async def heard() -> str:
            message = await client.receive()
            assert isinstance(message, bytes)
            return cipher.decrypt(message[-12:], message[:-12], None).decode()

        await client.send(sealed("one"))
        assert await heard() == "one"
        await client.send(sealed("two"))
        client.cut()
        await client.send(sealed(ESCAPE + "three"))
        await client.resume()
        assert [await heard(), await heard()] == ["two", ESCAPE + "three"]
        assert client.socket is not None
        await client.socket.send("in the open")
        code, reason = await client.closed()
        assert (code, reason) == (1008, "not encrypted as agreed: it is text")
    await daemon.no_channels()


async def secret_of(daemon: Daemon, channel_id: int) -> AESGCM:
    key = rsa.generate_private_key(65537, 2048)
    modulus = f"{key.public_key().public_numbers().n:0512x}"
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False, timeout=PATIENCE) as http:
        answer = await http.post(
            daemon.url + "/encryptor:distro:sys", json={"channel_id": channel_id, "public_key_hex": modulus}
        )
    assert answer.status_code == 201, answer.text
    wrapped = bytes.fromhex(answer.json()["encrypted_secret"])
    return AESGCM(key.decrypt(wrapped, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)))


async def test_a_register_message_of_an_old_client_is_no_beginning_of_a_session(start: StartNode) -> None:
    daemon = await start("echo-c")
    token = await daemon.token()
    client = ResumableClient(daemon.ws_url + "/")
    client.socket = await client.connect()
    await client.socket.send(register_message(token, ECHO_C))
    code, reason = await client.closed()
    assert (code, reason.partition(":")[0]) == (4009, "not a control message that may come here")
    await daemon.no_channels()
