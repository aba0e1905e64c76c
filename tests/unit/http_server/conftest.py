"""A real HTTP server on a real port, with the kernel's side of it recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import uvloop
from argon2 import PasswordHasher
from msgspec.structs import replace
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from websockets.asyncio.client import ClientConnection, connect

from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.config import ConnectionLimits, HttpSettings, Settings
from guesthouse.core.messages import (
    IncomingHttpRequest,
    LazyLoadBlob,
    Request,
    SendErrorKind,
    WebSocketOpen,
)
from guesthouse.core.ports import Answer, ChannelFeeder, Feeder
from guesthouse.http_server.server import HttpServer
from guesthouse.link.calls import BindHttpPath, BindWsPath

from .direct import answer_directly

NODE = "test-node.os"
CHAT = ProcessId.parse("chat:chat:guesthouse.os")
OTHER = ProcessId.parse("other:other:guesthouse.os")


def pytest_asyncio_loop_factories(
    config: Any, item: Any
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class FakeProcess:
    """Records what a process is told, in order."""

    id: ProcessId
    gone: bool = False
    takes_http: bool = True
    pause_at: int | None = None
    told: asyncio.Queue[tuple[Any, ...]] = field(default_factory=asyncio.Queue)
    granted: list[tuple[int, int]] = field(default_factory=list)
    feeders: dict[int, Feeder] = field(default_factory=dict)
    pushes: int = 0
    close_reasons: dict[int, bytes | None] = field(default_factory=dict)
    """Of the close frames of clients, by channel; None for one that sent none."""
    _grant: asyncio.Event = field(default_factory=asyncio.Event)

    def post_open(self, event: WebSocketOpen, credit: int) -> None:
        self.told.put_nowait(("open", event, credit))

    def post_push(self, channel_id: int, message_type: int, payload: bytes, feeder: Feeder) -> None:
        self.feeders[channel_id] = feeder
        self.pushes += 1
        if self.pause_at is not None and self.pushes >= self.pause_at:
            feeder.pause_reading()
        self.told.put_nowait(("push", channel_id, message_type, payload))

    def post_close(self, channel_id: int, reason: bytes | None = None) -> None:
        self.close_reasons[channel_id] = reason
        self.told.put_nowait(("close", channel_id))

    def post_channel_gone(self, channel_id: int) -> None:
        self.told.put_nowait(("gone", channel_id))

    def post_http(self, http_id: int, request: IncomingHttpRequest, mime: str | None, body: bytes) -> bool:
        if self.takes_http:
            self.told.put_nowait(("http", http_id, request, mime, body))
        return self.takes_http

    def grant_credit(self, channel_id: int, size: int) -> None:
        self.granted.append((channel_id, size))
        self._grant.set()

    async def next(self) -> tuple[Any, ...]:
        return await asyncio.wait_for(self.told.get(), PATIENCE)

    async def opened(self) -> WebSocketOpen:
        kind, event, _ = await self.next()
        assert kind == "open"
        assert isinstance(event, WebSocketOpen)
        return event

    async def granted_in_all(self, at_least: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while sum(size for _, size in self.granted) < at_least:
                self._grant.clear()
                await self._grant.wait()

    @property
    def quiet(self) -> bool:
        return self.told.empty()


@dataclass
class FakeRouter:
    node: str = NODE
    known: dict[ProcessId, FakeProcess] = field(default_factory=dict)

    def find(self, process: ProcessId, client: str = "") -> FakeProcess | None:
        return self.known.get(canonical(process))

    def is_away(self, process: ProcessId) -> bool:
        return False

    def is_expected(self, process: ProcessId) -> bool:
        return False

    def has_package(self, package_id: str) -> bool:
        return any(process.id.package_id == package_id for process in self.processes())

    def processes(self) -> Sequence[FakeProcess]:
        return [process for process in self.known.values() if not process.gone]

    requests: asyncio.Queue[tuple[Any, ...]] = field(default_factory=asyncio.Queue)
    """What processes were asked, with the callback that answers."""
    answers: list[tuple[int, ProcessId, bytes, LazyLoadBlob | None]] = field(default_factory=list)
    awaited: set[int] = field(default_factory=set)
    refusal: SendErrorKind | None = None

    def request(
        self,
        process: ProcessId,
        request: Request,
        blob: LazyLoadBlob | None,
        answered: Callable[[Answer | SendErrorKind], None],
        feeder: ChannelFeeder | None = None,
    ) -> SendErrorKind | None:
        if self.refusal is None:
            self.requests.put_nowait((process, request, blob, answered))
        return self.refusal

    async def ask(
        self, process: ProcessId, request: Request, blob: LazyLoadBlob | None
    ) -> Answer | SendErrorKind | None:
        if self.find(process) is None:
            return "no-such-process"
        future: asyncio.Future[Answer | SendErrorKind] = asyncio.get_running_loop().create_future()
        refused = self.request(process, request, blob, future.set_result)
        if refused is not None or request.expects_response is None:
            return refused
        return await future

    expected: dict[int, Callable[[Answer | SendErrorKind], None]] = field(default_factory=dict)
    """Requests that stand for HTTP requests which were handed on."""

    def expect(self, answered: Callable[[Answer | SendErrorKind], None]) -> int:
        self.expected[len(self.expected) + 1] = answered
        return len(self.expected)

    def forget(self, request_id: int) -> None:
        del self.expected[request_id]

    def answer(self, request_id: int, asker: ProcessId, body: bytes, blob: LazyLoadBlob | None) -> bool:
        self.answers.append((request_id, asker, body, blob))
        return request_id in self.awaited


@dataclass
class FakeLog:
    lines: list[tuple[str, str, str]] = field(default_factory=list)

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        self.lines.append((source, level, text))

    def mentions(self, text: str) -> bool:
        return any(text in line for _, _, line in self.lines)

    @property
    def errors(self) -> list[str]:
        return [text for _, level, text in self.lines if level == "error"]


def http_path(path: str, *, static: LazyLoadBlob | None = None, **rules: Any) -> BindHttpPath:
    """The call that binds a path to HTTP, or to static content."""
    content: dict[str, Any] = {} if static is None else {"mime": static.mime, "content": static.bytes}
    return BindHttpPath(path, **rules, **content)


@dataclass
class House:
    """A server and everything around it."""

    server: HttpServer
    router: FakeRouter
    log: FakeLog
    home: Path

    @property
    def chat(self) -> FakeProcess:
        return self.router.known[CHAT]

    @property
    def other(self) -> FakeProcess:
        return self.router.known[OTHER]

    @property
    def ws_url(self) -> str:
        return self.server.url.replace("http", "ws", 1)

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"kinode-auth_{NODE}={self.server.issue_token(60)}"}

    @property
    def local(self) -> dict[str, str]:
        """What shows that a program is one of the node's user."""
        return {"Guesthouse-Local": (self.home / "local.secret").read_text().strip()}

    @property
    def register(self) -> dict[str, object]:
        return {"auth_token": self.server.issue_token(60), "target_process": str(CHAT), "encrypted": False}

    @asynccontextmanager
    async def bound(
        self, path: str = "/", **options: Any
    ) -> AsyncIterator[tuple[ClientConnection, WebSocketOpen]]:
        """A client on a bound path of `chat`, and the event of its channel."""
        self.server.bind_ws_path(CHAT, BindWsPath(path, authenticated=False))
        options.setdefault("compression", None)
        async with connect(f"{self.ws_url}/{CHAT}{path}", ping_interval=None, **options) as client:
            yield client, await self.chat.opened()

    @asynccontextmanager
    async def http(self, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        options.setdefault("verify", TRUSTS_NOBODY)
        options.setdefault("timeout", PATIENCE)
        async with httpx.AsyncClient(base_url=self.server.url, trust_env=False, **options) as client:
            yield client

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A bare TCP connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    @asynccontextmanager
    async def raw_channel(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, int]]:
        """A bare connection that is a channel of `chat`, and the channel's id."""
        self.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=False))
        async with self.raw() as (reader, writer):
            await self.upgraded(f"/{CHAT}/", reader, writer)
            yield reader, writer, (await self.chat.opened()).channel_id

    async def upgraded(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do an upgrade on a bare connection."""
        writer.write(upgrade_request(path, self.server.port))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert head.startswith(b"HTTP/1.1 101"), head


async def until(is_so: Callable[[], bool]) -> None:
    """Return once something is so that the server tells nobody of."""
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)


def upgrade_request(path: str, port: int, *headers: str) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def masked(first: int, payload: bytes, *, announce: int | None = None) -> bytes:
    """A client frame with its first byte given, masked with zeros; `announce` lies about its length."""
    size = len(payload) if announce is None else announce
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


async def read_close(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Code and reason of the close frame that comes next."""
    head = await asyncio.wait_for(reader.readexactly(2), PATIENCE)
    assert head[0] == 0x88, head
    payload = await reader.readexactly(head[1])
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


@pytest.fixture
def limits() -> ConnectionLimits:
    """Tests override this to set limits."""
    return ConnectionLimits()


@pytest.fixture
def http_settings() -> HttpSettings:
    """Tests override this to set `[http]`."""
    return HttpSettings()


Start = Callable[..., Any]

SHORT: Final = ("a", "h", "x", "ignored", "other.example")
"""Names that requests in the tests ask for, besides the address."""


def server_settings(
    limits: ConnectionLimits | None, http: HttpSettings | None, *, node: str = NODE, gateways: int = 0
) -> Settings:
    """Settings of a server on any free port, which takes requests for `SHORT` names."""
    given = http or HttpSettings()
    return Settings(
        node=node,
        gateways=gateways,
        http=replace(given, port=0, hosts=(*given.hosts, *SHORT)),
        connections=limits or ConnectionLimits(),
    )


@pytest.fixture
def directly(request: pytest.FixtureRequest) -> bool:
    """Whether all requests are answered directly that can be: see `direct.BOTH_WAYS`."""
    return bool(getattr(request, "param", False))


@pytest.fixture
async def start(tmp_path: Path, directly: bool, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Starts servers that end with the test."""
    async with AsyncExitStack() as stack:

        async def start_one(
            limits: ConnectionLimits | None = None, http: HttpSettings | None = None
        ) -> House:
            settings = server_settings(limits, http)
            router, log = FakeRouter(), FakeLog()
            for process in (CHAT, OTHER):
                router.known[process] = FakeProcess(process)
            server = await stack.enter_async_context(HttpServer(router, log, settings, tmp_path))
            if directly:
                answer_directly(server._app, monkeypatch)
            return House(server, router, log, tmp_path)

        yield start_one


@pytest.fixture
async def house(start: Start, limits: ConnectionLimits, http_settings: HttpSettings) -> AsyncIterator[House]:
    """One server, which must not have failed on its own by the end of the test."""
    running: House = await start(limits, http_settings)
    yield running
    assert running.log.errors == []


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are hashed to cost an attacker, and a test, half a second each. Those of `tests/e2e` are."""
    monkeypatch.setattr(
        "argon2.PasswordHasher", partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    )


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
