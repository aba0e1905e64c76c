"""Accepts connections, a few in each iteration of the loop, and applies the connection limits first."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from guesthouse.http_server.front import Front, FrontedSocket
from guesthouse.http_server.http_connection import HttpConnection
from guesthouse.http_server.state.connection_limits import AdmittedConnection, ConnectionAdmission
from guesthouse.http_server.state.descriptors import first_spare

AT_ONCE: Final = 4
"""Connections accepted in one iteration of the loop, so that a burst does not delay open connections."""

_PAUSE_SECONDS: Final = 0.1
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Accepts connections inside its `async with` block, until `stop`. On exit pending TLS handshakes are cancelled.

    Args:
        listening: a bound, non-blocking socket; closed by the caller, after the block.
        connection_limits: the connection limits.
        connection: makes the protocol of a connection that is admitted or gets an error response.
        tls: the TLS context, or None.
        tls_seconds: time-out of the TLS handshake.
        log_fault: logs why a connection cannot be accepted.
        front: holds the sockets of admitted clients, as far as it takes them.
    """

    def __init__(
        self,
        listening: socket.socket,
        connection_limits: ConnectionAdmission,
        connection: Callable[[str, AdmittedConnection], HttpConnection],
        *,
        tls: ssl.SSLContext | None,
        tls_seconds: float,
        log_fault: Callable[[str], None],
        front: Front | None = None,
    ) -> None:
        self._listening = listening
        self._connection_limits = connection_limits
        self._connection = connection
        self.tls = tls
        """TLS context for new connections."""
        self._tls_seconds = tls_seconds
        self._log_fault = log_fault
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._tasks = asyncio.TaskGroup()
        self._connecting: set[asyncio.Task[None]] = set()
        self._resume_timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._loop.add_reader(self._listening, self._accept)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        for task in self._connecting:
            task.cancel()
        await self._tasks.__aexit__(kind, error, trace)

    def stop(self) -> None:
        """Stop accepting."""
        self._loop.remove_reader(self._listening)
        if self._resume_timer is not None:
            self._resume_timer.cancel()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(error.strerror)
                return
            number = accepted.fileno()
            self._admit(accepted, str(address[0]))
            if number >= first_spare(self._connection_limits.spare):
                self._pause("the last files that the node may open are not for clients")
                return

    def _pause(self, why: str | None) -> None:
        """Leave clients in the kernel's backlog until other files are closed."""
        self._loop.remove_reader(self._listening)
        self._resume_timer = self._loop.call_later(_PAUSE_SECONDS, self._resume)
        self._log_fault(f"cannot accept connections ({why}): raise the limit on open files")

    def _resume(self) -> None:
        if self._has_room():
            self._loop.add_reader(self._listening, self._accept)
        else:
            self._resume_timer = self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _has_room(self) -> bool:
        """Whether the next socket would get a descriptor that clients may have."""
        try:
            lowest = os.dup(self._listening.fileno())
        except OSError:
            return False
        os.close(lowest)
        return lowest < first_spare(self._connection_limits.spare)

    def _admit(self, accepted: socket.socket, address: str) -> None:
        accepted.setblocking(False)
        verdict = self._connection_limits.admit(address)
        if verdict is AdmittedConnection.DROP:
            accepted.close()
            return
        task = self._tasks.create_task(self._connect(accepted, address, verdict))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, accepted: socket.socket, address: str, verdict: AdmittedConnection) -> None:
        connection = self._connection(address, verdict)
        protocol: asyncio.Protocol = connection
        tls = self.tls
        if self._front is not None and verdict is AdmittedConnection.YES:
            taken = self._front.take(accepted, secure=tls is not None)
            if taken is not None:
                accepted, connection.behind = taken
                protocol, tls = FrontedSocket(connection, connection.behind), None
        seconds = None if tls is None else self._tls_seconds
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol, accepted, ssl=tls, ssl_handshake_timeout=seconds
            )
        except OSError:
            accepted.close()  # disconnected, or the TLS handshake failed
        except Exception:
            accepted.close()
            self._log_fault(f"a connection was dropped: {traceback.format_exc()}")
        finally:
            if not connection.connected:
                self._connection_limits.release(address, verdict)
                if connection.behind is not None:
                    connection.behind.left()
