"""What a member of the cluster says as a gateway and as a home, to a node that is both."""

from __future__ import annotations

import asyncio
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from guesthouse.cluster.gateway.gateway_messages import (
    MOST_BOUND,
    Announce,
    BoundWs,
    RelayClose,
    RelayOpen,
    RelayPush,
    decode,
    encode,
    size_of,
)
from guesthouse.cluster.gateway.gateways import Gateways
from guesthouse.cluster.gateway.home_node import MOST_ANNOUNCED
from guesthouse.cluster.gateway.peer_link import PeerLink
from guesthouse.cluster.gateway.relayed_channel import HeldMessages, RelayedChannel
from guesthouse.core.config import ConnectionLimits, HttpSettings, Settings
from guesthouse.core.messages import LazyLoadBlob, WebSocketOpen
from guesthouse.http_server.server import HttpServer
from guesthouse.kernel.cluster.services import PeerService, Unsendable
from guesthouse.link.calls import BindWsPath

from ..unit.http_server.conftest import CHAT, NODE, FakeLog, FakeProcess, FakeRouter, http_path
from .catalogue import in_a_line, target

MEMBER: Final = "member.os"
HERE: Final = 5
"""The channel of a client here, of a process of the member."""
CHANNELS: Final = 16
_OPENED: Final = RelayOpen(
    HERE, str(CHAT), "/", False, True, 65536, 4096, None, None, (), None, None, None, True
)


class Sent:
    """Sessions that take everything, and keep what was sent. Implements `PeersPort`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.forgotten = False

    def register(self, service: int, handler: PeerService) -> None:
        """Nobody but the target delivers anything."""

    def send(self, node: str, service: int, body: bytes, *, must: bool = False) -> Unsendable | None:
        """Keep it."""
        self.bodies.append(body)
        return None

    def forget(self, node: str) -> None:
        """The session is to end."""
        self.forgotten = True

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"gateways have no use for {name}")

    def messages(self) -> list[Any]:
        """What was sent, all of which another node takes."""
        return [message for body in self.bodies for message in decode(body)]


class Servers:
    """One node for all inputs: its server, with a process that takes everything."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="guesthouse-fuzz-")
        self._runner = asyncio.Runner()
        self._runner.run(self._open())

    async def _open(self) -> None:
        self.log, self.chat = FakeLog(), FakeProcess(CHAT)
        self.kinds: list[str] = []
        """What the process heard."""
        self.pushed = 0
        """What the client here was sent."""
        limits = ConnectionLimits(total=CHANNELS, message_bytes=65536)
        settings = Settings(node=NODE, http=HttpSettings(port=0), connections=limits)
        router = FakeRouter(known={CHAT: self.chat})
        self._server = HttpServer(router, self.log, settings, Path(self._folder.name))
        await self._server.__aenter__()
        self.sessions = Sent()
        self.gateways = Gateways(self._server, self.sessions, self.log)
        self.context, self.exchanges = self._server._context, self.gateways._exchanges
        self._server.bind_ws_path(CHAT, BindWsPath("/room/:name", authenticated=False, subprotocols=("a",)))
        self._server.bind_http_path(CHAT, http_path("/api/*rest", authenticated=False, local_only=False))
        content = LazyLoadBlob("text/plain", b"content")
        bound = http_path("/page", static=content, authenticated=True, local_only=False)
        self._server.bind_http_path(CHAT, bound)
        await self._settled()

    def end(self) -> None:
        """Stop it."""
        self._runner.run(self._server.__aexit__(None, None, None))
        self._runner.close()
        self._folder.cleanup()

    def hear(self, data: bytes) -> None:
        """Take the same body twice, and end the session."""
        self._runner.run(self._hear(data))

    async def _hear(self, data: bytes) -> None:
        self.log.lines.clear()
        self.chat.granted.clear()
        self.sessions.bodies.clear()
        gateways, context = self.gateways, self.context
        context.channels._closed.clear()  # so that inputs have nothing to do with each other
        gateways.up(MEMBER)
        to_client = self._channel_here()
        for _ in range(2):
            gateways.receive(MEMBER, data)
            await self._settled()
        home = gateways._homes[MEMBER]
        assert len(context.channels) <= CHANNELS
        assert home._announced <= MOST_ANNOUNCED
        assert home._announced == sum(home._sizes.values())
        for process in home.processes.values():
            assert all(len(bound) <= MOST_BOUND for bound in context.bindings.of(process.id))
        gateways.lost(MEMBER)
        while self.exchanges or self._server.open_channels():
            await self._settled()
        await self._settled()
        assert not context.relayed
        assert not gateways._peers
        assert all(owner == CHAT for owner in context.bindings._bound)
        self._check_what_the_process_heard()
        assert all(size_of(message) for message in self.sessions.messages())
        closes = [each for each in to_client.messages() if isinstance(each, RelayClose)]
        assert [each.channel_id for each in closes] == [HERE], "its client hears of the end once"
        self.pushed = sum(isinstance(each, RelayPush) for each in to_client.messages())
        assert not self.log.errors, self.log.errors
        for _, _, line in self.log.lines:
            in_a_line(ValueError(line))

    def _channel_here(self) -> Sent:
        """Open a channel to a process of the member; returns what its client is sent."""
        announced = Announce(str(CHAT), (BoundWs("/", False, ()),), (), (), False)
        self.gateways.receive(MEMBER, encode([announced]))
        stand_in = self.gateways._homes[MEMBER].processes[CHAT]
        client = Sent()
        link = PeerLink("client.os", client, asyncio.get_running_loop().call_soon, lambda: None)
        event = WebSocketOpen(HERE, "/", None, None)
        RelayedChannel(
            self.context, link, _OPENED, stand_in, event, lambda channel_id: None, HeldMessages(2**20)
        )
        return client

    def _check_what_the_process_heard(self) -> None:
        """Of each channel: that it was opened, then the rest, then its end, once."""
        open_ones: set[int] = set()
        self.kinds.clear()
        while not self.chat.quiet:
            kind, what, *_ = self.chat.told.get_nowait()
            self.kinds.append(kind)
            if kind == "open":
                assert what.channel_id not in open_ones
                open_ones.add(what.channel_id)
            elif kind == "push":
                assert what in open_ones
            elif kind in ("close", "gone"):
                open_ones.remove(what)
        assert not open_ones

    async def _settled(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)


@cache
def servers() -> Servers:
    """The one node, started when it is first asked for."""
    return Servers()


def end() -> None:
    """End the node, if there is one."""
    if servers.cache_info().currsize:
        servers().end()
        servers.cache_clear()


def heard(data: bytes) -> list[str]:
    """What the process hears of a body, of each kind in order; the body comes twice."""
    servers().hear(data)
    return [*dict.fromkeys(servers().kinds)]


def reaches_client(data: bytes) -> bool:
    """Whether the client here is sent something because of a body."""
    servers().hear(data)
    return servers().pushed > 0


@target()
def gateway_messages(data: bytes) -> None:
    """A member's channels and requests stay within bounds and end with it, each once, and so do its processes here."""
    servers().hear(data)
