"""What the API can do, as typed functions: of a caller and what it asks for. HTTP is one way to call them.

Each finds its process by `Caller.named` and its channel by `_channel`: there are no others, so no operation reaches
beyond its caller's.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable
from heapq import nsmallest
from typing import Final

from msgspec import convert
from msgspec.structs import replace

from guesthouse import __version__
from guesthouse.core.address import ProcessId
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.messages import WsMessageType
from guesthouse.core.ports import ChannelInfo
from guesthouse.http_api.caller import Caller
from guesthouse.http_api.forms import (
    MOST_CHANNELS,
    AboutChannel,
    AboutProcess,
    AboutToken,
    BinaryMessage,
    ChannelList,
    ChannelStatus,
    EndChannel,
    IssuedToken,
    IssueToken,
    ListChannels,
    LogEntry,
    LogTail,
    NodeStatus,
    Nothing,
    PackageList,
    PackageStatus,
    ProcessAfter,
    ProcessList,
    ProcessStatus,
    PushResult,
    PushToChannel,
    PushToProcess,
    ReadLog,
    TextMessage,
)
from guesthouse.http_api.problems import (
    CHANNEL_FULL,
    INVALID,
    MESSAGE_TOO_BIG,
    NO_CHANNEL,
    NO_PROCESS,
    NO_TOKEN,
    NOT_STARTED,
    NOT_STORED,
    ApiProblem,
)
from guesthouse.http_api.push_record import PushRecord
from guesthouse.http_api.rows import AdministeredNode, channel_row, process_rows
from guesthouse.http_api.token_ids import IssuedFor, id_of, read_id
from guesthouse.http_server.api.port import PushProblem
from guesthouse.http_server.auth.credentials import CredentialsError
from guesthouse.http_server.auth.custom_claims import BadClaims, read_custom_claims
from guesthouse.http_server.auth.tokens import Scope
from guesthouse.http_server.close_codes import MAX_REASON, CloseReason
from guesthouse.kernel.supervision.supervised import NoSuchProcess
from guesthouse.monitoring.figures import unready_reasons

SOURCE: Final = "api"
_PUSHED_AT_ONCE: Final = 500
_NORMAL: Final = 1000


class Operations:
    """The operations on one node. All raise `ApiProblem`.

    Args:
        node: which one.
    """

    def __init__(self, node: AdministeredNode) -> None:
        self._node = node
        self._pushes = PushRecord(node.log, SOURCE)

    async def node(self, caller: Caller, _: Nothing) -> NodeStatus:
        """Look at the node."""
        node = self._node
        reasons = list(unready_reasons(node))
        processes = [process.id for process in node.router.processes() if caller.sees(process.id)]
        channels = sum(caller.sees(channel.owner) for channel in node.http.open_channels())
        return NodeStatus(node.router.node, __version__, not reasons, reasons, len(processes), channels)

    async def processes(self, caller: Caller, _: Nothing) -> ProcessList:
        """List the processes."""
        rows = [row async for row in process_rows(self._node)]
        listed = [convert(row, ProcessStatus) for row in rows]
        return ProcessList([row for row in listed if caller.process in (None, row.process)])

    async def process(self, caller: Caller, asked: AboutProcess) -> ProcessStatus:
        """Look at a process."""
        process = str(caller.named(asked.process))
        async for row in process_rows(self._node):
            if row["process"] == process:
                return convert(row, ProcessStatus)
        raise ApiProblem(NO_PROCESS)

    async def packages(self, caller: Caller, _: Nothing) -> PackageList:
        """List the packages; with a key for one process its package, as far as it is about that process."""
        listed = [convert(row, PackageStatus) for row in self._node.installer.listed()]
        if caller.process is None:
            return PackageList(listed)
        only = caller.named(caller.process)
        return PackageList([_about(row, str(only)) for row in listed if row.package == only.package_id])

    async def channels(self, caller: Caller, asked: ListChannels) -> ChannelList:
        """List open channels, by id."""
        owner = asked.process or caller.process
        found = [
            channel
            for channel in self._node.http.open_channels(None if owner is None else caller.named(owner))
            if channel.channel_id > asked.after and asked.path in (None, channel.path, channel.bound_path)
        ]
        page = nsmallest(asked.limit, found, key=lambda channel: channel.channel_id)
        more = len(found) > len(page)
        return ChannelList(list(map(_status, page)), page[-1].channel_id if more else None)

    async def channel(self, caller: Caller, asked: AboutChannel) -> ChannelStatus:
        """Look at an open channel."""
        return _status(self._channel(caller, asked.channel_id))

    async def log(self, caller: Caller, asked: ReadLog) -> LogTail:
        """Read the end of the log. A key for one process gets that process's lines."""
        source = asked.source if caller.process is None else caller.process
        if caller.process is not None and asked.source:
            caller.named(asked.source)
        lines = self._node.log.tail(asked.lines, source, asked.level, asked.since, asked.text)
        return LogTail([convert(line, LogEntry, from_attributes=True) for line in lines])

    # What changes something. Each is in the log, with who did it.

    async def close_channel(self, caller: Caller, asked: EndChannel) -> None:
        """Close a channel. Its process is told."""
        channel = self._channel(caller, asked.channel_id)
        reason = asked.reason.encode()[:MAX_REASON].decode(errors="ignore")
        close = CloseReason(asked.code, reason) if asked.code else CloseReason(_NORMAL, reason)
        self._node.http.close_from_outside(channel.channel_id, close)
        self.record(caller, f"closed channel {channel.channel_id} of {channel.owner}")

    async def push_to_channel(self, caller: Caller, asked: PushToChannel) -> None:
        """Push a message to a channel, without its process."""
        channel = self._channel(caller, asked.channel_id)
        kind, payload = self._message(asked.message)
        refused = self._node.http.push_unpaid(channel.owner, (channel.channel_id,), kind, payload)
        if refused:
            raise ApiProblem(CHANNEL_FULL if refused[0][1] is PushProblem.FULL else NO_CHANNEL)
        self._pushes.count(caller.name, str(channel.owner), 1)

    async def push_to_process(self, caller: Caller, asked: PushToProcess) -> PushResult:
        """Push a message to all channels of a process, or to those with a path."""
        process, http = caller.named(asked.process), self._node.http
        if self._node.router.find(process) is None:
            raise ApiProblem(NO_PROCESS)
        kind, payload = self._message(asked.message)
        if asked.path is None:
            channels = [channel.channel_id for channel in http.open_channels(process)]
        else:
            channels = http.channels_on(process, asked.path)
        refused: list[int] = []
        for start in range(0, len(channels), _PUSHED_AT_ONCE):
            some = channels[start : start + _PUSHED_AT_ONCE]
            refused += [channel_id for channel_id, _ in http.push_unpaid(process, some, kind, payload)]
            await asyncio.sleep(0)
        reached = len(channels) - len(refused)
        self._pushes.count(caller.name, str(process), reached)
        return PushResult(reached, len(refused), refused[:MOST_CHANNELS])

    async def issue_token(self, caller: Caller, asked: IssueToken) -> IssuedToken:
        """Issue a token for the clients of a process."""
        process, http = str(caller.named(asked.process)), self._node.http
        try:
            claims = read_custom_claims(bytes(asked.claims))
        except BadClaims as error:
            raise ApiProblem(INVALID, str(error)) from None
        scope = Scope(None, process, asked.channels, claims=claims)
        token = http.issue_token(asked.seconds, scope, renewable=asked.renewable)
        family, ends = http.family_of(token)
        self.record(caller, f"issued token {family} for {process}, valid for {asked.seconds} s")
        made = id_of(IssuedFor(family, ends, process), self._sign)
        return IssuedToken(token, made, int(time.time()) + asked.seconds)

    async def revoke_token(self, caller: Caller, asked: AboutToken) -> None:
        """Revoke a token and all that renewal made from it. Channels that were opened with it are closed."""
        token = read_id(asked.token_id, self._sign)
        if token is None or not caller.sees(ProcessId.parse(token.process)):
            raise ApiProblem(NO_TOKEN)
        try:
            await self._node.http.revoke_family(token.family, token.ends)
        except CredentialsError:
            raise ApiProblem(NOT_STORED) from None
        self.record(caller, f"revoked token {token.family} for {token.process}")

    async def restart(self, caller: Caller, asked: AboutProcess) -> ProcessAfter:
        """Restart a process, or start one that was stopped. Its channels stay open."""
        process = caller.named(asked.process)
        self.record(caller, f"restarts {process}")
        return await self._changed(process, self._node.restart(process))

    async def stop(self, caller: Caller, asked: AboutProcess) -> ProcessAfter:
        """Stop a process for good. Its channels are closed with 1011."""
        process = caller.named(asked.process)
        self.record(caller, f"stops {process}")
        return await self._changed(process, self._node.stop(process))

    def close(self) -> None:
        """Write down what is not in the log yet."""
        self._pushes.close()

    async def _changed(self, process: ProcessId, change: Awaitable[None]) -> ProcessAfter:
        try:
            await change
        except NoSuchProcess:
            raise ApiProblem(NO_PROCESS) from None
        except GuesthouseError as error:
            raise ApiProblem(NOT_STARTED, str(error)) from None
        found = self._node.router.find(process)
        return ProcessAfter(str(process), "stopped" if found is None else found.state.value)

    def _message(self, message: TextMessage | BinaryMessage) -> tuple[int, bytes]:
        """Its type and payload."""
        if isinstance(message, TextMessage):
            kind, payload = WsMessageType.TEXT, message.text.encode()
        else:
            kind, payload = WsMessageType.BINARY, base64.b64decode(message.base64)
        if len(payload) > self._node.settings.connections.message_bytes:
            raise ApiProblem(MESSAGE_TOO_BIG)
        return int(kind), payload

    def record(self, caller: Caller, action: str) -> None:
        """Write down who did what."""
        self._node.log.write(SOURCE, "info", f"{caller.name} {action}")

    def _sign(self, data: bytes) -> bytes:
        return self._node.http.mac(b"token-id", data)

    def _channel(self, caller: Caller, channel_id: int) -> ChannelInfo:
        """An open channel of the caller's. Whether others have one of that id is not told."""
        channel = self._node.http.open_channel(channel_id)
        if channel is None or not caller.sees(channel.owner):
            raise ApiProblem(NO_CHANNEL)
        return channel


def _about(package: PackageStatus, process: str) -> PackageStatus:
    """What there is to say of a package to somebody who may know of one of its processes."""
    asks = None if package.asks is None else [each for each in package.asks if each["process"] == process]
    return replace(package, processes=[each for each in package.processes if each == process], asks=asks)


def _status(channel: ChannelInfo) -> ChannelStatus:
    return convert(channel_row(channel), ChannelStatus)
