"""What pages may ask for: the operations of the API, by their names, and some that only the dashboard has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.json import decode

from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import GuesthouseError
from guesthouse.http_api.api_keys import ApiKeys, BadApiKey, KeysUnreadable, Role, key_row
from guesthouse.http_api.caller import Caller
from guesthouse.http_api.catalogue import OPERATIONS
from guesthouse.http_api.dashboard.console import NO_CONSOLE, Console, opened
from guesthouse.http_api.dashboard.feed import Feed
from guesthouse.http_api.dashboard.page_messages import (
    AboutFamily,
    AboutKey,
    AboutPackage,
    BeginUpload,
    FollowLog,
    InstallUpload,
    OpenConsole,
    PageRequest,
    SendConsole,
    SendPart,
)
from guesthouse.http_api.dashboard.token_list import tokens_in_use
from guesthouse.http_api.dashboard.uploads import BUSY, INCOMPLETE, MOST_UPLOADS, TOO_LARGE, Upload
from guesthouse.http_api.dashboard.watcher import Watcher
from guesthouse.http_api.forms import LONGEST_SECONDS, AboutProcess, Nothing, Taken
from guesthouse.http_api.operations import Operations
from guesthouse.http_api.problems import (
    NO_OPERATION,
    NO_PROCESS,
    NOT_STORED,
    OTHER_PROCESS,
    ApiProblem,
    ProblemKind,
)
from guesthouse.http_api.rows import AdministeredNode
from guesthouse.http_server.auth.credentials import CredentialsError
from guesthouse.kernel.supervision.explain import explained

NOT_INSTALLED: Final = ProblemKind(409, "not-installed", "The package could not be installed")
NO_KEY_OF_THAT_ID: Final = ProblemKind(404, "no-such-key", "There is no such key")
_FROM_API: Final = frozenset(
    {"getNode", "getProcess", "listPackages", "listChannels", "closeChannel", "restartProcess", "stopProcess"}
)
_A = TypeVar("_A", bound=Taken)


class Action(Struct, frozen=True):
    """Something that pages may ask for."""

    role: Role
    asks: type[Taken]
    run: Callable[[Watcher, Any], Awaitable[Any]]
    whole: bool = False
    """Whether a key for one process may not."""


class Actions:
    """All that pages may ask for.

    Args:
        node: of which.
        operations: of the API.
        keys: of the node.
        feed: what pages watch.
    """

    def __init__(self, node: AdministeredNode, operations: Operations, keys: ApiKeys, feed: Feed) -> None:
        self._node = node
        self._operations = operations
        self._keys = keys
        self._feed = feed
        self._uploads = 0
        self.table: Final[Mapping[str, Action]] = {
            operation.name: Action(operation.role, operation.asks, self._of_api(operation.run))
            for operation in OPERATIONS
            if operation.name in _FROM_API
        } | {
            "watch": _action(Role.READ, Nothing, self._watch),
            "leave": _action(Role.READ, Nothing, self._leave),
            "followLog": _action(Role.READ, FollowLog, self._follow_log),
            "leaveLog": _action(Role.READ, Nothing, self._leave_log),
            "explain": _action(Role.READ, AboutProcess, self._explain),
            "listTokens": _action(Role.READ, Nothing, self._list_tokens, whole=True),
            "revokeTokens": _action(Role.PUSH, AboutFamily, self._revoke_tokens, whole=True),
            "listKeys": _action(Role.ADMIN, Nothing, self._list_keys, whole=True),
            "revokeKey": _action(Role.ADMIN, AboutKey, self._revoke_key, whole=True),
            "openConsole": _action(Role.PUSH, OpenConsole, self._open_console),
            "sendConsole": _action(Role.PUSH, SendConsole, self._send_console),
            "closeConsole": _action(Role.PUSH, Nothing, self._close_console),
            "rollback": _action(Role.ADMIN, AboutPackage, self._roll_back, whole=True),
            "beginUpload": _action(Role.ADMIN, BeginUpload, self._begin_upload, whole=True),
            "sendPart": _action(Role.ADMIN, SendPart, self._send_part, whole=True),
            "preview": _action(Role.ADMIN, Nothing, self._preview, whole=True),
            "install": _action(Role.ADMIN, InstallUpload, self._install, whole=True),
            "dropUpload": _action(Role.ADMIN, Nothing, self._drop_upload, whole=True),
        }

    async def carry_out(self, watcher: Watcher, asked: PageRequest) -> Any:
        """See `watcher.Service`."""
        action = self.table.get(asked.do)
        if action is None:
            raise ApiProblem(NO_OPERATION)
        watcher.caller.check_role(action.role)
        if action.whole and watcher.caller.process is not None:
            raise ApiProblem(OTHER_PROCESS, f"this key is for {watcher.caller.process}")
        return await action.run(watcher, decode(asked.arguments, type=action.asks))

    def left(self, watcher: Watcher) -> None:
        """A page is gone."""
        self._feed.leave(watcher)
        if watcher.upload is not None:
            self._forget(watcher)

    def _of_api(
        self, run: Callable[[Operations, Caller, Any], Awaitable[Struct | None]]
    ) -> Callable[[Watcher, Any], Awaitable[Struct | None]]:
        return lambda watcher, asked: run(self._operations, watcher.caller, asked)

    def _record(self, watcher: Watcher, action: str) -> None:
        self._operations.record(watcher.caller, f"{action}, at the dashboard")

    # What pages watch.

    async def _watch(self, watcher: Watcher, _: Nothing) -> None:
        self._feed.join(watcher)

    async def _leave(self, watcher: Watcher, _: Nothing) -> None:
        self._feed.leave(watcher)

    async def _follow_log(self, watcher: Watcher, asked: FollowLog) -> None:
        only = watcher.caller.process
        if only is not None:
            if asked.source:
                watcher.caller.named(asked.source)
            asked = FollowLog(source=only, level=asked.level, lines=asked.lines)
        watcher.follow_log(asked)

    async def _leave_log(self, watcher: Watcher, _: Nothing) -> None:
        watcher.leave_log()

    async def _explain(self, watcher: Watcher, asked: AboutProcess) -> dict[str, Any]:
        process = self._node.router.find(watcher.caller.named(asked.process))
        if process is None:
            raise ApiProblem(NO_PROCESS)
        return explained(process)

    # Tokens and keys.

    async def _list_tokens(self, _: Watcher, __: Nothing) -> dict[str, Any]:
        return tokens_in_use(self._node.http.channels_by_token(), time.monotonic())

    async def _revoke_tokens(self, watcher: Watcher, asked: AboutFamily) -> None:
        ends = int(time.time()) + LONGEST_SECONDS
        try:
            await self._node.http.revoke_family(asked.family, ends)
        except CredentialsError:
            raise ApiProblem(NOT_STORED) from None
        self._record(watcher, f"revoked token {asked.family}")

    async def _list_keys(self, _: Watcher, __: Nothing) -> dict[str, Any]:
        return {"keys": [key_row(key) for key in self._keys.listed()]}

    async def _revoke_key(self, watcher: Watcher, asked: AboutKey) -> None:
        try:
            key = self._keys.revoke(asked.key)
        except BadApiKey:
            raise ApiProblem(NO_KEY_OF_THAT_ID) from None
        except KeysUnreadable:
            raise ApiProblem(NOT_STORED) from None
        self._record(watcher, f"revoked the key {key.name} ({key.id})")

    # The console.

    async def _open_console(self, watcher: Watcher, asked: OpenConsole) -> dict[str, Any]:
        process = watcher.caller.named(asked.process)
        if self._node.router.find(process) is None:
            raise ApiProblem(NO_PROCESS)
        self._end_console(watcher)
        channel, channel_id = await opened(self._node.http, self._node.settings, str(process), asked.path)
        if (
            watcher.console is not None or watcher.socket.closed
        ):  # another was opened meanwhile, or the page is gone
            await channel.close()
            raise ApiProblem(NO_CONSOLE)
        console = watcher.console = Console(
            channel, lambda **fields: watcher.tell("console", **fields), watcher.socket.room
        )
        console.start(watcher.tasks)
        self._record(watcher, f"opened a channel to {process}")
        return {"channel_id": channel_id}

    async def _send_console(self, watcher: Watcher, asked: SendConsole) -> None:
        if watcher.console is None:
            raise ApiProblem(NO_CONSOLE)
        await watcher.console.send(asked.text)

    async def _close_console(self, watcher: Watcher, _: Nothing) -> None:
        self._end_console(watcher)

    def _end_console(self, watcher: Watcher) -> None:
        console, watcher.console = watcher.console, None
        if console is not None:
            console.close()

    # Packages.

    async def _begin_upload(self, watcher: Watcher, asked: BeginUpload) -> None:
        limits = self._node.settings.package
        most = limits.component_bytes if asked.name.endswith(".wasm") else limits.zip_bytes
        if asked.bytes > most:
            raise ApiProblem(TOO_LARGE, f"it has over {most} bytes")
        await self._drop_upload(watcher, Nothing())
        if self._uploads >= MOST_UPLOADS:
            raise ApiProblem(BUSY)
        self._uploads += 1
        try:
            upload = await asyncio.to_thread(Upload, self._node.home.unpacked, asked.name, asked.bytes)
        except BaseException as error:
            self._uploads -= 1
            if isinstance(error, OSError):
                raise _no_room(error) from None
            raise
        if watcher.upload is not None or watcher.socket.closed:
            self._uploads -= 1
            await asyncio.to_thread(upload.close)
            raise ApiProblem(BUSY)
        watcher.upload = upload

    async def _send_part(self, watcher: Watcher, asked: SendPart) -> dict[str, int]:
        try:
            return {"received": await asyncio.to_thread(_upload(watcher).add, asked.base64)}
        except OSError as error:
            raise _no_room(error) from None

    async def _preview(self, watcher: Watcher, _: Nothing) -> dict[str, Any]:
        upload = _upload(watcher)
        try:
            return await self._node.installer.preview(str(await asyncio.to_thread(upload.complete)))
        except GuesthouseError as error:
            raise ApiProblem(NOT_INSTALLED, upload.named(str(error))) from None

    async def _install(self, watcher: Watcher, asked: InstallUpload) -> dict[str, Any]:
        upload = _upload(watcher)
        source = upload.complete()
        self._record(watcher, f"installs {upload.name!a} ({asked.hash[:12]})")
        watcher.upload = None  # it is this installation's
        try:
            return await self._node.installer.install(str(source), asked.hash, watcher.progress)
        except GuesthouseError as error:
            raise ApiProblem(NOT_INSTALLED, upload.named(str(error))) from None
        finally:
            self._uploads -= 1
            await asyncio.to_thread(upload.close)

    async def _drop_upload(self, watcher: Watcher, _: Nothing) -> None:
        if watcher.upload is not None:
            self._forget(watcher)

    def _forget(self, watcher: Watcher) -> None:
        upload, watcher.upload = watcher.upload, None
        if upload is not None:
            self._uploads -= 1
            upload.close()

    async def _roll_back(self, watcher: Watcher, asked: AboutPackage) -> dict[str, Any]:
        if not any(item["package"] == asked.package for item in self._node.installer.listed()):
            raise ApiProblem(NOT_INSTALLED, "there is no such package")
        self._record(watcher, f"returns {asked.package} to the version before")
        try:
            return await self._node.installer.rollback(asked.package, watcher.progress)
        except GuesthouseError as error:
            raise ApiProblem(NOT_INSTALLED, str(error)) from None


def _no_room(error: OSError) -> ApiProblem:
    text = f"the home cannot be written to: {error.strerror}: {disk_errors.remedy(error)}"
    return ApiProblem(NOT_INSTALLED, text)


def _action(
    role: Role, asks: type[_A], run: Callable[[Watcher, _A], Awaitable[Any]], *, whole: bool = False
) -> Action:
    return Action(role, asks, run, whole)


def _upload(watcher: Watcher) -> Upload:
    if watcher.upload is None:
        raise ApiProblem(INCOMPLETE)
    return watcher.upload
