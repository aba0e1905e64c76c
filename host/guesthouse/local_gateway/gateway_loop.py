"""A local gateway: takes clients that the node has accepted, until the node is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import traceback
from typing import Final

from guesthouse.http_server.state.partial_messages import PartialMessages
from guesthouse.local_gateway.client_relay import ClientRelay
from guesthouse.local_gateway.deflating import SharedDeflate
from guesthouse.local_gateway.gateway_link import (
    BadGatewayPacket,
    ClientCrowded,
    ClientHeard,
    ConfigureGateway,
    FromLocalGateway,
    GatewayFault,
    GatewayPong,
    GatewayReady,
    TakeClient,
    encode,
    receive,
)
from guesthouse.local_gateway.passed_certificate import tls_of

_AT_ONCE: Final = 64
"""Packets that are taken before clients have their turn."""
_LAST_SECONDS: Final = 0.5
"""For what is left to be sent when the node is gone."""
_MOST_TEXT: Final = 1000


class GatewayLoop:
    """The gateway. Implements `client_relay.RelayOwner`.

    Args:
        link: to the node.
    """

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self._link = link
        self._loop = asyncio.get_running_loop()
        self.shared = SharedDeflate()
        self._relays: dict[int, ClientRelay] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._tls: ssl.SSLContext | None = None
        self._unfinished = PartialMessages(0)
        self.message_bytes = 0
        self.close_seconds = self.pong_seconds = self.unread_seconds = self._handshake_seconds = 1.0

    async def run(self) -> None:
        """Serve until the node is gone."""
        self._loop.add_reader(self._link, self._receive)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                watching = self._tasks.create_task(self._watch())
                await self._ended.wait()
                watching.cancel()
                for task in self._connecting:
                    task.cancel()
            await self._let_finish()
        finally:
            self._loop.remove_reader(self._link)
            for relay in tuple(self._relays.values()):
                relay.abort()

    async def _let_finish(self) -> None:
        """The node has closed what it had open: send what is left of that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                while self._is_busy():  # noqa: ASYNC110 - nobody tells when they are empty
                    await asyncio.sleep(0.01)

    def _is_busy(self) -> bool:
        return any(relay.client.unsent or not relay.has_ended for relay in self._relays.values())

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                received = receive(self._link)
            except (BlockingIOError, InterruptedError):
                return
            except (OSError, BadGatewayPacket) as error:
                self._say(GatewayFault(f"what the node sent cannot be taken: {error}"))
                received = None
            if received is None:
                self._loop.remove_reader(self._link)
                self._ended.set()
                return
            message, descriptors = received
            if isinstance(message, ConfigureGateway):
                self._configure(message, descriptors)
            elif isinstance(message, TakeClient):
                self._take(message, [socket.socket(fileno=each) for each in descriptors])
            else:
                self._say(GatewayPong())

    def _configure(self, settings: ConfigureGateway, files: list[int]) -> None:
        self._handshake_seconds = settings.handshake_seconds
        self.close_seconds, self.pong_seconds = settings.close_seconds, settings.pong_seconds
        self.unread_seconds = settings.ping_seconds + settings.pong_seconds
        self.message_bytes = settings.message_bytes
        self._unfinished.limit = settings.unfinished_bytes
        if settings.tls:
            try:
                self._tls = tls_of(files)
            except (OSError, ValueError) as error:
                self._say(GatewayFault(f"the TLS certificate cannot be loaded: {error}"))
                return
            finally:
                for each in files:
                    os.close(each)
        self._say(GatewayReady())

    def _say(self, message: FromLocalGateway) -> None:
        """Tell the node; what it does not take at once is left out."""
        if isinstance(message, GatewayFault):
            message = GatewayFault(message.text[:_MOST_TEXT])
        with contextlib.suppress(OSError):
            self._link.send(encode(message))

    # Clients.

    def _take(self, message: TakeClient, sockets: list[socket.socket]) -> None:
        try:
            client, node = sockets
        except ValueError:  # the kernel closed the others
            for each in sockets:
                each.close()
            self._say(
                GatewayFault(
                    "a client was dropped: too many open files. Raise the limit on open files (LimitNOFILE=)"
                )
            )
            return
        task = self._tasks.create_task(self._connect(message, client, node))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, message: TakeClient, client: socket.socket, node: socket.socket) -> None:
        relay = ClientRelay(self, message.number, secure=message.secure)
        self._relays[message.number] = relay
        tls = self._tls if message.secure else None
        seconds = None if tls is None else self._handshake_seconds
        client.setblocking(False)
        node.setblocking(False)
        try:
            if message.secure and tls is None:
                raise OSError("there is no certificate")
            await self._loop.connect_accepted_socket(lambda: relay.node, node)
            await self._loop.connect_accepted_socket(
                lambda: relay.client, client, ssl=tls, ssl_handshake_timeout=seconds
            )
        except OSError:
            pass  # disconnected, or the TLS handshake failed
        except Exception:
            self._say(GatewayFault(f"a connection was dropped: {traceback.format_exc()}"))
        finally:
            if not relay.client.made:
                client.close()
                relay.client.over = True
                relay.abort()
                if not relay.node.made:
                    node.close()
                    self.ended(relay)

    def heard(self, number: int) -> None:
        """See `RelayOwner`."""
        self._say(ClientHeard(number))

    def holds(self, relay: ClientRelay, size: int, *, restarted: bool) -> None:
        """See `RelayOwner`."""
        self._unfinished.note(relay, size, restarted=restarted)

    def crowded(self, number: int) -> None:
        """See `RelayOwner`."""
        self._say(ClientCrowded(number))

    def ended(self, relay: ClientRelay) -> None:
        """See `RelayOwner`."""
        self._relays.pop(relay.number, None)
        self._unfinished.note(relay, 0)

    async def _watch(self) -> None:
        """Look for ends that have left and are not read."""
        while True:
            await asyncio.sleep(min(5.0, self.pong_seconds / 2))
            now = self._loop.time()
            for relay in tuple(self._relays.values()):
                relay.check_left(now)
