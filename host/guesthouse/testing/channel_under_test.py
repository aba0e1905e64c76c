"""A client of a process: one WebSocket, which shows each message and close as the process means it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Generator, Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import Event
from websockets.typing import Subprotocol

from guesthouse.testing.kit_errors import ChannelClosed, NothingCame, Refused, with_log

_T = TypeVar("_T")

GRACE: Final = 1.0
"""Seconds in which another part of the test may still do something, when the node has nothing left to do."""
UNDER_WAY_SECONDS: Final = 60
"""In which what is under way has come, on any machine."""
_ABNORMAL: Final = 1006


class CountingSocket(ClientConnection):
    """Remembers pings and pongs, which are messages of a process as others are."""

    controls: tuple[tuple[str, bytes], ...] = ()

    def process_event(self, event: Event) -> None:
        """Called for each frame."""
        if isinstance(event, Frame) and event.opcode in (Opcode.PING, Opcode.PONG):
            self.controls += ((event.opcode.name.title(), bytes(event.data)),)
        super().process_event(event)


class _Node(Protocol):
    """What a channel asks of its node."""

    async def settle(self) -> Mapping[str, int]:
        """Wait until the node has nothing left to do. Returns how many messages each client was sent."""

    async def log_of(self, process: str) -> list[str]:
        """Lines of the log."""


class TestChannel:
    """A client's end of a channel. Made by `TestNode.connect`.

    Attributes:
        process: the id of its process.
        subprotocol: what was agreed on, if anything.
    """

    __test__ = False  # pytest looks for tests in classes of such a name

    def __init__(self, node: _Node, process: str, socket: CountingSocket) -> None:
        self.process = process
        self.subprotocol: str | None = socket.subprotocol
        self.client = "{}:{}".format(*socket.local_address)
        self.sent = 0
        self._node = node
        self._socket = socket
        self._received = 0
        self._dropped = 0
        self._close: tuple[int, str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, message: str | bytes) -> None:
        """Send a message: `str` as text, `bytes` as binary.

        Raises:
            ChannelClosed: the channel is closed.
        """
        try:
            await self._socket.send(message)
        except ConnectionClosed as error:
            raise await self._closed_by(error) from None
        self.sent += 1

    async def send_json(self, value: Any) -> None:
        """Send a value as JSON, in a text message."""
        await self.send(json.dumps(value))

    async def receive(self) -> str | bytes:
        """Return the next message: `str` for text, `bytes` for binary.

        Raises:
            NothingCame: none comes any more: the node has nothing left to do.
            ChannelClosed: the channel was closed.
        """
        receiving = asyncio.ensure_future(self._socket.recv())
        try:
            message = await awaited(receiving, self._is_under_way)
        except ConnectionClosed as error:
            raise await self._closed_by(error) from None
        except NothingCame as nothing:
            raise NothingCame(with_log(f"no message {nothing}", await self._log())) from None
        self._received += 1
        return message

    async def receive_json(self) -> Any:
        """Return the next message, read as JSON.

        Raises:
            NothingCame: none comes any more.
            ChannelClosed: the channel was closed.
            ValueError: it is not JSON.
        """
        return json.loads(await self.receive())

    async def receive_all(self) -> list[str | bytes]:
        """Return all messages that are still to be received, once the node has nothing left to do: `[]` shows that
        there is none.
        """
        sent = (await self._node.settle()).get(self.client)
        messages: list[str | bytes] = []
        try:
            while sent is None or self._has < sent:
                async with asyncio.timeout(GRACE):
                    messages.append(await self._socket.recv())
                self._received += 1
        except TimeoutError:  # what was dropped for newer messages, as the process chose, never comes
            self._dropped = (sent or 0) - self._has + self._dropped
        except ConnectionClosed as error:
            self._note(error)
        return messages

    async def closed(self) -> tuple[int, str]:
        """Wait until the channel is closed, by whomever; returns code and reason. Drops messages before.

        Raises:
            NothingCame: it stays open, and the node has nothing left to do.
        """
        while self._close is None:
            receiving = asyncio.ensure_future(self._socket.recv())
            try:
                await awaited(receiving, self._is_under_way)
                self._received += 1
            except ConnectionClosed as error:
                self._note(error)
            except NothingCame:
                text = "the channel is still open: the node has nothing left to do"
                raise NothingCame(with_log(text, await self._log())) from None
        return self._close

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Leave; may be called twice."""
        await self._socket.close(code, reason)
        self._close = self._close or (code, reason)

    @property
    def controls(self) -> list[tuple[str, bytes]]:
        """Pings and pongs of the process that came, such as `("Ping", b"payload")`."""
        return list(self._socket.controls)

    @property
    def left(self) -> bool:
        """Whether the client has left, or the node has closed the channel."""
        return self._close is not None

    async def _is_under_way(self) -> bool:
        sent = (await self._node.settle()).get(self.client)
        return sent is None or sent > self._has  # without it the close is under way

    @property
    def _has(self) -> int:
        return self._received + len(self._socket.controls) + self._dropped

    async def _log(self) -> list[str]:
        return await self._node.log_of(self.process)

    def _note(self, error: ConnectionClosed) -> tuple[int, str]:
        close = error.rcvd or error.sent
        self._close = (_ABNORMAL, "") if close is None else (close.code, close.reason)
        return self._close

    async def _closed_by(self, error: ConnectionClosed) -> ChannelClosed:
        return ChannelClosed(*self._note(error), await self._log())


async def awaited(waited: asyncio.Future[_T], is_under_way: Any) -> _T:
    """Wait for something of a node, until the node has nothing left to do.

    Args:
        waited: what is waited for; it is cancelled when it will not come.
        is_under_way: waits until the node has nothing left to do; returns whether what is waited for is under way
            all the same.

    Raises:
        NothingCame: it will not come.
    """
    try:
        for seconds in (GRACE, 0.0):  # in which another task of the test may do something
            resting = asyncio.ensure_future(is_under_way())
            try:
                await asyncio.wait((waited, resting), return_when=asyncio.FIRST_COMPLETED)
                under_way = not waited.done() and await resting
                for _ in range(UNDER_WAY_SECONDS):
                    if waited.done() or not under_way:
                        break
                    await asyncio.wait((waited,), timeout=GRACE)
                    under_way = await is_under_way()
                if waited.done():
                    return await waited
            finally:
                resting.cancel()
                await asyncio.wait((resting,))
                if not resting.cancelled():
                    resting.exception()
            await asyncio.wait((waited,), timeout=seconds)
            if waited.done():
                return await waited
        raise NothingCame(
            "came: the node has nothing left to do. What waits for time to pass needs `node.advance(seconds)`"
        )
    finally:
        if not waited.done():
            waited.cancel()
            await asyncio.wait((waited,))


class Opening(Awaitable[TestChannel]):
    """A channel that is being opened: `channel = await …`, or `async with … as channel:`, which closes it."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened

    def __await__(self) -> Generator[Any, None, TestChannel]:
        found: Generator[Any, None, TestChannel] = self._opened.__await__()
        return found

    async def __aenter__(self) -> TestChannel:
        channel: TestChannel = await self._opened
        self._channel = channel
        return channel

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()


async def open_socket(
    url: str, headers: Mapping[str, str], subprotocols: list[str], origin: str | None
) -> CountingSocket:
    """Open a WebSocket.

    Raises:
        Refused: the node answered something else.
    """
    try:
        socket = await connect(
            url,
            additional_headers=headers,
            subprotocols=[Subprotocol(name) for name in subprotocols] or None,
            origin=origin,  # type: ignore[arg-type] # a NewType of str
            proxy=None,
            ping_interval=None,
            max_size=None,
            create_connection=CountingSocket,
        )
        assert isinstance(socket, CountingSocket)  # noqa: S101 - it was made by that
        return socket
    except InvalidStatus as error:
        response = error.response
        text = (response.body or b"").decode(errors="replace").strip()
        raise Refused(
            response.status_code, text.splitlines()[0] if text else response.reason_phrase
        ) from None
