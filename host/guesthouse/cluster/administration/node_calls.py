"""Requests to other nodes and their answers, over the sessions with them."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import traceback
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Self, TypeAlias, TypeVar

from msgspec.structs import replace

from guesthouse import __version__
from guesthouse.cluster.administration.administration_messages import (
    MAX_MESSAGE,
    UNREADABLE,
    Message,
    MessageHead,
    RefusedRequest,
    decode,
    decode_head,
    encode,
)
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.ports import LogPort
from guesthouse.core.printable import printable
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.cluster.services import ADMINISTRATION, PeersPort

SOURCE: Final = "cluster"
MOST_FROM_NODE: Final = 32
"""Requests of one node that are being answered."""
MOST_IN_ALL: Final = 128
_ROOM_SECONDS: Final = 30.0
_LONGEST_ERROR: Final = 2000

Handler: TypeAlias = Callable[[str, Message], Awaitable[Message | None]]
"""Answers a request of a node; a `GuesthouseError` refuses it."""
_Reply = TypeVar("_Reply", bound=Message)


class NodeUnreachable(GuesthouseError):
    """A node cannot be reached, or did not answer."""


class NodeRefused(GuesthouseError):
    """A node refused a request; the message is that node's."""


class Calls:
    """The administration service of one node. An async context manager: leaving it ends what is under way.

    Args:
        peers: the sessions.
        handlers: by kind of request.
        log: the node's log.
        up: called with each node with which a session has begun.
        lost: called with each node whose session has ended, after its requests were given up.
    """

    def __init__(
        self,
        peers: PeersPort,
        handlers: Mapping[str, Handler],
        log: LogPort,
        up: Callable[[str], None],
        lost: Callable[[str], None],
    ) -> None:
        self._peers = peers
        self._handlers = handlers
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._on_up, self._on_lost = up, lost
        self._ids = itertools.count(secrets.randbelow(2**32) + 1)
        self._asked: dict[int, tuple[str, asyncio.Future[Message]]] = {}
        self._rooms: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._answering: dict[asyncio.Task[None], str] = {}
        self._of_node: Counter[str] = Counter()
        self._up: set[str] = set()
        """Nodes with a session."""
        self._tasks = asyncio.TaskGroup()
        self._closed = False
        peers.register(ADMINISTRATION, self)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed = True
        for task in self._answering:
            task.cancel()
        for node, answer in self._asked.values():
            _fail(answer, NodeUnreachable(f"{node} was not asked to the end: this node stops"))
        await self._tasks.__aexit__(None, None, None)

    async def ask(self, node: str, request: Message, wanted: type[_Reply], seconds: float) -> _Reply:
        """Send a request, and return the answer.

        Args:
            node: whom to ask.
            request: its id is set here.
            wanted: what the answer has to be.
            seconds: for the answer.

        Raises:
            NodeUnreachable: there is no session, it ended, or no answer came in time. What was asked may have been
                done all the same.
            NodeRefused: the node refused, or its answer is none.
        """
        request_id = next(self._ids)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = (node, answer)
        try:
            async with asyncio.timeout(seconds):
                await self._send(node, replace(request, id=request_id))
                reply = await answer
        except TimeoutError:
            raise NodeUnreachable(
                f"{node} did not answer within {seconds:g} s: see its log, and that it runs"
            ) from None
        finally:
            del self._asked[request_id]
        if isinstance(reply, RefusedRequest):
            raise NodeRefused(f"{node}: {printable(reply.error)}")
        if not isinstance(reply, wanted):
            raise NodeRefused(
                f"{node} gave an answer that belongs to another request: is it of this version?"
            )
        return reply

    def tell(self, node: str, message: Message) -> None:
        """Send a message that has no answer, if there is room for it."""
        self._peers.send(node, ADMINISTRATION, encode(message), must=True)

    async def _send(self, node: str, message: Message) -> None:
        """Send a message once there is room.

        Raises:
            NodeUnreachable: there is no session, and none can be had; or no room within half a minute.
        """
        body = encode(message)
        end = asyncio.get_running_loop().time() + _ROOM_SECONDS
        while (failed := self._peers.send(node, ADMINISTRATION, body)) is not None:
            if failed == "offline":
                raise NodeUnreachable(_unreachable(node))
            room = self._rooms[node]
            room.clear()
            try:
                async with asyncio.timeout_at(end):
                    await room.wait()
            except TimeoutError:
                raise NodeUnreachable(f"{node} takes nothing: see its log") from None

    # See `services.PeerService`.

    def receive(self, node: str, body: bytes) -> None:
        """A message of another node."""
        head = MessageHead("")
        try:
            head = decode_head(body)
            if len(body) > MAX_MESSAGE:
                raise _TooBig
            message = decode(head, body)
        except (_TooBig, *UNREADABLE) as error:
            why = f"has {len(body)} bytes, over {MAX_MESSAGE}" if isinstance(error, _TooBig) else str(error)
            self._cannot_read(node, head, f"cannot be read ({why})")
            return
        if message is None:
            self._cannot_read(node, head, f"is not known to this version, {__version__}: upgrade the node")
        elif head.reply:
            asked, answer = self._asked.get(head.id, ("", None))
            if answer is not None and asked == node and not answer.done():
                answer.set_result(message)
        else:
            self._take(node, head, message)

    def up(self, node: str) -> None:
        """A session has begun."""
        self._up.add(node)
        self._on_up(node)

    def lost(self, node: str) -> None:
        """The session has ended, or none could be made."""
        text = (
            f"the connection to {node} was lost before it answered"
            if node in self._up
            else _unreachable(node)
        )
        self._up.discard(node)
        for asked, answer in self._asked.values():
            if asked == node:
                _fail(answer, NodeUnreachable(text))
        for task, of in self._answering.items():
            if of == node:
                task.cancel()
        self._rooms.pop(node, asyncio.Event()).set()
        self._on_lost(node)

    def room(self, node: str) -> None:
        """There is room again."""
        self._rooms[node].set()

    def _cannot_read(self, node: str, head: MessageHead, why: str) -> None:
        kind = ascii(head.kind)
        text = f"a message {kind} of {node} was refused: it {why}"[:_LONGEST_ERROR]
        self._throttled_log.say(SOURCE, f"refused {node}", text)
        if head.reply:
            asked, answer = self._asked.get(head.id, ("", None))
            if answer is not None and asked == node:
                _fail(answer, NodeRefused(f"the answer {kind} of {node} {why}"))
        elif head.id:
            self._refuse(node, head.id, f"the message {kind} {why}")

    def _take(self, node: str, head: MessageHead, message: Message) -> None:
        if self._closed:
            return
        if self._of_node[node] >= MOST_FROM_NODE or len(self._answering) >= MOST_IN_ALL:
            self._refuse(node, head.id, "this node answers as many requests as it may: try again later")
            return
        task = self._tasks.create_task(self._answer(node, head, message))
        self._answering[task] = node
        self._of_node[node] += 1
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        node = self._answering.pop(task)
        self._of_node -= Counter((node,))

    async def _answer(self, node: str, head: MessageHead, message: Message) -> None:
        try:
            reply = await self._handlers[head.kind](node, message)
        except GuesthouseError as error:
            self._refuse(node, head.id, str(error))
        except Exception:
            self._log.write(SOURCE, "error", f"a {head.kind} of {node} failed: {traceback.format_exc()}")
            self._refuse(node, head.id, "this node failed on it, a bug: see its log")
        else:
            if head.id and reply is not None:
                with suppress(NodeUnreachable):  # who asked has been told so
                    await self._send(node, replace(reply, id=head.id, reply=True))

    def _refuse(self, node: str, request_id: int, error: str) -> None:
        if request_id:
            self.tell(node, RefusedRequest(id=request_id, reply=True, error=error[:_LONGEST_ERROR]))


class _TooBig(Exception):
    """A message is over `MAX_MESSAGE`."""


def _unreachable(node: str) -> str:
    return f"{node} cannot be reached: see `guesthouse cluster nodes`"


def _fail(answer: asyncio.Future[Message], error: GuesthouseError) -> None:
    if not answer.done():
        answer.set_exception(error)
