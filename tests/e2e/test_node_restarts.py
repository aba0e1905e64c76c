"""What outlives a restart of the node: sessions, mailboxes, requests and timers, and for whom."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.resume_client import ResumableClient
from tests.tiers import thorough_after
from websockets.exceptions import ConnectionClosed

from .clients import ECHO_C, registered
from .conftest import StartNode
from .restarting import CountingClient, restart
from .test_passed_sockets import as_passed
from .test_processes import A, B, C, ask, journal, tell
from .test_resume import resumable, secret_of, send
from .test_upgrade import VERSIONS, version
from .waiting import until

Refused = tuple[int, str]
HANDS_OVER: dict[str, object] = {"handover": "true"}


async def refused(client: ResumableClient) -> Refused:
    """How the node closes the socket by which a client tries to resume."""
    with pytest.raises(ConnectionClosed) as closed:
        await client.resume()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def test_the_command_restarts_a_node_with_its_pid_address_and_channels(start: StartNode) -> None:
    daemon = await start("echo-c")
    token, url = await daemon.token(), daemon.url
    async with resumable(daemon, ECHO_C, token) as client, registered(daemon, ECHO_C, token) as plain:
        await client.send("before")
        assert await client.receive() == "before"
        (before,) = [each for each in await daemon.channels() if each["resumable"]]
        ran = await daemon.cli("restart-node", "--json")
        assert ran.json() == {"node": daemon.node, "url": url}
        (channel,) = await daemon.channels()
        assert channel["away"]
        assert [channel[name] for name in ("channel_id", "path", "messages_in", "messages_out")] == [
            before[name] for name in ("channel_id", "path", "messages_in", "messages_out")
        ]
        assert await plain.closed() == (1012, "the node restarts: connect again")
        await client.send("after")
        answer = await client.resume()
        assert (answer["channel_id"], answer["received"]) == (before["channel_id"], 1)
        assert await client.receive() == "after"
    await daemon.no_channels()
    (takes_over,) = [line for line in await daemon.logs() if "takes over" in line["text"]]
    assert "takes over 1 channel " in takes_over["text"]
    assert not (daemon.home / "handover").exists()


async def test_a_session_that_was_handed_over_is_its_users_alone_and_its_old_keys_are_void(
    start: StartNode,
) -> None:
    daemon = await start("echo-c")
    token, other = await daemon.token(), await daemon.token()
    async with resumable(daemon, ECHO_C, token) as client:
        first = client.session.key
        client.cut()
        await client.resume()
        await send(client, [])
        await client.say(type="ping")
        await client.hear("pong")
        await restart(daemon)
        for register, key in (({"auth_token": other}, client.session.key), ({"auth_token": token}, first)):
            thief = ResumableClient(daemon.ws_url + "/", register=register)
            thief.session.key = key
            assert (await refused(thief))[0] == 4008
        await client.send("mine")
        await client.resume()
        assert await client.receive() == "mine"


async def test_an_encrypted_channel_keeps_its_secret_and_the_nonces_that_were_used(start: StartNode) -> None:
    daemon = await start("echo-c")
    register = {"auth_token": await daemon.token(), "target_process": ECHO_C, "encrypted": True}
    async with ResumableClient(daemon.ws_url + "/", register=register) as client:
        cipher = await secret_of(daemon, client.session.channel_id)

        def sealed(text: str, number: int) -> bytes:
            nonce = number.to_bytes(12, "big")
            return cipher.encrypt(nonce, text.encode(), None) + nonce

        async def heard() -> str:
            message = await client.receive()
            assert isinstance(message, bytes)
            return cipher.decrypt(message[-12:], message[:-12], None).decode()

        await client.send(sealed("one", 1))
        assert await heard() == "one"
        await restart(daemon)
        await client.send(sealed("two", 2))
        await client.resume()
        assert await heard() == "two"
        await client.send(sealed("one again", 1))
        code, reason = await client.closed()
        assert (code, reason) == (1008, "not encrypted as agreed: its nonce was used before")


@pytest.mark.thorough
async def test_what_a_slow_process_has_not_taken_it_gets_in_its_next_run(
    start: StartNode, tmp_path: Path
) -> None:
    daemon = await start(settings={"process_handover_seconds": 0.5})
    await daemon.install(version(tmp_path, 1))
    token = await daemon.token()
    async with registered(daemon, VERSIONS, token) as other, resumable(daemon, VERSIONS, token) as client:
        await other.send("hold")
        await (await other.socket.ping())  # then the mailbox has it first
        await send(client, [f"text {number}" for number in range(10)])
        await restart(daemon)
        await client.resume()
        heard = [str(await client.receive()).split(" ", 2)[2] for _ in range(10)]
        assert heard == [f"text {number}" for number in range(10)]
        assert (client.session.received, client.session.lost) == (10, 0)
    await daemon.no_channels()


@pytest.mark.thorough
async def test_requests_and_timers_are_answered_after_a_restart(start: StartNode) -> None:
    daemon = await start("puppet", settings={"process_handover_seconds": 0.5})
    await tell(daemon, B, f"ask {C} 60 ignore")  # blocks, so that what follows waits
    await ask(daemon, A, f"post {B} 60 waits say hello")
    await ask(daemon, A, 'post timer:distro:sys 60 volatile {"SetTimer":4000}')
    await ask(daemon, A, 'post timer:distro:sys 60 kept {"Set":{"id":"durable","milliseconds":4000}}')
    await journal(daemon, A, 'response kept "Ok"')
    await restart(daemon)
    lines = await journal(
        daemon, A, "response waits hello", "response volatile", 'strange {"Timer":{"id":"durable"}}'
    )
    assert len(lines) == 3, "each once"


async def test_a_node_that_is_stopped_leaves_its_channels_to_the_next_one(start: StartNode) -> None:
    with socket.socket() as http:
        http.bind(("127.0.0.1", 0))
        http.listen(16)
        options = as_passed(http=http) | {"settings": HANDS_OVER}
        daemon = await start("echo-c", **options)
        client = CountingClient(daemon, ECHO_C, await daemon.token())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(client.run())
            for _ in range(2):
                wanted = client.received + 100

                async def gone_on(wanted: int = wanted) -> bool:
                    return client.received >= wanted

                await until(gone_on, bool, "the client goes on")
                assert await daemon.terminate() == 0
                assert (daemon.home / "handover").stat().st_mode & 0o777 == 0o600
                daemon = await start("echo-c", home=daemon.home, **options)
            client.finish()
            await running
    client.check()


@pytest.mark.thorough
@pytest.mark.parametrize("seconds", [None, 0.001], ids=["handed over", "too late"])
async def test_without_a_successor_in_time_the_session_is_over(
    start: StartNode, seconds: float | None
) -> None:
    settings = HANDS_OVER if seconds is None else {**HANDS_OVER, "connections_resume_seconds": seconds}
    daemon = await start("echo-c", settings=settings)
    client = ResumableClient(daemon.ws_url + "/", register=register_of(await daemon.token()))
    await client.open()
    await client.send("one")
    assert await client.receive() == "one"
    assert await daemon.terminate() == 0
    daemon = await start("echo-c", home=daemon.home, settings=settings)
    client.moved(daemon.ws_url + "/")
    if seconds is None:
        assert (await client.resume())["received"] == 1
        assert client.socket is not None
        await client.socket.close()
    else:
        assert (await refused(client))[0] == 4008
    await daemon.no_channels()


def register_of(token: str) -> dict[str, object]:
    return {"auth_token": token, "target_process": ECHO_C}


def flipped(data: bytes) -> bytes:
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


@pytest.mark.parametrize(
    ("spoil", "says"),
    thorough_after(
        1,
        [
            (flipped, "it was damaged, or is of another home"),
            (lambda data: data[:-40], "it was damaged, or is of another home"),
            (
                lambda data: data.replace(b"handover 1\n", b"handover 2\n"),
                "it is of another version of Guesthouse",
            ),
            (lambda data: b"", "it does not begin as such a file"),
        ],
        names=2,
    ),
    ids=["changed", "cut off", "version", "empty"],
)
async def test_a_file_that_cannot_be_used_is_one_line_and_the_sessions_are_over(
    start: StartNode, spoil: Callable[[bytes], bytes], says: str
) -> None:
    daemon = await start("echo-c", settings=HANDS_OVER)
    client = ResumableClient(daemon.ws_url + "/", register=register_of(await daemon.token()))
    await client.open()
    await daemon.terminate()
    file = daemon.home / "handover"
    file.write_bytes(spoil(file.read_bytes()))
    daemon = await start("echo-c", home=daemon.home)
    client.moved(daemon.ws_url + "/")
    assert (await refused(client))[0] == 4008
    line = await daemon.log_line("node", "the channels of the run before are lost", says)
    assert line["level"] == "error"
    assert not file.exists()


@pytest.mark.thorough
async def test_what_was_left_for_a_package_that_is_gone_is_lost_and_logged(start: StartNode) -> None:
    daemon = await start("echo-c", settings=HANDS_OVER)
    client = ResumableClient(daemon.ws_url + "/", register=register_of(await daemon.token()))
    await client.open()
    await daemon.terminate()
    daemon = await start("counter", home=daemon.home)
    await daemon.log_line(ECHO_C, "is not there any more: 1 channel of it lost")
    client.moved(daemon.ws_url + "/")
    assert (await refused(client))[0] == 4008
