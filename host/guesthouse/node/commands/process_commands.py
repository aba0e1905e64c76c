"""Commands about processes and their channels."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from guesthouse.control.control_server import BadCommand, Command
from guesthouse.core.address import Address, ProcessId
from guesthouse.core.json_text import is_text
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_api.rows import channel_row, process_rows
from guesthouse.kernel.messaging.node_sender import Answered
from guesthouse.kernel.messaging.pending_requests import LONGEST_WAIT
from guesthouse.kernel.supervision.explain import explained
from guesthouse.kernel.supervision.supervised import NoSuchProcess
from guesthouse.node.commands.commanded_node import CommandedNode, cluster_of
from guesthouse.node.commands.request_fields import process_of

MOST_SHOWN: Final = 4 * 1024 * 1024
"""Most bytes of a response, blob included, that `send` returns."""


class ProcessCommands:
    """The commands about processes and channels. Each takes a request and yields JSON values."""

    def __init__(self, node: CommandedNode) -> None:
        self._node = node

    def all(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {
            "ps": self.ps,
            "channels": self.channels,
            "send": self.send,
            "restart": self.restart,
            "stop": self.stop,
            "kill": self.kill,
            "explain": self.explain,
        }

    async def ps(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each process: what it is, where it runs, and its use of each limit; with `cluster`, those of all nodes."""
        if request.get("cluster") is True:
            async for row in cluster_of(self._node).listed("ps"):
                yield row
            return
        async for row in process_rows(self._node):
            yield row

    async def channels(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each open channel."""
        for channel in self._node.http.open_channels():
            yield channel_row(channel)

    async def send(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Send a request as the node's terminal; with `seconds`, yield the response."""
        target, body = self._target(request.get("address")), request.get("body")
        blob, seconds = _blob(request.get("blob")), request.get("seconds")
        if not isinstance(body, str) or not is_text(body):
            raise BadCommand("send takes a `body` of text")
        terminal = self._node.router.terminal
        if seconds is None:
            terminal.tell(target, body.encode(), blob)
            return
        if type(seconds) is not int or not 0 < seconds <= LONGEST_WAIT:
            raise BadCommand(f"send takes `seconds`, from 1 to {LONGEST_WAIT}")
        yield _response(await terminal.ask(target, body.encode(), blob, seconds))

    async def restart(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Restart a process, or start one that was stopped."""
        process_id = process_of(request)
        await self._node.restart(process_id)
        yield self._state_of(process_id)

    async def stop(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """End a process for good. One that has ended is listed no longer."""
        process_id = process_of(request)
        await self._node.stop(process_id)
        yield self._state_of(process_id)

    async def kill(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """End a run of a process as a trap would."""
        process_id = process_of(request)
        await self._node.supervisor.kill(process_id)
        yield self._state_of(process_id)

    async def explain(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """What a process holds and why, what it was refused, and who may message it."""
        process_id = process_of(request)
        process = self._node.router.find(process_id)
        if process is None:
            raise NoSuchProcess(f"this node has no process {process_id}: `guesthouse ps` lists its processes")
        yield explained(process)

    def _state_of(self, process_id: ProcessId) -> dict[str, Any]:
        process = self._node.router.find(process_id)
        state = "stopped" if process is None else process.state.value
        return {"process": str(process_id), "state": state}

    def _target(self, text: object) -> Address:
        if not isinstance(text, str):
            raise BadCommand("send takes an `address`")
        return Address.parse(text if "@" in text else f"{self._node.settings.node}@{text}")


def _blob(text: object) -> LazyLoadBlob | None:
    if text is None:
        return None
    try:
        return LazyLoadBlob(None, base64.b64decode(str(text), validate=True))
    except binascii.Error:
        raise BadCommand("a `blob` is base64") from None


def _response(answered: Answered) -> dict[str, Any]:
    """A response as JSON: the body as text where it is UTF-8, and as base64.

    Raises:
        BadCommand: it is over `MOST_SHOWN` and would take too long to encode.
    """
    size = len(answered.body) + (0 if answered.blob is None else len(answered.blob.bytes))
    if size > MOST_SHOWN:
        raise BadCommand(
            f"the response has {size} bytes, over the limit of {MOST_SHOWN}: request it in parts"
        )
    try:
        text = answered.body.decode()
    except UnicodeDecodeError:
        text = None
    blob = answered.blob
    return {
        "source": answered.source,
        "body": text,
        "body_base64": base64.b64encode(answered.body).decode(),
        "metadata": answered.metadata,
        "blob": None
        if blob is None
        else {"mime": blob.mime, "bytes_base64": base64.b64encode(blob.bytes).decode()},
    }
