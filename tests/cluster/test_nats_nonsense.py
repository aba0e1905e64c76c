"""NATS servers that answer nonsense: the node goes on to the next one, keeps its bounds and its secrets."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.certificates import self_signed
from tests.e2e.waiting import until
from tests.patience import PATIENCE

from guesthouse.cluster.card_sync import CardSync
from guesthouse.cluster.carrier import LEAST_FRAME_BYTES, MOST_FRAME_BYTES, NatsCarrier
from guesthouse.cluster.membership.roster import Roster
from guesthouse.cluster.nats_client import Access, read_access
from guesthouse.cluster.nats_connection import NatsConnection, end_tasks
from guesthouse.core.errors import BadSetting
from guesthouse.core.settings.cluster_settings import ClusterSettings

from .servers import Server, running
from .test_carrier import CLUSTER, SeenLog

INFO = {"server_id": "x", "version": "2.15.1", "proto": 1, "headers": True, "max_payload": 1048576}
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def info(**fields: object) -> bytes:
    return b"INFO " + json.dumps(INFO | fields).encode() + b"\r\n"


@asynccontextmanager
async def pretended(serve: Serve) -> AsyncIterator[str]:
    """A NATS server that does something else; yields its URL."""

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, limit=2**20)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def greets(then: bytes, *, repeat: bool = False, first: bytes | None = None) -> Serve:
    """A server that greets as one does, and then says something."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(info() if first is None else first)
        while True:
            line = await reader.readuntil(b"\r\n")
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
            if line.startswith(b"SUB"):
                break
        while True:
            writer.write(then)
            await writer.drain()
            if not repeat:
                break
        await reader.read()

    return serve


def says(what: bytes) -> Serve:
    """A server that says something, and nothing else."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(what)
        await reader.read()

    return serve


NONSENSE = {
    "silence": says(b""),
    "another protocol": says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "no JSON": says(b"INFO {nonsense\r\n"),
    "JSON of another shape": says(b"INFO [1]\r\n"),
    "a greeting without end": says(b"INFO " + b"x" * 2**20),
    "an error in the place of PONG": says(info() + b"-ERR 'Authorization Violation'\r\n"),
    "nonsense in the place of PONG": says(info() + b"+WHAT\r\n" * 10),
    "a limit that is text": says(info(max_payload="many") + b"PONG\r\n" + b"x\r\n"),
    "garbage": greets(b"\x00\xff\x17garbage\r\n" * 100),
    "a line without end": greets(b"x" * 65536, repeat=True),
    "a message of a terabyte": greets(b"MSG a 1 1099511627776\r\n" + b"x" * 65536, repeat=True),
    "a message without end": greets(b"MSG a 1 8388609\r\n" + b"x" * 65536, repeat=True),
    "a length of thousands of digits": greets(b"MSG a 1 " + b"9" * 5000 + b"\r\n"),
    "headers longer than their message": greets(b"HMSG a 1 500 10\r\n" + b"x" * 600),
    "headers that are none": greets(b"HMSG a 1 10 10\r\n0123456789\r\n" * 3 + b"INFO x\r\n"),
    "a subject that is no text": greets(b"MSG \xff\xfe 1 1\r\nx\r\n" + b"INFO x\r\n"),
    "an INFO that is no JSON": greets(b"INFO {\r\n"),
    "an error": greets(b"-ERR 'Unknown Protocol Operation'\r\n"),
    "it is stale": greets(b"-ERR 'Stale Connection'\r\n"),
}


@pytest.mark.parametrize("serve", NONSENSE.values(), ids=list(NONSENSE))
async def test_the_node_goes_on_to_the_next_server(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.randrange", lambda most: 0)
    async with running(tmp_path / "nats", 1) as servers, pretended(serve) as url:
        log = SeenLog()
        connection = NatsConnection([url, servers[0].url], Access(None), "a.os", log)
        connection.handle("a", lambda message: None)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with connection:

            async def server() -> str | None:
                return connection.server

            await until(server, lambda name: str(servers[0].port) in str(name), "it stays")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 64 * 1024, "KiB"


@pytest.mark.parametrize("most", [0, -5, 17, 2**70, 2**20, None, "many", 1e9])
async def test_whatever_limit_a_server_says_frames_stay_within_ours(most: object) -> None:
    async with pretended(greets(b"", first=info(max_payload=most))) as url:
        connection = NatsConnection([url], Access(None), "a.os", SeenLog())
        carrier = NatsCarrier(connection, CLUSTER, "a.os")
        async with connection:
            assert LEAST_FRAME_BYTES <= carrier.frame_bytes <= MOST_FRAME_BYTES


async def test_announced_servers_are_not_used() -> None:
    asked: list[bytes] = []

    async def evil(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(b"connected")

    async with pretended(evil) as other:
        host = other.partition("//")[2]
        then = info(connect_urls=[host] * 10) * 50 + b"-ERR 'Stale Connection'\r\n"
        async with pretended(greets(then, first=info(connect_urls=[host]))) as url:
            log = SeenLog()
            connection = NatsConnection([url], Access(None), "a.os", log)
            connection.handle("a", lambda message: None)
            async with connection:

                async def ended() -> int:
                    return sum("ended" in line or "fails" in line for line in log.lines)

                await until(ended, lambda count: count >= 1, "it does not end")
                await asyncio.sleep(0.3)
    assert asked == []


async def test_a_flood_for_one_subject_is_bounded_and_counted() -> None:
    message = b"MSG a 1 65536\r\n" + bytes(65536) + b"\r\n"
    seen = 0

    def handle(_: object) -> None:
        nonlocal seen
        seen += 1

    async with pretended(greets(message * 64, repeat=True)) as url:
        connection = NatsConnection([url], Access(None), "a.os", SeenLog())
        connection.handle("a", handle)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with connection:

            async def count() -> int:
                return seen

            await until(count, lambda found: found > 5000, "nothing comes")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 * 1024, "KiB"


async def test_a_server_without_tls_is_shown_nothing(tmp_path: Path) -> None:
    """Whoever is on the way could else leave TLS out of the greeting, and read the password."""
    said = bytearray()

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(info(auth_required=True))
        said.extend(await reader.read())

    (tmp_path / "creds").write_text("user:very-secret\n")
    async with pretended(listens) as url:
        settings = ClusterSettings(nats=(url.replace("nats:", "tls:"),), credentials=str(tmp_path / "creds"))
        log = SeenLog()
        async with NatsConnection(settings.nats, read_access(settings), "a.os", log):

            async def refused() -> bool:
                return any("does not offer TLS" in line for line in log.lines)

            await until(refused, bool, "it is not refused")
    assert b"secret" not in said
    assert said == b""


async def test_a_server_with_tls_and_a_password(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    more = (
        f'tls {{ cert_file: "{cert}", key_file: "{key}" }}\n'
        "authorization { users: [{ user: nodes, password: very-secret }] }"
    )
    server = Server(tmp_path / "tls", "tls", more=more)
    await server.start()
    try:
        url = server.url.replace("nats:", "tls:")
        (tmp_path / "creds").write_text("nodes:very-secret\n")
        good = ClusterSettings(nats=(url,), credentials=str(tmp_path / "creds"), tls_ca=str(cert))
        async with NatsConnection(good.nats, read_access(good), "a.os", SeenLog()) as connection:
            async with asyncio.timeout(PATIENCE):
                await connection.wait_up()
        untrusted = ClusterSettings(nats=(url,), credentials=str(tmp_path / "creds"))
        (tmp_path / "wrong").write_text("nodes:wrong\n")
        wrong = ClusterSettings(nats=(url,), credentials=str(tmp_path / "wrong"), tls_ca=str(cert))
        for bad, why in ((untrusted, "certificate"), (wrong, "uthorization")):
            log = SeenLog()
            async with NatsConnection(bad.nats, read_access(bad), "a.os", log) as connection:

                async def refused(log: SeenLog = log, why: str = why) -> bool:
                    return any(why in line for line in log.lines)

                await until(refused, bool, f"{why}: {log.lines}")
                assert connection.client is None
                assert not any("secret" in line for line in log.lines)
    finally:
        await server.end()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"credentials": "none"}, "No such file"),
        ({"credentials": "empty"}, "must be a .creds file"),
        ({"credentials": "lines"}, "must be a .creds file"),
        ({"credentials": "half"}, "is not a .creds file"),
        ({"tls_ca": "none"}, "No such file"),
        ({"tls_ca": "lines"}, "name certificates in PEM"),
        ({"tls_cert": "lines"}, "belong together"),
        ({"tls_cert": "lines", "tls_key": "lines"}, "name a certificate and its key"),
    ],
)
def test_files_that_are_of_no_use_are_named(fields: dict[str, str], why: str, tmp_path: Path) -> None:
    for name, text in (("empty", ""), ("lines", "a\nb\n"), ("half", "-----BEGIN NATS USER JWT-----\nx\n")):
        (tmp_path / name).write_text(text)
    given: dict[str, Any] = {name: str(tmp_path / value) for name, value in fields.items()}
    with pytest.raises(BadSetting, match=why):
        read_access(ClusterSettings(nats=("nats://a:1",), **given))


ANSWERS = {
    "garbage": b"\x00garbage",
    "nothing": b"",
    "an empty object": b"{}",
    "a list": b"[]",
    "a number": b"7",
    "nesting": b"[" * 10_000,
    "an error of another shape": b'{"error": {"code": "x", "err_code": []}}',
    "a stream without its parts": b'{"config": null, "state": null, "created": 1}',
    "a stream of another name": b'{"config": {"name": "x", "max_msgs_per_subject": "y"}, "state": {"messages": {}}}',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
async def test_a_bucket_that_answers_nonsense_is_asked_again(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guesthouse.cluster.card_sync.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("guesthouse.cluster.card_sync.LEAST_SECONDS", 0.01)
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        writer.write(info())
        inbox = b"1"
        while True:
            line = await reader.readuntil(b"\r\n")
            verb, *words = line.split()
            if verb == b"PING":
                writer.write(b"PONG\r\n")
            elif verb == b"SUB":
                inbox = words[-1]
            elif verb in (b"PUB", b"HPUB"):
                await reader.readexactly(int(words[-1]) + 2)
                if words[1].startswith(b"_INBOX"):
                    asked += 1
                    writer.write(b"MSG %s %s %d\r\n%s\r\n" % (words[1], inbox, len(answer), answer))

    roster = Roster(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    log = SeenLog()
    async with pretended(serve) as url, asyncio.TaskGroup() as tasks:
        connection = NatsConnection([url], Access(None), "a.os", log)
        sync = CardSync(connection, roster, lambda data: False, log, owns=lambda: True)
        async with connection:
            task = tasks.create_task(sync.run())

            async def count() -> int:
                return asked

            await until(count, lambda found: found > 5, "it is not asked again")
            assert not task.done()
            await end_tasks([task])  # a cancellation may be lost
    assert any("cannot be read from NATS" in line for line in log.lines)
