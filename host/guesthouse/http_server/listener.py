"""New sockets: taken from the listening one a few at a time, and counted before anything is spent on them."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from guesthouse.http_server.http_connection import HttpConnection
from guesthouse.http_server.state.connection_limits import AdmittedConnection, ConnectionAdmission

AT_ONCE: Final = 4
"""Sockets accepted in one turn of the loop: thousands that come at once hold up nobody who is here already."""

_PAUSE_SECONDS: Final = 0.1
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Accepts in its `async with` block, until `stop`. At its end no socket is on its way any more.

    Args:
        listening: a bound, non-blocking socket; the caller closes it, after the block.
        connection_limits: where sockets are counted in.
        connection: makes the protocol of a socket that is admitted or is to be told why not.
        tls: the context for TLS, or None.
        tls_seconds: how long a client may take for its TLS handshake.
        log_fault: told why a socket is not accepted, in words.
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
    ) -> None:
        self._listening = listening
        self._connection_limits = connection_limits
        self._connection = connection
        self.tls = tls
        """For the handshakes of sockets that are accepted from now on."""
        self._tls_seconds = tls_seconds
        self._log_fault = log_fault
        self._loop = asyncio.get_running_loop()
        self._tasks = asyncio.TaskGroup()
        self._connecting: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None

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
        """Accept nothing more."""
        self._loop.remove_reader(self._listening)
        if self._again is not None:
            self._again.cancel()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(error)
                return
            self._admit(accepted, str(address[0]))

    def _pause(self, error: OSError) -> None:
        """Leave clients in the kernel's queue for a moment: sockets will be closed."""
        self._loop.remove_reader(self._listening)
        self._again = self._loop.call_later(_PAUSE_SECONDS, self._resume)
        self._log_fault(f"no socket can be accepted ({error.strerror}): raise the limit on open files")

    def _resume(self) -> None:
        self._loop.add_reader(self._listening, self._accept)

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
        tls = self.tls
        seconds = None if tls is None else self._tls_seconds
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, accepted, ssl=tls, ssl_handshake_timeout=seconds
            )
        except OSError:
            accepted.close()  # the client left, took too long, or speaks no TLS
        except Exception:
            accepted.close()
            self._log_fault(f"a socket was not taken: {traceback.format_exc()}")
        finally:
            if not connection.connected:
                self._connection_limits.release(address, verdict)
