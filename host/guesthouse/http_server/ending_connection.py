"""How an HTTP connection refuses requests and ends, and how long clients may leave responses unread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from guesthouse.http_server import close_codes
from guesthouse.http_server.behind import Behind
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.direct_request import DirectRequest
from guesthouse.http_server.http.login.tossed_cookies import CLEAR_ALL, MOST_REMOVALS, names_in, removals
from guesthouse.http_server.http.request_heads import values_of
from guesthouse.http_server.refusals import plain_response
from guesthouse.http_server.routing.origin import client_scheme, is_local_name
from guesthouse.http_server.routing.paths import MAX_PATH
from guesthouse.http_server.state.connection_limits import AdmittedConnection
from guesthouse.http_server.state.timer_wheel import NEVER

REFUSED_SECONDS: Final = 1.0
REFUSALS: Final = {
    AdmittedConnection.TOO_MANY: close_codes.TOO_MANY,
    AdmittedConnection.TOO_MANY_FROM_ADDRESS: close_codes.TOO_MANY_FROM_ADDRESS,
}


class ResponseTransport:
    """The transport as a response uses it, which closes a connection that may still be sending."""

    __slots__ = ("_close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self._close = close

    def close(self) -> None:
        """Close once the response is sent."""
        self._close()


class EndingConnection(HttpToolsProtocol):
    """Base of an accepted socket; see `HttpConnection`."""

    _for_responses: ResponseTransport

    def __init__(
        self,
        context: Context,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        address: str,
        admitted: AdmittedConnection,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._context = context
        self._admitted = admitted
        self._address = address
        self._in_head = True
        self._headers = 0
        self._refused = False
        """Further input is discarded."""
        self._lingering = False
        """The sending side is closed, or is to be once all is sent."""
        self._pending: Refusal | None = None
        """Error response to send once the requests before are answered."""
        self._removals: tuple[tuple[str, str], ...] = ()
        """Headers of the error response."""
        self._direct_due = NEVER
        """Deadline of a direct request that is being answered."""
        self._running: RequestResponseCycle | DirectRequest | None = None
        """The request being answered; `cycle` is the last one parsed."""
        self._waiting: list[bytes] = []
        """Input queued in `context.turns`."""
        self._held = b""
        """Input that is not parsed ahead of the requests before it."""
        self.due = NEVER
        self.behind: Behind | None = None
        """Set if a subprocess holds the socket."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._context.deadlines.set(self, NEVER)
        self._context.connection_limits.release(self._address, self._admitted)
        if self.behind is not None:
            self.behind.left()
        self._disconnect()
        self._for_responses = None  # type: ignore[assignment] # breaks a reference cycle
        super().connection_lost(exc)

    def _expect_reading(self) -> None:
        """Start a deadline for the rest of a response, which may be too little to pause writing: a client that never
        reads it would keep its socket, which is closed once all is sent.
        """
        if self.due == self._direct_due and self.transport.get_write_buffer_size():
            limits = self._context.settings.connections
            self._due_in(limits.ping_seconds + limits.pong_seconds)

    def _due_in(self, seconds: float) -> None:
        """Set the deadline, unless that of a direct request comes before."""
        due = min(self._context.monotonic() + seconds, self._direct_due)
        self._context.deadlines.set(self, due)

    def _refuse(self, refusal: Refusal, head: bytes = b"") -> None:
        """Send an error response, after those to earlier requests (RFC 9112, section 9.3.2), and close. Only close
        if the response to this request has been started. `head` is part of a head that is too big.
        """
        self._removals = tuple(self._without_cookies(head))
        self._context.log_client_fault(self._address, f"a request was refused: {refusal.reason}")
        self._refused, self._waiting, self._held = True, [], b""
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not self._in_head and not cycle.response_complete:
            if cycle.response_started:
                self._context.deadlines.set(self, NEVER)
                self._expect_reading()
                self.transport.close()
                return
            self._drop_newest()
        self._context.deadlines.set(self, self._direct_due)
        if self._running is None:
            self._answer_refused(refusal)
        else:
            self._pending = refusal

    def _drop_newest(self) -> None:
        """Drop the request whose body is invalid, queued or running."""
        if self.pipeline:
            self.pipeline.popleft()  # the newest
        else:
            self._disconnect()

    def _disconnect(self) -> None:
        """Notify the running request that the client disconnected; uvicorn notifies only the newest."""
        running, self._running, self._direct_due = self._running, None, NEVER
        if isinstance(running, DirectRequest):
            running.abandon()
        elif running is not None:
            running.disconnected = True
            running.message_event.set()

    def _answer_refused(self, refusal: Refusal) -> None:
        self._pending = None
        self._context.refusals.refused(refusal)
        self._unset_keepalive_if_required()
        self.transport.write(plain_response(refusal, tls=self._is_tls(), headers=self._removals))
        self._linger()

    def _without_cookies(self, head: bytes) -> Iterator[tuple[str, str]]:
        """Headers that remove the cookies which made a head too big: pages can set so many that a browser is locked
        out. A long path does not clear cookies, since any link can have one.
        """
        if not head or not self._headers or len(self.url) > MAX_PATH:
            return
        hosts = values_of(self.headers or (), b"host")
        if self._is_tls() or is_local_name(hosts):
            yield CLEAR_ALL
        elif self._context.access.hosts.site(hosts) is not None:
            path = self.url.partition(b"?")[0].decode("ascii", "replace")
            for removal in islice(removals(names_in(head), hosts[0], path), MOST_REMOVALS):
                yield "Set-Cookie", removal

    def _linger(self) -> None:
        """Close the sending side and discard input. Closing at once would reset the connection of a client that is
        still sending, and lose the response.
        """
        self._refused = self._lingering = True
        self._waiting, self._held = [], b""
        self.pipeline.clear()
        self.flow.resume_reading()
        limits, full = self._context.settings.connections, self._admitted in REFUSALS
        seconds = REFUSED_SECONDS if full else limits.close_seconds
        if self.transport.get_write_buffer_size():
            seconds = max(seconds, limits.ping_seconds + limits.pong_seconds)
        if self.transport.can_write_eof():  # not with TLS, whose clients see where the response ends
            self.transport.write_eof()
        self._context.deadlines.set(self, self._context.monotonic() + seconds)

    def _close_after_response(self) -> None:
        """Close after the last response; a client that is still sending its request must get it (RFC 9112, section
        9.6).
        """
        if self.cycle is not None and self.cycle.more_body and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    @property
    def _has_ended(self) -> bool:
        """Whether the last response was given."""
        return self._lingering or self.transport.is_closing()

    def _is_tls(self) -> bool:
        """Whether the client uses TLS, according to the headers parsed so far."""
        claimed = values_of(self.headers or (), b"x-forwarded-proto")
        trusted = self._context.access.trusted_proxies
        return client_scheme(self.scheme or "http", self._address, claimed, trusted) == "https"

    def pause_writing(self) -> None:
        """The client does not read its response: start a deadline."""
        super().pause_writing()
        if not self._refused:
            self._context.deadlines.set(self, self._direct_due)
            self._expect_reading()

    def resume_writing(self) -> None:
        """The client reads again: what is left, or a head that came meanwhile, has a deadline from now."""
        super().resume_writing()
        if self._refused:
            return
        self._context.deadlines.set(self, self._direct_due)
        if self._in_head:
            self._due_in(self._context.settings.connections.handshake_seconds)
        elif self._running is None:
            self._expect_reading()

    def on_deadline(self, now: float) -> float:
        """The deadline of the head, of reading the response or of closing passed, or that of a direct request."""
        running = self._running
        if isinstance(running, DirectRequest) and now >= self._direct_due:
            running.late()
            return self.due
        unread = self.flow.write_paused or (not self._in_head and self.transport.get_write_buffer_size() > 0)
        if self._refused or unread:
            self.transport.abort()
        elif self._waiting or self._held:
            return now + REFUSED_SECONDS  # input has arrived and is still to be parsed
        elif self._in_head:
            self._refuse(REFUSALS.get(self._admitted, close_codes.REQUEST_LATE))
            return self.due  # of closing, or of a direct request before
        return self._direct_due
