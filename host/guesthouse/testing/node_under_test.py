"""A real node for the tests of a package: see `TestNode`."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed

from guesthouse.core.errors import GuesthouseError
from guesthouse.testing.channel_under_test import Opening, TestChannel, awaited, open_socket
from guesthouse.testing.http_answer import HttpAnswer, request
from guesthouse.testing.kit_errors import ChannelClosed, NodeFailed, NothingCame, with_log
from guesthouse.testing.node_control import asked
from guesthouse.testing.node_subprocess import NodeSubprocess, make_home
from guesthouse.testing.packages_under_test import built

_MOST_LINES: Final = 10_000
_TOKEN_SECONDS: Final = 10 * 365 * 24 * 3600

running: Final[list[TestNode]] = []
"""Those in their `async with` block, for reports."""


class TestNode:
    """A node that runs packages, on a free port, in a temporary home, for the `async with` block.

    Its components run as anywhere else: in confined workers, with the limits of a node. Only the clock is another: what
    guests see of time (clocks, sleeps, timers, expiries of `kv`, time-outs of requests) stands still until `advance`
    moves it.

    Args:
        packages: package folders, which are built if they are out of date; archives; or `.wasm` files.
        settings: of the node, such as `{"process.memory_bytes": 2**26}`.
        now: what time guests see at first; now by default.
        build: whether to build folders.

    Attributes:
        url: such as `http://127.0.0.1:40001`.
        token: an auth token of the node, by which the test's clients are logged in.
        home: the node's folder.
        processes: ids of the processes, in the order of the manifests.

    Raises:
        NodeFailed: on entry: a package cannot be built or started; says why.
    """

    __test__ = False  # pytest looks for tests in classes of such a name

    def __init__(
        self,
        *packages: str | Path,
        settings: Mapping[str, object] | None = None,
        now: datetime | float | None = None,
        build: bool = True,
    ) -> None:
        if not packages:
            raise ValueError("a node runs at least one package")
        self.url = ""
        self.token = ""
        self.home = Path()
        self.processes: tuple[str, ...] = ()
        self._packages = packages
        self._settings = dict(settings or {})
        self._build = build
        self._now = (
            now.timestamp() if isinstance(now, datetime) else time.time() if now is None else float(now)
        )
        self._channels: list[TestChannel] = []
        self._closing: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str]
        self._node: NodeSubprocess

    async def __aenter__(self) -> Self:
        found = [await asyncio.to_thread(built, package, build=self._build) for package in self._packages]
        self.processes = tuple(process for each in found for process in each.processes)
        self._folder = tempfile.TemporaryDirectory(prefix="guesthouse-")
        try:
            self.home = await asyncio.to_thread(make_home, Path(self._folder.name))
            self._node = NodeSubprocess(self.home, [each.argument for each in found], self._settings)
            await self._start()
        except BaseException:
            self._folder.cleanup()
            raise
        running.append(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        running.remove(self)
        try:
            for channel in self._channels:
                await channel.close()
            await self._node.stop()
        finally:
            self._folder.cleanup()

    async def _start(self) -> None:
        self.url = await self._node.start(self._now)
        (self.token,) = await asked(self.home, "token", ttl=_TOKEN_SECONDS)
        (node,) = await asked(self.home, "node")
        self._name = str(node["node"])

    # Clients

    def connect(
        self,
        to: str | None = None,
        *,
        logged_in: bool = True,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        origin: str | None = None,
    ) -> Opening:
        """Open a channel: `channel = await node.connect()`, or `async with node.connect() as channel:`.

        Args:
            to: a process, which is registered with, as pages do; or a path that a process bound: `/room?name=ada` of
                the only process, `chat:chat:example.os/room` of one of several. The only process by default.
            logged_in: whether the client has a token of the node.
            headers: further headers of the handshake.
            subprotocols: that the client offers.
            origin: the `Origin` of the page that opens it.

        Raises:
            Refused: the node refuses: nobody bound the path, or not for this client.
            ChannelClosed: the node refuses to register it.
        """
        return Opening(self._connected(to, logged_in, dict(headers or {}), list(subprotocols), origin))

    async def _connected(
        self,
        to: str | None,
        logged_in: bool,
        headers: dict[str, str],
        subprotocols: list[str],
        origin: str | None,
    ) -> TestChannel:
        process, slash, path = (to or "").partition("/")
        process = self._process(process)
        if slash and logged_in:
            headers.setdefault("Cookie", self.cookie)
        where = f"/{process}/{path}" if slash else "/"
        url = self.url.replace("http", "ws", 1) + where
        socket = await open_socket(url, headers, subprotocols, origin)
        channel = TestChannel(self, process, socket)
        if not slash:
            given = {"target_process": process, "auth_token": self.token if logged_in else ""}
            try:
                await socket.send(json.dumps(given))
                await socket.recv()
            except ConnectionClosed as error:
                close = error.rcvd
                code, reason = (1006, "") if close is None else (close.code, close.reason)
                raise ChannelClosed(code, reason, await self.log_of(process)) from None
        self._channels.append(channel)
        return channel

    async def http(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        logged_in: bool = True,
    ) -> HttpAnswer:
        """Send an HTTP request to a path of a process, and return its answer.

        Args:
            method: such as `GET`.
            path: as in `connect`.
            body: its body.
            json: a value that is sent as JSON, in the place of `body`.
            headers: further headers.
            logged_in: whether the client has a token of the node.

        Raises:
            NothingCame: the process does not answer, and the node has nothing left to do.
        """
        process, _, rest = path.partition("/")
        process = self._process(process)
        given = dict(headers or {})
        if logged_in:
            given.setdefault("Cookie", self.cookie)
        if json is not None:
            body = _json(json)
            given.setdefault("Content-Type", "application/json")
        content = body.encode() if isinstance(body, str) else body
        parts = urlsplit(self.url)
        address = (parts.hostname or "", parts.port or 0)
        answer = asyncio.ensure_future(request(address, method, f"/{process}/{rest}", given, content))
        try:
            return await awaited(answer, self._rests)
        except NothingCame as nothing:
            raise NothingCame(
                with_log(f"no answer to {method} {path} {nothing}", await self.log_of(process))
            ) from None

    @property
    def cookie(self) -> str:
        """The cookie of a browser that is logged in."""
        return f"kinode-auth_{self._name}={self.token}"

    async def request(
        self, body: str | bytes, process: str | None = None, *, seconds: int | None = 60
    ) -> bytes | None:
        """Send a request to a process, as another process would: from `terminal:terminal:sys`, by `guesthouse send`.

        Args:
            body: of the request, as text.
            process: its id; the only process by default.
            seconds: how long to wait for the response, by the clock of the guests; None expects none.

        Returns:
            The body of the response.
        """
        text = body if isinstance(body, str) else body.decode()
        found = await self._asked("send", address=self._process(process), body=text, seconds=seconds)
        if not found:
            return None
        import base64

        return base64.b64decode(found[0]["body_base64"])

    # Time

    @property
    def now(self) -> datetime:
        """What time the guests see."""
        return datetime.fromtimestamp(self._now, UTC)

    async def advance(self, seconds: float) -> None:
        """Let time pass for the guests: what is due meanwhile comes at its time, in order, and is handled. Nothing is
        due by itself.
        """
        await self._asked("advance", seconds=seconds, sent=self._sent())
        self._now += seconds

    async def settle(self) -> Mapping[str, int]:
        """Wait until the node has nothing left to do: all that clients sent has been handled, and all that followed.

        Returns:
            How many messages each client was sent, by its address.

        Raises:
            CommandRefused: the processes go on sending messages for ever.
        """
        (sent,) = await self._asked("settle", sent=self._sent())
        return dict(sent)

    # Processes. What was sent before is handled before.

    async def restart(self, process: str | None = None) -> None:
        """Restart a process, as `guesthouse restart` does: its channels stay open."""
        await self.settle()
        await self._asked("restart", process=self._process(process))
        await self.settle()

    async def kill(self, process: str | None = None) -> None:
        """End a process as a trap would: what follows is up to its `on-exit`. Its channels stay open."""
        await self.settle()
        await self._asked("kill", process=self._process(process))
        await self.settle()

    async def upgrade(self, package: str | Path) -> None:
        """Upgrade to another version of a package, with its channels open.

        Raises:
            NodeFailed: it cannot be built or started; the version before runs on.
        """
        found = await asyncio.to_thread(built, package, build=self._build)
        await self.settle()
        try:
            await self._asked("replace", package=found.argument)
        except GuesthouseError as error:
            raise NodeFailed(f"{package} cannot be upgraded to: {error}") from None
        self.processes = tuple(dict.fromkeys((*found.processes, *self.processes)))
        await self.settle()

    async def crash(self) -> None:
        """Kill the node and start it again on the same home, as after a power cut. Channels end with 1006; the node
        has another port.
        """
        await self.settle()
        await self._node.kill()
        for channel in self._channels:
            await channel.closed()
        self._channels.clear()
        await self._start()

    async def logs(self, process: str | None = None, *, level: str | None = None) -> list[str]:
        """What a process has logged, once the node has nothing left to do: the texts of the lines, oldest first.

        Args:
            process: its id; the only process by default.
            level: of these lines only: `error`, `warning`, `info` or `debug`.
        """
        await self.settle()
        lines = await self._lines(self._process(process))
        return [line["text"] for line in lines if level in (None, line["level"])]

    async def log_of(self, process: str) -> list[str]:
        """The log of a process, each line with its level."""
        try:
            return [f"{line['level']:<7} {line['text']}" for line in await self._lines(process)]
        except GuesthouseError as error:
            return [f"the log cannot be read: {error}", *self.output().splitlines()]

    def output(self) -> str:
        """All that the node wrote on standard error: its log, as `guesthouse run` shows it."""
        return self._node.stderr()

    async def _lines(self, process: str) -> list[dict[str, Any]]:
        lines = await asked(self.home, "logs", lines=_MOST_LINES)
        return [line for line in lines if line["source"] == process]

    async def _rests(self) -> bool:
        await self.settle()
        return False

    async def _asked(self, command: str, **arguments: Any) -> list[Any]:
        return await asked(self.home, command, **arguments)

    def _sent(self) -> str:
        """What the clients have sent, as the node is asked."""
        return json.dumps({each.client: None if each.left else each.sent for each in self._channels})

    def _process(self, process: str | None) -> str:
        if process:
            return process
        if len(self.processes) > 1:
            names = ", ".join(self.processes)
            raise ValueError(f"there are several processes, name the one you mean: {names}")
        return self.processes[0]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
