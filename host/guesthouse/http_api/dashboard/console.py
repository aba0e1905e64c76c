"""A channel of the node's own to a process, by which somebody at the dashboard talks with it as a client would."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from guesthouse.core.config import Settings
from guesthouse.http_api.dashboard.page_messages import CONSOLE_CHARACTERS
from guesthouse.http_api.problems import ApiProblem, ProblemKind
from guesthouse.http_server.auth.tokens import Scope
from guesthouse.http_server.server import HttpServer

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

NOT_OPENED: Final = ProblemKind(409, "not-opened", "The channel could not be opened")
NO_CONSOLE: Final = ProblemKind(409, "no-console", "No channel is open")
_TOKEN_SECONDS: Final = 60
_QUEUED: Final = 4
_SHOWN_BYTES: Final = 256


class Console:
    """An open channel.

    Args:
        channel: the connection.
        tell: called with what arrives, as fields of an event, and with how it was closed.
        room: waits until the page has read what it was told.
    """

    def __init__(
        self, channel: ClientConnection, tell: Callable[..., None], room: Callable[[], Awaitable[None]]
    ) -> None:
        self._channel = channel
        self._tell = tell
        self._room = room
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to receive."""
        self._task = tasks.create_task(self._receive())

    async def send(self, text: str) -> None:
        """Send a text message.

        Raises:
            ApiProblem: the channel is closed.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            await self._channel.send(text)
        except ConnectionClosed:
            raise ApiProblem(NO_CONSOLE, "it was closed") from None

    def close(self) -> None:
        """Close the channel."""
        if self._task is not None:
            self._task.cancel()

    async def _receive(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                message = await self._channel.recv()
                await self._room()
                self._tell(**_shown(message))
        except ConnectionClosed as closed:
            received = closed.rcvd
            code, reason = (1006, "") if received is None else (received.code, received.reason)
            self._tell(closed=code, reason=reason)
        finally:
            with contextlib.suppress(Exception):
                await self._channel.close()


def _shown(message: str | bytes) -> dict[str, Any]:
    """A message, or the beginning of a long one."""
    if isinstance(message, str):
        return {"text": message[:CONSOLE_CHARACTERS], "size": len(message.encode())}
    return {"base64": base64.b64encode(message[:_SHOWN_BYTES]).decode(), "size": len(message)}


async def opened(
    http: HttpServer, settings: Settings, process: str, path: str
) -> tuple[ClientConnection, int]:
    """Open a channel to a process, by a token for that alone. Returns it with its id, 0 if that is not told.

    Raises:
        ApiProblem: the node refuses it.
    """
    from websockets.asyncio.client import connect  # the first console loads it
    from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

    token = http.issue_token(_TOKEN_SECONDS, Scope(None, process, 1), renewable=False)
    bound = f"/{process}/{path.lstrip('/')}" if path else "/"
    cookie = {"Cookie": f"kinode-auth_{settings.node}={token}"} if path else {}
    try:
        channel = await connect(
            http.url.replace("http", "ws", 1) + bound,
            additional_headers=cookie,
            ssl=_trust(settings.http.tls_cert),
            max_size=settings.connections.message_bytes,
            max_queue=_QUEUED,
            proxy=None,
        )
    except InvalidStatus as refused:
        text = (refused.response.body or b"").decode(errors="replace")[:300]
        raise ApiProblem(NOT_OPENED, f"{refused.response.status_code} {text}".strip()) from None
    except (WebSocketException, OSError, TimeoutError, ValueError) as error:
        raise ApiProblem(NOT_OPENED, str(error)) from None
    if path:
        return channel, 0
    try:
        await channel.send(json.dumps({"auth_token": token, "target_process": process}))
        return channel, json.loads(await channel.recv())["channel_id"]
    except ConnectionClosed as closed:
        text = (
            "the connection was lost" if closed.rcvd is None else f"{closed.rcvd.code} {closed.rcvd.reason}"
        )
        raise ApiProblem(NOT_OPENED, text) from None


def _trust(file: str | None) -> ssl.SSLContext | None:
    """Trust the node's own certificate and no other: its name may be any, as this is the node itself."""
    if file is None:
        return None
    context = ssl.create_default_context(cafile=file)
    context.check_hostname = False
    return context
