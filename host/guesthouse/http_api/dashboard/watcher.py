"""One page: logs in by its first message, then asks, is answered, and is shown what it watches."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, Protocol

from msgspec import MsgspecError, convert

from guesthouse.core.messages import LogLine
from guesthouse.http_api import problems
from guesthouse.http_api.api_keys import ApiKey
from guesthouse.http_api.caller import Caller
from guesthouse.http_api.dashboard.console import Console
from guesthouse.http_api.dashboard.page_messages import (
    FollowLog,
    PageRequest,
    ShownLogin,
    event,
    problem,
    read_login,
    read_request,
    reply,
)
from guesthouse.http_api.dashboard.socket import FAILED, GOING_AWAY, POLICY, DashboardSocket
from guesthouse.http_api.dashboard.uploads import Upload
from guesthouse.http_api.forms import LogEntry
from guesthouse.http_api.operations import SOURCE
from guesthouse.http_api.problems import NODE_ERROR, TOO_MANY_FAILURES, ApiProblem
from guesthouse.http_api.rows import AdministeredNode

NO_ACCESS: Final = 4401
"""Close code: the key or link is not valid."""
WAIT: Final = 4429
"""Close code: too many wrong keys came from this address."""
MOST_AT_ONCE: Final = 8
"""Requests of a page that are carried out at a time."""
_A_SECOND: Final = 200
"""Requests of a page that are begun each second; the others wait."""
_LINES_AT_ONCE: Final = 200


class Service(Protocol):
    """What a page asks of the dashboard."""

    node: AdministeredNode
    login_seconds: float

    def login(self, shown: ShownLogin, address: str) -> tuple[ApiKey, str | None]:
        """The key of a page, and the text of one that is new.

        Raises:
            ApiProblem: it shows none that is valid.
        """

    async def carry_out(self, watcher: Watcher, asked: PageRequest) -> Any:
        """Carry out a request.

        Raises:
            ApiProblem: it is refused.
            MsgspecError, ValueError: it is malformed.
        """

    def is_valid(self, key: str) -> bool:
        """Whether a key is still valid."""


class Watcher:
    """One page.

    Args:
        service: the dashboard.
        socket: of the page.
        address: that its failures are counted for.
    """

    def __init__(self, service: Service, socket: DashboardSocket, address: str) -> None:
        self._service = service
        self.socket = socket
        self._address = address
        self.caller: Caller
        self.key_id = ""
        """Set by the login."""
        self.upload: Upload | None = None
        self.console: Console | None = None
        self.tasks: asyncio.TaskGroup
        self._expiry: asyncio.TimerHandle | None = None
        self._following: asyncio.Task[None] | None = None
        self._under_way = asyncio.Semaphore(MOST_AT_ONCE)

    async def run(self) -> None:
        """Serve the page until it is gone."""
        try:
            if await self._log_in():
                async with asyncio.TaskGroup() as self.tasks:
                    serving = self.tasks.create_task(self._serve())
                    await serving
                    self._stop_all()
        except Exception:
            self._service.node.log.write(SOURCE, "error", f"the dashboard: {traceback.format_exc()}")
            self.socket.close(FAILED, "the node failed; its log says why")
        finally:
            if self._expiry is not None:
                self._expiry.cancel()

    def show(self, frame: bytes) -> None:
        """See `feed.Viewer`."""
        if self.socket.has_room:
            self.socket.send_frame(frame)

    def tell(self, name: str, /, **fields: Any) -> None:
        """Send an event."""
        self.socket.send(event(name, **fields))

    def progress(self, step: str, number: int, count: int) -> None:
        """How far the installation of a package has come."""
        self.tell("progress", step=step, number=number, count=count)

    def revoked(self) -> None:
        """The key is valid no longer: nothing that was asked for is begun any more."""
        self.socket.close(NO_ACCESS, "the key was revoked")

    def _expired(self) -> None:
        self.socket.close(NO_ACCESS, "the key has expired")

    async def _log_in(self) -> bool:
        try:
            async with asyncio.timeout(self._service.login_seconds):
                message = await self.socket.receive()
        except TimeoutError:
            self.socket.close(NO_ACCESS, "log in first")
            return False
        if message is None:
            return False
        shown = read_login(message)
        if shown is None:
            self.socket.close(NO_ACCESS, "the first message is a login")
            return False
        try:
            key, made = self._service.login(shown, self._address)
        except ApiProblem as refused:
            if refused.kind is TOO_MANY_FAILURES:
                self.socket.close(WAIT, f"too many wrong keys: wait {refused.retry_after} s")
            elif refused.kind is problems.STOPPING:
                self.socket.close(GOING_AWAY, refused.kind.title)
            else:
                self.socket.close(NO_ACCESS, "this key or link is not valid")
            return False
        self.key_id, self.caller = key.id, Caller.with_key(key)
        self.socket.logged_in()
        if key.expires is not None:
            seconds = max(0.0, key.expires - time.time())
            self._expiry = asyncio.get_running_loop().call_later(seconds, self._expired)
        told = {"name": key.name, "role": key.role, "process": key.process, "expires": key.expires}
        self.tell("hello", node=self._service.node.router.node, key=made, **told)
        return True

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        begun, second = 0, loop.time()
        while (message := await self.socket.receive()) is not None:
            await self.socket.room()
            if loop.time() - second >= 1:
                begun, second = 0, loop.time()
            elif begun >= _A_SECOND:
                await asyncio.sleep(second + 1 - loop.time())
            begun += 1
            if not self._service.is_valid(self.key_id):
                self._expired()
                return
            asked = read_request(message)
            if asked is None:
                self.socket.close(POLICY, "this is no request")
                return
            await self._under_way.acquire()
            if not self.socket.closed:
                self.tasks.create_task(self._carry_out(asked))

    async def _carry_out(self, asked: PageRequest) -> None:
        try:
            answer = reply(asked.id, await self._service.carry_out(self, asked))
        except ApiProblem as refused:
            answer = problem(asked.id, refused)
        except (MsgspecError, ValueError, RecursionError) as error:
            answer = problem(asked.id, ApiProblem(problems.INVALID, ascii(str(error))[1:-1][:300]))
        except Exception:
            self._service.node.log.write(SOURCE, "error", f"{asked.do!a}: {traceback.format_exc()}")
            answer = problem(asked.id, ApiProblem(NODE_ERROR))
        finally:
            self._under_way.release()
        self.socket.send(answer)

    def _stop_all(self) -> None:
        """The page is gone: what it watched ends, what it began to change does not."""
        self.leave_log()
        if self.console is not None:
            self.console.close()

    # The log.

    def follow_log(self, asked: FollowLog) -> None:
        """Show lines of the log, and those that come, instead of those that were followed before."""
        self.leave_log()
        self._following = self.tasks.create_task(self._follow(asked))

    def leave_log(self) -> None:
        """Follow the log no more."""
        if self._following is not None:
            self._following.cancel()
            self._following = None

    async def _follow(self, asked: FollowLog) -> None:
        log, came = self._service.node.log, asyncio.Event()
        with log.following(asked.source, asked.level) as following:
            self._tell_lines(log.tail(asked.lines, asked.source, asked.level, 0.0, ""), first=True)
            following.on_line = came.set
            while True:
                await self.socket.room()
                came.clear()
                lines = following.take()
                while some := list(islice(lines, _LINES_AT_ONCE)):
                    self._tell_lines(some, first=False)
                    await self.socket.room()
                await came.wait()

    def _tell_lines(self, lines: Iterable[LogLine], *, first: bool) -> None:
        entries = [convert(line, LogEntry, from_attributes=True) for line in lines]
        self.tell("log", lines=entries, first=first)
