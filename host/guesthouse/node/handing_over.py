"""Hands a node over to its successor, and takes over from its predecessor, through a file in the home.

What is handed over is what clients and processes have been promised: resumable channels with what their clients have
not acknowledged, messages that no process has taken, and requests that wait for a response. What processes know
themselves they keep in their state.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from guesthouse.core.address import ProcessId
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import BadProcessId, GuesthouseError
from guesthouse.core.printable import number_of
from guesthouse.http_server.sessions.handed_channel import BadHandover, HandedChannel
from guesthouse.kernel.process.handed_mailbox import Handed, HandedMessage, HandedOpen, HandedRequest
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.database import StateError
from guesthouse.link.to_worker import Open, Request, ToProcess
from guesthouse.node import handover_file
from guesthouse.node.handover_file import HandoverFile, Record

if TYPE_CHECKING:
    from guesthouse.node.base_node import BaseNode

BLOCKED_STEPS: Final = 100
"""A second for processes that block on requests to others, before any is told to finish."""
_STEP_SECONDS: Final = 0.01


class Predecessor:
    """What the node's run before has left, until each process has its part.

    Args:
        node: the node, before its first process.
    """

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        self._opens: dict[ProcessId, list[Open]] = defaultdict(list)
        self._messages: dict[ProcessId, list[tuple[ToProcess, int]]] = defaultdict(list)

    async def load(self) -> None:
        """Read what was left. What cannot be read is logged, and lost."""
        node = self._node
        try:
            handed = await asyncio.to_thread(
                handover_file.take, node.home.handover, node.http.handover_key, node.settings.node
            )
            if handed is None:
                return
            self._take(handed)
        except (BadHandover, BadProcessId, OSError) as error:
            self._opens.clear()
            self._messages.clear()
            text = f"the channels of the run before are lost: {node.home.handover} cannot be used: {error}"
            node.log.write("node", "error", text)
            return
        kinds = [type(record) for record in handed.records]
        node.log.write(
            "node",
            "info",
            f"takes over {number_of(kinds.count(HandedChannel), 'channel')} and "
            f"{number_of(kinds.count(HandedMessage), 'message')}, left {handed.away_seconds:.1f} s ago",
        )

    def _take(self, handed: handover_file.Handover) -> None:
        records, away = handed.records, handed.away_seconds
        for record in records:
            if isinstance(record, HandedMessage):
                self._messages[ProcessId.parse(record.process)].append((record.message, record.size))
            elif isinstance(record, HandedOpen):
                self._opens[ProcessId.parse(record.process)].append(record.message)
        requests = [record for record in records if isinstance(record, HandedRequest)]
        self._node.http.take_over([record for record in records if isinstance(record, HandedChannel)], away)
        ids = self._node.router.take_over(requests, away)
        for messages in self._messages.values():
            messages[:] = [
                (replace(message, request_id=ids[message.request_id]), size)
                if isinstance(message, Request) and message.request_id
                else (message, size)
                for message, size in messages
                if not isinstance(message, Request) or message.request_id in (0, *ids)
            ]

    def inherit(self, process: Process) -> None:
        """A process is there, and gets what is its own, before its first run."""
        self._node.http.adopt(process)
        messages = self._messages.pop(process.id, [])
        process.mailbox.take_over(self._opens.pop(process.id, []), messages)

    def go_on(self) -> None:
        """All processes are there. What was left for others is lost."""
        node = self._node
        for owner, count in node.http.left_over():
            node.log.write(
                str(owner), "warning", f"is not there any more: {number_of(count, 'channel')} of it lost"
            )
        for owner, messages in self._messages.items():
            text = f"is not there any more: {number_of(len(messages), 'message')} for it lost"
            node.log.write(str(owner), "warning", text)
        self._messages.clear()
        self._opens.clear()
        node.router.go_on()


class CannotHandOver(GuesthouseError):
    """There is no room on the disk for what the node would hand over."""


async def reserve(node: BaseNode) -> None:
    """Have the disk keep room for what `hand_over` will write: for what there is now, and a quarter more.

    Raises:
        CannotHandOver: there is no room.
    """
    needed = node.http.handover_bytes() + node.router.handover_bytes()
    if needed == 0 or node.handover_room is not None:
        return
    try:
        room = await asyncio.to_thread(HandoverFile, node.home.handover, needed * 5 // 4)
    except OSError as error:
        raise CannotHandOver(disk_errors.unwritten(node.home.handover, error)) from None
    _keep(node, room)


def _keep(node: BaseNode, room: HandoverFile) -> None:
    if node.handover_room is None:
        node.handover_room = room
    else:  # another command came first
        room.close()


async def hand_over(node: BaseNode) -> bool:
    """Have the node's processes finish, and write what its successor goes on with. The node is closed next: sockets of
    resumable channels are closed already, without a close frame, and their clients come back at once.

    Returns:
        False when there is no room on the disk for it. Nothing has been given up then.
    """
    try:
        await reserve(node)
    except CannotHandOver as error:
        node.log.write("node", "error", f"nothing is handed over, and all channels are closed: {error}")
        return False
    node.http.let_go()
    for _ in range(BLOCKED_STEPS):
        if not node.router.anyone_blocks:
            break
        await asyncio.sleep(_STEP_SECONDS)
    versions = {spec.id: spec.version for package in node.packages for spec in package.processes}
    await node.supervisor.hand_over(lambda process: versions.get(process, "0"))
    with suppress(StateError):
        await node.state.read(
            "SELECT 1"
        )  # answers of modules to what was asked before are in the mailboxes then
    channels = node.http.hand_over()
    problem, is_written = await asyncio.to_thread(_write, node, [*channels, *_mailboxes(node)])
    if problem:
        node.log.write("node", "error", problem)
    if is_written:
        node.log.write("node", "info", f"hands over {number_of(len(channels), 'channel')}")
    return True


def _write(node: BaseNode, records: Sequence[Record]) -> tuple[str, bool]:
    """Write the file; blocks. Returns what is lost, if anything is, and whether it is written or not needed."""
    room, node.handover_room = node.handover_room, None
    if room is None and not records:
        return "", True
    try:
        file = HandoverFile(node.home.handover) if room is None else room
        left_out = file.write(node.http.handover_key, node.settings.node, records)
    except OSError as error:
        return f"nothing is handed over: {disk_errors.unwritten(node.home.handover, error)}", False
    if not left_out:
        return "", True
    lost = number_of(left_out, "channel or message is", "channels or messages are")
    return f"{lost} not handed over: too large, or the disk has no room", True


def _mailboxes(node: BaseNode) -> Iterator[Record]:
    requests = node.router.hand_over()
    ids = {0, *(request.id for request in requests)}
    yield from requests
    for process in node.router.processes():
        opens, messages = process.mailbox.hand_over()
        for opened in opens:
            yield HandedOpen(str(process.id), opened)
        for message, size in messages:
            if isinstance(message, Handed) and (
                not isinstance(message, Request) or message.request_id in ids
            ):
                yield HandedMessage(str(process.id), message, size)
