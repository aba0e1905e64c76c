"""Life of the server: the port, limits on sockets, shutting down, TLS."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from pathlib import Path

import pytest
from tests.certificates import self_signed
from tests.patience import PATIENCE
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from guesthouse.core.config import ConnectionLimits, HttpSettings, Settings
from guesthouse.http_server.listening import CannotListen
from guesthouse.http_server.server import HttpServer
from guesthouse.http_server.state.connection_limits import AdmittedConnection
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, FakeLog, FakeRouter, House, Start, http_path, read_close, upgrade_request


async def test_a_port_in_use_is_one_line_that_names_the_remedy(house: House, tmp_path: Path) -> None:
    port = house.server.port
    second = HttpServer(FakeRouter(), FakeLog(), Settings(http=HttpSettings(port=port)), tmp_path)
    with pytest.raises(CannotListen) as refused:
        await second.__aenter__()
    assert str(refused.value) == (
        f"port {port} on 127.0.0.1 is in use: stop what uses it, or choose another with --port (0 takes a free one)"
    )


async def test_a_host_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    for host in ("no such host", "192.0.2.1"):
        server = HttpServer(FakeRouter(), FakeLog(), Settings(http=HttpSettings(host=host, port=0)), tmp_path)
        with pytest.raises(CannotListen) as refused:
            await server.__aenter__()
        assert "\n" not in str(refused.value)
        assert "--host" in str(refused.value)


async def test_a_bad_certificate_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    (tmp_path / "key.pem").write_text("not a key")
    for cert, key in (("missing.pem", "missing.pem"), ("cert.pem", "cert.pem"), (None, "key.pem")):
        http = HttpSettings(port=0, tls_cert=cert and str(tmp_path / cert), tls_key=str(tmp_path / key))
        server = HttpServer(FakeRouter(), FakeLog(), Settings(http=http), tmp_path)
        with pytest.raises(CannotListen, match="PEM"):
            await server.__aenter__()


async def test_a_certificate_without_a_key_is_said_so(tmp_path: Path) -> None:
    cert, _ = self_signed(tmp_path)
    http = HttpSettings(port=0, tls_cert=str(cert))
    with pytest.raises(CannotListen, match="with the key in the same file") as refused:
        await HttpServer(FakeRouter(), FakeLog(), Settings(http=http), tmp_path).__aenter__()
    assert "None" not in str(refused.value)


async def test_the_server_leaves_signals_and_logging_alone(start: Start) -> None:
    before = (
        signal.getsignal(signal.SIGTERM),
        signal.getsignal(signal.SIGINT),
        logging.getLogger().handlers[:],
    )
    house: House = await start()
    now = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), logging.getLogger().handlers[:]
    assert now == before
    assert logging.getLogger("uvicorn").handlers == []
    assert house.server.url == f"http://127.0.0.1:{house.server.port}"


@pytest.mark.slow
async def test_closing_tells_every_client_1001_and_then_the_port_is_free(house: House) -> None:
    async with (
        house.bound() as (one, first),
        house.bound() as (two, second),
        connect(house.ws_url + "/") as three,
    ):
        await house.server.close()
        for client in (one, two, three):
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(client.recv(), PATIENCE)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the node is shutting down")
        told = {(await house.chat.next()) for _ in range(2)}
        assert told == {("close", first.channel_id), ("close", second.channel_id)}
    assert house.server.open_channels() == []
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", house.server.port)


async def test_closing_does_not_wait_for_a_client_that_does_not_answer(start: Start) -> None:
    house: House = await start(ConnectionLimits(close_seconds=10 * PATIENCE))
    async with house.raw_channel() as (reader, _, _), asyncio.timeout(PATIENCE):
        await house.server.close(seconds=0.05)
        assert (await read_close(reader))[0] == 1001
        assert await reader.read() == b""


async def test_closing_answers_requests_that_wait_for_a_process(house: House) -> None:
    house.server.bind_http_path(CHAT, http_path("/", authenticated=False, local_only=False))
    async with house.http() as client, asyncio.TaskGroup() as tasks:
        pending = tasks.create_task(client.get(f"/{CHAT}/"))
        await house.chat.next()
        await house.server.close()
        assert (await pending).status_code == 503


async def test_closing_ends_idle_and_half_sent_http_requests(start: Start) -> None:
    house: House = await start(ConnectionLimits(handshake_seconds=10 * PATIENCE))
    async with house.raw() as (reader, writer), asyncio.timeout(PATIENCE):
        writer.write(b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        await writer.drain()
        await house.server.close(seconds=0.05)
        await reader.read()


@pytest.mark.parametrize("sockets", [2, 3, 4])
async def test_the_number_of_sockets_is_limited(start: Start, sockets: int) -> None:
    house: House = await start(ConnectionLimits(total=3))
    idle = [await asyncio.open_connection("127.0.0.1", house.server.port) for _ in range(sockets - 1)]
    try:
        async with house.raw() as (reader, writer):
            writer.write(upgrade_request("/", house.server.port))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert int(head.split(b" ")[1]) == (101 if sockets <= 3 else 503)
    finally:
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize("sockets", [1, 2, 3])
async def test_the_number_of_sockets_from_one_address_is_limited(start: Start, sockets: int) -> None:
    house: House = await start(ConnectionLimits(per_address=2))
    idle = [await asyncio.open_connection("127.0.0.1", house.server.port) for _ in range(sockets - 1)]
    try:
        async with house.raw() as (reader, writer):
            writer.write(b"GET /our.js HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert int(head.split(b" ")[1]) == (200 if sockets <= 2 else 429)
    finally:
        for _, writer in idle:
            writer.close()


async def test_a_socket_that_ends_makes_room_for_another(start: Start) -> None:
    house: House = await start(ConnectionLimits(total=1))
    for _ in range(3):
        async with house.bound() as (client, _):
            await client.close()
        assert (await house.chat.next())[0] == "close"
        async with house.http() as client_http:
            assert (await client_http.get("/our.js", headers={"Connection": "close"})).status_code == 200


async def test_a_socket_that_asks_for_nothing_is_closed_after_the_handshake_time(start: Start) -> None:
    house: House = await start(ConnectionLimits(handshake_seconds=0.05))
    for beginning in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX: "):
        async with house.raw() as (reader, writer):
            writer.write(beginning)
            answer = await asyncio.wait_for(reader.read(), PATIENCE)
            assert answer.startswith(b"HTTP/1.1 408 "), beginning


async def test_a_body_that_does_not_come_is_answered_408(start: Start) -> None:
    house: House = await start(ConnectionLimits(handshake_seconds=0.1))
    async with house.raw() as (reader, writer):
        writer.write(b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20_000, 431),
        (b"GET /" + b"x" * 70_000, 431),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET //evil HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://b/login HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /login HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /login HTTP/1.1\r\n\r\n", 400),
        (b"GET /login\r\n\r\n", 400),
        (b"GET /login HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 128 + b"\r\n", 431),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
async def test_a_request_that_is_not_in_order_is_refused(
    house: House, request_bytes: bytes, status: int
) -> None:
    async with house.raw() as (reader, writer):
        writer.write(request_bytes)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert int(head.split(b" ")[1]) == status, head


async def test_an_upgrade_to_something_else_is_answered_as_plain_http(house: House) -> None:
    async with house.raw() as (reader, writer):
        writer.write(b"GET /our.js HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 200 ")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    cert, key = self_signed(tmp_path_factory.mktemp("tls"))
    return str(cert), str(key)


async def test_channels_and_logins_work_over_tls(start: Start, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    house: House = await start(None, HttpSettings(tls_cert=cert, tls_key=key))
    context = ssl.create_default_context(cafile=cert)
    assert house.server.url.startswith("https://")
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=True))
    headers = {**house.cookie, "Origin": house.server.url}
    async with connect(f"{house.ws_url}/{CHAT}/", ssl=context, additional_headers=headers) as client:
        event = await house.chat.opened()
        await client.send("over tls")
        assert (await house.chat.next())[3] == b"over tls"
        house.server.push(CHAT, event.channel_id, 0, b"x" * 300_000)
        assert await client.recv() == "x" * 300_000
    assert await house.chat.next() == ("close", event.channel_id)
    async with house.http(verify=context) as http:
        answer = await http.get(house.server.login_url())
        refused = await http.get("/none")
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert refused.headers["strict-transport-security"] == "max-age=31536000"


HSTS = b"\r\nstrict-transport-security: max-age=31536000\r\n"
REFUSED = (
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    upgrade_request("/none", 1, "X-Forwarded-Proto: https"),
    upgrade_request("/", 1, "X-Forwarded-Proto: https").replace(b"Version: 13", b"Version: 12"),
    b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"GET /login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-Proto: https\r\n\r\n",
)


async def head_of(house: House, request: bytes, tls: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.server.port, ssl=tls)
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    writer.close()
    return head.lower()


@pytest.mark.parametrize("request_bytes", REFUSED, ids=range(len(REFUSED)))
async def test_over_tls_refusals_too_say_to_come_by_tls(
    start: Start, certificate: tuple[str, str], request_bytes: bytes
) -> None:
    cert, key = certificate
    house: House = await start(None, HttpSettings(tls_cert=cert, tls_key=key))
    head = await head_of(house, request_bytes, ssl.create_default_context(cafile=cert))
    assert head.count(HSTS) == 1


@pytest.mark.parametrize("request_bytes", REFUSED[1:], ids=range(1, len(REFUSED)))
@pytest.mark.parametrize("trusted", [True, False])
async def test_a_trusted_proxy_alone_may_say_that_it_ended_tls(
    start: Start, request_bytes: bytes, trusted: bool
) -> None:
    house: House = await start(
        None, HttpSettings(trusted_proxies=("127.0.0.1",) if trusted else ("10.0.0.1",))
    )
    assert (await head_of(house, request_bytes, None)).count(HSTS) == trusted
    plainly = request_bytes.replace(b"Proto: https", b"Proto: http")
    assert HSTS not in await head_of(house, plainly, None)
    async with house.http(headers={"X-Forwarded-Proto": "https"}) as client:
        cookie = (await client.get(house.server.login_url())).headers["set-cookie"]
    assert ("; Secure" in cookie) is trusted


async def test_without_tls_nobody_is_told_to_come_by_tls(house: House) -> None:
    async with house.http() as http:
        assert "strict-transport-security" not in (await http.get("/login")).headers


async def test_a_tls_client_that_breaks_a_rule_reads_why_and_is_closed(
    start: Start, certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    house: House = await start(
        ConnectionLimits(message_bytes=100, close_seconds=0.2), HttpSettings(tls_cert=cert, tls_key=key)
    )
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
    async with connect(f"{house.ws_url}/{CHAT}/", ssl=ssl.create_default_context(cafile=cert)) as client:
        await client.send("x" * 101)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(client.recv(), PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_nagle_is_off(house: House) -> None:
    async with house.bound():
        (connection,) = house.server._context.connections
        raw = connection.transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_one_address_does_not_take_all_places_of_a_listener_beside(start: Start) -> None:
    house: House = await start(ConnectionLimits())
    admit = house.server.side_context(8, "side").connection_limits.admit
    assert [admit("192.0.2.1") for _ in range(6)] == [AdmittedConnection.YES] * 6
    assert admit("192.0.2.1") is AdmittedConnection.TOO_MANY_FROM_ADDRESS
    assert admit("192.0.2.2") is AdmittedConnection.YES
