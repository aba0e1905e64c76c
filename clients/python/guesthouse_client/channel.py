"""A channel, and how to open one."""

from __future__ import annotations

import asyncio
import json
import ssl as tls
from collections.abc import Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

from websockets.exceptions import ConnectionClosed

from ._control import Message
from ._options import MIB, Options, QueuePolicy, State, Token, socket_url
from ._runner import Runner
from .errors import ChannelClosed, GuesthouseError, Lost, RequestTimedOut, SessionLost

MAX_REASON: Final = 123
"""Bytes of the reason of a close (RFC 6455, section 5.5)."""
Sendable = str | bytes | bytearray | memoryview


class Channel:
    """A channel to a process. It outlives its connections if the node speaks `guesthouse.v1`. Made by `connect`.

    Several tasks may send and receive at once; each message goes to one receiver. Cancelling any of them loses nothing.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._link = runner.link

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._link.state

    @property
    def id(self) -> int | None:
        """The id of the channel; None before it is open, and for plain channels on a bound path."""
        opened = self._link.session.opened
        return self._link.plain_id if opened is None else opened.channel_id

    @property
    def resumable(self) -> bool:
        """Whether it outlives its connections."""
        return self._link.session.resumable

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the process took, of those that were offered."""
        return self._link.subprotocol

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent or acknowledged; each message counts 64 bytes more."""
        return self._link.session.kept.size

    @property
    def dropped(self) -> int:
        """Messages that the policy `drop-oldest` gave up."""
        return self._link.dropped

    @property
    def unconfirmed(self) -> tuple[Message, ...]:
        """When the channel is over: messages that were sent and not acknowledged, which arrived or did not."""
        return self._link.unconfirmed()

    async def send(self, message: Sendable) -> None:
        """Send a text or binary message, now or when there is a connection. It is in the queue when this returns.

        Raises:
            QueueFull: by the policy `error`.
            MessageTooBig: the node takes no message of that size.
            GuesthouseError: the channel is over.
        """
        link = self._link
        checked = link.check(message)
        if not link.has_room_for(checked) and not link.make_room_for(checked):
            await link.until(lambda: link.has_room_for(checked))
        link.put(checked)

    async def send_json(self, value: object) -> None:
        """Send a value as JSON, as text."""
        await self.send(json.dumps(value, separators=(",", ":")))

    async def recv(self) -> Message:
        """The next message.

        Raises:
            MessagesLost: messages are missing before it; call again. Not if `on_lost` is given.
            GuesthouseError: the channel is over, and everything that came was received.
        """
        while (message := self._link.receive()) is None:
            await self._link.until(lambda: self._link.has_items)
        return message

    def __aiter__(self) -> Self:
        """The messages. It ends when this end closes the channel, or the process does with 1000."""
        return self

    async def __anext__(self) -> Message:
        """The next message."""
        try:
            return await self.recv()
        except ChannelClosed as closed:
            if closed.code == 1000:
                raise StopAsyncIteration from None
            raise

    async def request(self, body: object, timeout: float | None = 10.0) -> Any:  # noqa: ASYNC109
        """Ask the process, which answers by the envelope in `docs/clients.md`.

        Args:
            body: any JSON.
            timeout: seconds for the answer, connections that break included; None: for ever.

        Returns:
            The answer.

        Raises:
            RequestFailed: the process answered with an error.
            RequestTimedOut: it did not answer in time.
            GuesthouseError: the channel is over, or ended and another was opened.
        """
        requests = self._link.requests
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        number = requests.add(answer)
        try:
            async with asyncio.timeout(timeout):
                await self.send(requests.envelope(number, body))
                return await answer
        except TimeoutError:
            raise RequestTimedOut(f"no answer within {timeout:g} s") from None
        finally:
            requests.forget(number)

    async def flush(self) -> None:
        """Wait until the node has everything that was sent so far.

        Raises:
            SessionLost: the session is over, and nobody knows.
            GuesthouseError: the channel is over.
        """
        link, session = self._link, self._link.session
        target = session.kept.count

        def arrived() -> bool:
            if link.session is not session:
                raise SessionLost("the session ended before everything was acknowledged")
            if session.kept.acknowledged < target:
                link.ask()
            return session.kept.acknowledged >= target

        await link.until(arrived)
        if not session.resumable:
            await self._runner.ping()

    async def renew_token(self, token: str | None = None) -> int:
        """Have the session belong to another token, as after logging in again. Functions that give tokens are asked by
        themselves when one is about to expire.

        Args:
            token: by default the one that the function given to `connect` gives now.

        Returns:
            When it expires, in Unix seconds.

        Raises:
            TokenRefused: all is as before.
            ConnectionLost: there is no connection.
        """
        given = await self._link.tokens.another() if token is None else token
        if given is None:
            raise ValueError("there is no token")
        return await self._link.move_to(given)

    async def wait_for(self, *states: State) -> State:
        """Wait until it is in one of these states; returns which.

        Raises:
            GuesthouseError: it is over, unless that was waited for.
        """
        await self._link.until(lambda: self._link.state in states)
        return self._link.state

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it for good. What was sent is delivered first, if that is possible within `close_seconds`.

        Args:
            code: 1000, or one of 3000 to 4999.
            reason: for the process's log; at most 123 bytes.

        Raises:
            ValueError: the code or the reason cannot be sent; the channel is as before.
        """
        if code != 1000 and not 3000 <= code <= 4999:
            raise ValueError(f"a client closes with 1000 or a code of 3000 to 4999, not {code}")
        if len(reason.encode()) > MAX_REASON:
            raise ValueError(f"the reason has {len(reason.encode())} bytes; {MAX_REASON} are possible")
        if self._link.state is State.OPEN:
            try:
                async with asyncio.timeout(self._link.options.close_seconds):
                    await self.flush()
            except (GuesthouseError, ConnectionClosed, TimeoutError):
                pass  # it is closed all the same
        await self._runner.stop(code, reason)


class connect:  # noqa: N801 - it is used like a function
    """Open a channel: `async with connect(…) as channel`. At the end of the block it is closed: after `flush`, unless
    the block ended with an error. It connects again by itself when a connection breaks.

    Args:
        url: the node, such as `https://example.com`; with neither `process` nor `path`: the URL of a bound path.
        process: the process, such as `chat:chat:guesthouse.os`.
        path: a path that the process bound, such as `/room?name=x`. Without it the channel opens by the register form.
        token: a token of the node, or a function that gives one, which may be asynchronous. It is asked when a token is
            needed: at first, before it expires, and when the node refuses it.
        encrypted: encrypt each message, with the register form. All messages arrive as bytes.
        subprotocols: of the process.
        headers: more headers of the upgrade request, such as a cookie.
        ssl: how certificates are checked; by default as usual.
        proxy: the URL of a proxy; True: what the environment says; None: none.
        compression: `"deflate"` or None.
        fallback: use plain channels, which end with their connection, on nodes without `guesthouse.v1`.
        reopen: when a channel is over for a reason that passes, open another. What is lost then is told as `Lost`.
        queue_bytes: what may wait to be acknowledged by the node; each message counts 64 bytes more.
        queue_policy: what `send` does when that is used up: `"wait"`, `"drop-oldest"` or `"error"`.
        receive_bytes: how much may wait to be received on a plain channel before the connection is read no further.
            (Of a resumable one the node keeps what is not received.)
        message_bytes: the largest message that is taken.
        first_delay: the pause before the second attempt to come back, in seconds; it doubles, up to `longest_delay`.
        longest_delay: the most that it doubles to.
        open_seconds: for how long to try to open the first channel; None: once.
        connect_seconds: how long one attempt may take.
        ping_seconds: silence after which the node is asked whether it is there.
        pong_seconds: how long its answer may take.
        close_seconds: how long closing may take.
        on_state: called with each new `State`.
        on_lost: called with each `Lost`, instead of `MessagesLost` when receiving.

    Raises:
        GuesthouseError: no channel is opened; says why, and what helps.
        ValueError: the arguments do not go together.
    """

    def __init__(
        self,
        url: str,
        *,
        process: str | None = None,
        path: str | None = None,
        token: Token | None = None,
        encrypted: bool = False,
        subprotocols: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        proxy: str | Literal[True] | None = True,
        compression: str | None = "deflate",
        fallback: bool = True,
        reopen: bool = True,
        queue_bytes: int = 4 * MIB,
        queue_policy: Literal["wait", "drop-oldest", "error"] = "wait",
        receive_bytes: int = 4 * MIB,
        message_bytes: int = 16 * MIB,
        first_delay: float = 0.5,
        longest_delay: float = 30.0,
        open_seconds: float | None = 10.0,
        connect_seconds: float = 10.0,
        ping_seconds: float = 20.0,
        pong_seconds: float = 10.0,
        close_seconds: float = 5.0,
        on_state: Callable[[State], object] | None = None,
        on_lost: Callable[[Lost], object] | None = None,
    ) -> None:
        registers = process is not None and path is None
        if encrypted and not registers:
            raise ValueError("only channels opened by the register form are encrypted")
        if registers and token is None:
            raise ValueError("the register form takes a token")
        self._options = Options(
            url=socket_url(url, process, path),
            process=process if registers else None,
            token=token,
            encrypted=encrypted,
            subprotocols=tuple(subprotocols),
            headers=dict(headers or {}),
            ssl=ssl,
            proxy=proxy,
            compression=compression,
            fallback=fallback,
            reopen=reopen,
            queue_bytes=queue_bytes,
            queue_policy=QueuePolicy(queue_policy),
            receive_bytes=receive_bytes,
            message_bytes=message_bytes,
            first_delay=first_delay,
            longest_delay=longest_delay,
            open_seconds=open_seconds,
            connect_seconds=connect_seconds,
            ping_seconds=ping_seconds,
            pong_seconds=pong_seconds,
            close_seconds=close_seconds,
            on_state=on_state,
            on_lost=on_lost,
        )
        self._runner: Runner
        self._channel: Channel

    async def __aenter__(self) -> Channel:
        """Open it."""
        runner = self._runner = Runner(self._options)
        channel = self._channel = Channel(runner)
        runner.start()
        try:
            await channel.wait_for(State.OPEN)
        except BaseException:
            await runner.stop(1000, "")
            raise
        return channel

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if kind is None:
            await self._channel.close()
        else:
            await self._runner.stop(1000, "")

    def __await__(self) -> Generator[Any, None, Channel]:
        """Open it without a block: it is to be closed with `Channel.close`."""
        return self.__aenter__().__await__()
