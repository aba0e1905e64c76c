"""Keeps the node connected to one of its NATS servers, for ever.

A connection that ends is replaced by one to the next server of the list. What was not sent by then is lost, and nothing
is sent meanwhile: the sessions between nodes find out (`kernel/cluster/`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Literal, Self, TypeAlias

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from guesthouse.cluster.nats_client import Access, BoundedClient, close_client, open_client
from guesthouse.core.ports import LogPort
from guesthouse.core.throttled_log import ThrottledLog

SOURCE: Final = "cluster"
"""Source of log lines about other nodes and the way to them."""
MOST_PENDING_BYTES: Final = 16 * 1024 * 1024
"""What may wait for the server to read it."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
"""Seconds between attempts to reach the servers of the list."""
_CANCEL_SECONDS: Final = 2.5
"""More than it takes to close a connection."""

Handler: TypeAlias = Callable[[Msg], None]
"""Handles a message that arrived. Must not raise or block."""


class NatsConnection:
    """Messages to and from NATS. An async context manager, which does not wait for the servers.

    Args:
        servers: their URLs.
        access: what is shown to them.
        name: the node's, for the servers' listings.
        log: for what goes wrong.
    """

    def __init__(self, servers: Sequence[str], access: Access, name: str, log: LogPort) -> None:
        first = random.randrange(len(servers))  # noqa: S311 - spreads nodes over the servers
        self._servers = [*servers[first:], *servers[:first]]
        self._access = access
        self._name = name
        self._log = log
        self._throttled_log = ThrottledLog(log)
        self._subjects: dict[str, Handler] = {}
        self._client: BoundedClient | None = None
        self._ended = asyncio.Event()
        self._up = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None
        self.on_up: Callable[[], None] = lambda: None
        """Called when there is a new connection."""
        self.connections = 0
        """How often it was connected."""
        self.dropped = 0
        """Messages that came faster than they could be handled."""

    async def __aenter__(self) -> Self:
        _silence_nats()
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._stay_connected())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await end_tasks([self._task])
        await self._tasks.__aexit__(None, None, None)

    @property
    def client(self) -> BoundedClient | None:
        """The client, while it is connected."""
        client = self._client
        return client if client is not None and client.is_connected else None

    @property
    def server(self) -> str | None:
        """Host and port of the server, while there is one."""
        client = self.client
        url = None if client is None else client.connected_url
        return None if url is None else f"{url.hostname}:{url.port}"

    @property
    def max_payload(self) -> int:
        """Most bytes of a message, as the server says; 0 without one."""
        client = self.client
        most = 0 if client is None else client.max_payload
        return most if type(most) is int else 0

    @property
    def pending_bytes(self) -> int:
        """What waits for the server to read it; 0 without one."""
        client = self.client
        return 0 if client is None else client.unsent_bytes

    async def wait_up(self) -> BoundedClient:
        """Wait until the node is connected; returns the client, which is of use until its connection ends."""
        while (client := self.client) is None:
            self._up.clear()
            await self._up.wait()
        return client

    def handle(self, subject: str, handler: Handler) -> None:
        """Subscribe to a subject from the next connection on: call it before the context is entered."""
        self._subjects[subject] = handler

    def publish(self, subject: str, payload: bytes, reply: str = "") -> Literal["offline", "full"] | None:
        """Send a message, which may be lost; "offline" without a server, "full" when too much waits for it."""
        client = self.client
        if client is None:
            return "offline"
        if client.unsent_bytes + len(payload) > MOST_PENDING_BYTES:
            return "full"
        try:
            if not reply and _sent_now(client, subject, payload):
                return None
            _run_at_once(client.publish(subject, payload, reply))
        except NatsError as error:
            self._throttled_log.say(SOURCE, "publish", f"a message could not be sent: {said(error)}")
            return "offline"
        return None

    async def _stay_connected(self) -> None:
        pause, at, warned = _FIRST_PAUSE, 0, False
        while True:
            server = self._servers[at % len(self._servers)]
            at += 1
            self._ended.clear()
            try:
                client = await open_client(
                    *(server, self._access, self._name), on_error=self._on_error, on_closed=self._on_closed
                )
            except Exception as error:  # whatever nonsense a server makes the client stumble over
                self._throttled_log.say(SOURCE, server, f"{without_secret(server)}: {said(error)}")
                if at % len(self._servers) == 0:
                    if not warned:
                        self._log.write(
                            SOURCE, "warning", "no NATS server can be reached: other nodes cannot be"
                        )
                        warned = True
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads the attempts
                    pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            try:
                began = asyncio.get_running_loop().time()
                await self._serve(client)
            finally:
                self._client = None
                await close_client(client)
            warned = False
            if asyncio.get_running_loop().time() - began > _LONGEST_PAUSE:
                pause, at = _FIRST_PAUSE, 1 if at == 1 else at
            else:  # it ends each connection soon
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _serve(self, client: BoundedClient) -> None:
        """Subscribe, and wait until the connection ends."""
        try:
            for subject, handler in self._subjects.items():
                await client.hand_on(subject, handler)
            async with asyncio.timeout(_LONGEST_PAUSE):
                for _ in range(2):  # what others send from now on arrives
                    await client.flush()  # the first one's ping overtakes the subscriptions
        except Exception as error:  # whatever nonsense a server makes the client stumble over
            self._throttled_log.say(SOURCE, "subscribe", f"a NATS server fails: {said(error)}")
            return
        self._client = client
        self.connections += 1
        self._log.write(SOURCE, "info", f"connected to NATS at {self.server}")
        self._up.set()
        self.on_up()
        await self._ended.wait()
        cause = client.last_error
        text = (
            "the connection to NATS ended"
            if cause is None
            else f"the connection to NATS ended: {said(cause)}"
        )
        self._log.write(SOURCE, "warning", text)

    async def _on_closed(self) -> None:
        self._ended.set()

    async def _on_error(self, error: Exception) -> None:
        if isinstance(error, SlowConsumerError):
            self.dropped += 1
            text = "messages of other nodes were dropped: they come faster than this node handles them"
            self._throttled_log.say(SOURCE, "dropped", text)
        else:
            self._throttled_log.say(SOURCE, type(error).__name__, f"NATS: {said(error)}")


async def end_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: nats-py waits by `asyncio.wait_for`, which until Python 3.12 drops a
    cancellation that comes with the result, and then they would go on.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_CANCEL_SECONDS)


def _sent_now(client: BoundedClient, subject: str, payload: bytes) -> bool:
    try:
        return client.send_now(subject, payload)
    except (
        OSError,
        RuntimeError,
    ) as error:  # of a transport that has ended, which the client is not yet told
        raise NatsError(str(error)) from error


def _run_at_once(sending: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that does not wait: `publish` appends to a list when `pending_size` is 0."""
    try:
        sending.send(None)
    except StopIteration:
        return
    except (
        OSError,
        RuntimeError,
    ) as error:  # of a transport that has ended, which the client is not yet told
        raise NatsError(str(error)) from error
    sending.close()
    raise NatsError("the client waits to publish, which this version of nats-py should not")


def said(error: BaseException) -> str:
    """An error of the client for people, which may quote the server: on one line, of bounded length."""
    text = str(error).removeprefix("nats: ") or type(error).__name__
    return " ".join(text.split())[:200]


def without_secret(url: str) -> str:
    """A server's URL as it may be shown."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _silence_nats() -> None:
    """The client also logs by Python's `logging`, which would write to standard error."""
    logger = logging.getLogger("nats.aio.client")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
