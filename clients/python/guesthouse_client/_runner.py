"""Keeps a channel connected: opens sockets, has each carry the session, and decides what comes after it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Coroutine
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from ._backoff import Backoff
from ._control import AWAY, SUBPROTOCOL
from ._encryption import Cipher, exchange_keys
from ._link import Link
from ._options import Options
from ._session import Due, Phase, PlainSession
from ._socket import error_of_end, open_socket, register
from .errors import (
    ChannelRefused,
    ConnectionLost,
    GuesthouseError,
    Interrupted,
    ProtocolViolated,
    Retry,
    SessionLost,
    SessionTaken,
    TokenRefused,
    TokenUnavailable,
)

log = logging.getLogger("guesthouse_client")

NOT_THERE: Final = (404, 4004)
"""The status and close code of a process that is not there."""
LASTED: Final = 1.0
"""Seconds after which a connection was of use."""
RENEWAL_PAUSE: Final = 5.0
"""Seconds after which a function that failed is asked for a token again."""
FAULT: Final = 1002
"""The close code of a client that found the other end to be wrong."""


class Runner:
    """The life of a channel, over all its sockets. `run` is a task of the channel's.

    Args:
        options: what `connect` was told.
    """

    def __init__(self, options: Options) -> None:
        self.link = Link(options, self._wake)
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._close_with = (1000, "")
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(options.first_delay, options.longest_delay)
        self._socket: ClientConnection | None = None
        self._ended: asyncio.Future[GuesthouseError]
        self._timer: asyncio.TimerHandle | None = None
        self._beside: set[asyncio.Task[None]] = set()
        """Closes sockets that were given up, and pings."""
        self._left: set[ClientConnection] = set()
        """Sockets that were given up and are not closed yet."""
        self._gave_up_attempt = False
        self._writable = asyncio.Event()

    def start(self) -> None:
        """Begin to connect. It ends by itself when the channel is over, or by `stop`."""
        self._task = self._loop.create_task(self._run())

    async def stop(self, code: int, reason: str) -> None:
        """Close the channel; returns when nothing of it is left."""
        self._closing, self._close_with = True, (code, reason)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Stay connected until the channel is over, or this is cancelled: then the channel is closed."""
        error: BaseException | None = None
        try:
            while error is None:
                error = await self._after(await self._attempt())
        except asyncio.CancelledError:
            if not self._closing:
                raise
        except Exception as defect:  # its user gets it
            error = defect
        finally:
            self._stop_timer()
            try:
                await self._close(self._socket, *self._close_with)
                for task in self._beside:
                    task.cancel()
                await asyncio.gather(*self._beside, return_exceptions=True)
            except Exception as defect:
                error = error or defect
            finally:  # its user never waits for a channel that is over
                for socket in self._left:  # what was to close it may never have run
                    socket.transport.abort()
                self.link.finish(error)

    async def ping(self) -> None:
        """Ask the node of a plain channel whether it is there, and has everything.

        Raises:
            ConnectionClosed: it is not.
        """
        socket, session = self._socket, self.link.session
        if socket is not None and isinstance(session, PlainSession):
            await (await socket.ping())
            session.alive(self._loop.time())

    # Sockets.

    async def _attempt(self) -> GuesthouseError:
        """Open a socket and serve it to its end. Returns how it ended."""
        seconds = self._options.connect_seconds
        if self._options.open_seconds is not None:
            seconds = min(seconds, max(self.link.opens_in(), LASTED))
        try:
            async with asyncio.timeout(seconds):
                token = await self.link.tokens.get()
                self._socket = await open_socket(self._options, token)
                await self._greet(self._socket, token)
        except TimeoutError:
            error: GuesthouseError = ConnectionLost("the node did not answer in time")
        except ConnectionClosed as closed:
            error = error_of_end(closed)
        except OSError as broken:
            error = ConnectionLost(str(broken))
        except GuesthouseError as refused:
            error = refused
        else:
            error = await self._serve(self._socket)
        self._leave(error)
        return error

    async def _greet(self, socket: ClientConnection, token: str | None) -> None:
        """Open or resume the channel on a socket."""
        options, link = self._options, self.link
        if socket.subprotocol != SUBPROTOCOL:
            await self._open_plain(socket, token)
            return
        session = link.session
        if isinstance(session, PlainSession):  # none has a socket twice
            raise SessionLost("a plain channel ends with its connection")
        fields: dict[str, object] = {}
        if options.process is not None:
            fields = {"auth_token": token, "target_process": options.process, "encrypted": options.encrypted}
        await socket.send(session.hello(**fields))
        session.take(await socket.recv(), self._loop.time())
        if options.encrypted and session.cipher is None and session.opened is not None:
            session.cipher = await self._secret(session.opened.channel_id)

    async def _secret(self, channel_id: int) -> Cipher:
        try:
            return await exchange_keys(self._options, channel_id)
        except BaseException as error:  # a session without its secret is none
            self.link.renew_session(self.link.session.kept.split()[1])
            if isinstance(error, ChannelRefused) and error.code in NOT_THERE:  # its socket broke meanwhile
                raise Interrupted(str(error), error.code) from error
            raise

    async def _open_plain(self, socket: ClientConnection, token: str | None) -> None:
        options, link = self._options, self.link
        if not options.fallback:
            raise ChannelRefused(f"the node does not speak {SUBPROTOCOL}")
        if link.session.phase is Phase.AWAY:
            raise SessionLost(f"the node does not speak {SUBPROTOCOL} any more")
        plain = PlainSession(link.session.kept, options.ping_seconds, options.pong_seconds)
        link.plain_id = None
        if options.process is not None:
            link.plain_id = await register(socket, options, token)
            if options.encrypted:
                plain.cipher = await exchange_keys(options, link.plain_id)
        plain.begin(self._loop.time())
        link.session = plain

    async def _serve(self, socket: ClientConnection) -> GuesthouseError:
        """Carry messages both ways until the socket is gone, or given up."""
        self._ended = self._loop.create_future()
        self.link.live(socket.subprotocol)
        self._wake()
        began, progress = self._loop.time(), self.link.session.progress
        async with asyncio.TaskGroup() as tasks:
            carrying = [
                tasks.create_task(self._read(socket)),
                tasks.create_task(self._write(socket)),
                tasks.create_task(self._renew_tokens()),
            ]
            try:
                return await self._ended
            finally:
                for task in carrying:
                    task.cancel()
                if self._loop.time() - began > LASTED or self.link.session.progress != progress:
                    self._backoff.lasted()

    async def _read(self, socket: ClientConnection) -> None:
        link = self.link
        try:
            while True:
                link.take(await socket.recv())
                if link.is_full:
                    await link.has_room()
        except ConnectionClosed as closed:
            self._end(error_of_end(closed))
        except GuesthouseError as error:
            self._end(error)

    async def _write(self, socket: ClientConnection) -> None:
        link, session = self.link, self.link.session
        try:
            while True:
                while (message := session.next()) is not None:
                    await socket.send(message)
                link.written()
                self._arm()
                self._writable.clear()
                await self._writable.wait()
        except ConnectionClosed:
            return  # the reader takes what came before, and says how it ended

    async def _renew_tokens(self) -> None:
        """Move the session to another token before the present one expires, as long as there is a socket."""
        tokens = self.link.tokens
        pause = 0.0
        while self.link.session.resumable and (left := tokens.renewed_in()) != math.inf:
            await asyncio.sleep(max(left, pause))
            pause = RENEWAL_PAUSE
            try:
                if token := await tokens.another():
                    await self.link.move_to(token)
            except TokenUnavailable as error:
                log.warning("%s: it is asked again", error)
            except GuesthouseError:  # then the next resumption asks for one
                return

    def _end(self, error: GuesthouseError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    def _leave(self, error: GuesthouseError) -> None:
        """Let go of the socket."""
        self._stop_timer()
        session = self.link.session
        if session.phase is Phase.RESUMING and error.retry is Retry.RESUME:
            self._gave_up_attempt = True
        self.link.cut()
        if self._socket is not None:
            code = AWAY if session.phase is Phase.AWAY else 1000  # what has no key yet cannot be resumed
            code = FAULT if isinstance(error, ProtocolViolated) else code
            self._left.add(self._socket)
            self._run_beside(self._close(self._socket, code, ""))
            self._socket = None

    async def _after(self, error: GuesthouseError) -> GuesthouseError | None:
        """What follows when there is no socket. Waits for the next attempt; or returns what the channel ends with."""
        link, retry = self.link, error.retry
        if isinstance(error, SessionTaken) and self._gave_up_attempt:
            self._gave_up_attempt = False  # it was our own
            retry = Retry.RESUME
        elif isinstance(error, SessionLost) and link.tokens.try_offered():
            retry = Retry.RESUME
        elif link.was_open and error.code in NOT_THERE:
            retry = Retry.RESUME  # it was there: its package is being installed again, or its node started
        if retry is Retry.NEVER or (retry is Retry.TOKEN and not link.tokens.refused()):
            return error
        alive = link.session.phase is Phase.AWAY and link.session.resumable
        if (retry is Retry.REOPEN or not alive) and not link.reopen(error):
            return error
        pause = self._backoff.pause(longer=isinstance(error, Interrupted | TokenRefused))
        if isinstance(error, TokenUnavailable):
            log.warning("%s: it is asked again in %.1f s", error, pause)
        if pause >= link.opens_in():
            return error
        if pause:
            await asyncio.sleep(pause)
        return None

    # What is due.

    def _wake(self) -> None:
        self._writable.set()

    def _arm(self) -> None:
        """Have `_tick` called when something is due."""
        due = self.link.session.deadline()
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = None if due == math.inf else self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        match self.link.session.tick(self._loop.time()):
            case Due.GIVE_UP:
                self._end(ConnectionLost("the node is silent"))
            case Due.PING:
                self._run_beside(self._ping_quietly())
        self._wake()

    async def _ping_quietly(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self.ping()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_beside(self, what: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(what)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _close(self, socket: ClientConnection | None, code: int, reason: str) -> None:
        """Close a socket, at the latest after `close_seconds`."""
        if socket is None:
            return
        try:
            async with asyncio.timeout(self._options.close_seconds), asyncio.TaskGroup() as tasks:
                tasks.create_task(_throw_away(socket))
                await socket.close(code, reason)
        except TimeoutError:
            pass
        finally:
            socket.transport.abort()
            self._left.discard(socket)


async def _throw_away(socket: ClientConnection) -> None:
    """Read what still comes: where nobody does, the answer to a close frame is not read either."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await socket.recv()
