"""uvicorn's HTTP protocol with limits.

Adds limits that uvicorn lacks: number of connections, size and time of a request's head, and how long a response may
stay unread. Hands upgrades over to the listener's WebSocket protocol, with any bytes that followed the request.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.access import Peer
from guesthouse.http_server.behind import Behind
from guesthouse.http_server.context import Context
from guesthouse.http_server.ending_connection import (
    REFUSALS,
    REFUSED_SECONDS,
    EndingConnection,
    ResponseTransport,
)
from guesthouse.http_server.http.direct_request import DirectAnswers, DirectRequest
from guesthouse.http_server.http.request_heads import in_origin_form, is_unambiguous
from guesthouse.http_server.state.connection_limits import AdmittedConnection
from guesthouse.http_server.state.timer_wheel import NEVER
from guesthouse.http_server.websocket.protocol import MAX_HEAD

TakesOver: TypeAlias = Callable[[Context, Peer, Callable[[], None]], asyncio.Protocol]
"""Makes what speaks WebSocket on a connection, of the listener's state, the client, and what frees its place."""

MAX_HEADERS: Final = 128
"""Maximum headers of a request: each costs far more memory than its bytes."""

_HEAD_OVERHEAD: Final = 64
"""Bytes of a head that are not counted: method, version and line ends."""

_MAX_PIPELINED: Final = 16
"""Pipelined requests that are parsed ahead."""

_MAX_DIRECT: Final = 4
"""Requests of one read that are answered directly; the rest yields to other connections."""

_VERSION: Final = b"HTTP/"
"""Occurs in every request line."""

_JOINED: Final = 16 * 1024
"""Bytes of a body up to which it is cheaper to copy it than to write twice."""


class _HeadTooBig(Exception):
    """The head is too large or has too many headers."""


class _AmbiguousHead(Exception):
    """The head parses, but other servers could interpret it differently."""


class _AfterLast(Exception):
    """The head follows a request with whose response the connection ends."""


def _release_behind(release: Callable[[], None], behind: Behind) -> None:
    release()
    behind.left()


class HttpConnection(EndingConnection):
    """One accepted socket: takes its input, and hands requests on.

    Args:
        context: the server's state.
        config: uvicorn's.
        server_state: uvicorn's.
        app_state: uvicorn's.
        address: the client's.
        admitted: the verdict of `ConnectionAdmission`; the connection releases it.
    """

    def __init__(
        self,
        context: Context,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        address: str,
        admitted: AdmittedConnection,
    ) -> None:
        super().__init__(context, config, server_state, app_state, address, admitted)
        self._head = 0
        self._read = 0
        self._completed = False
        self._direct: DirectAnswers | None = getattr(self.app, "direct", None)
        self._directly = 0
        """Requests of the present input that may still be answered directly."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start the deadline of the first request."""
        super().connection_made(transport)
        if self.behind is not None:
            self.client, self.server, self.scheme = (
                self.behind.client,
                self.behind.server,
                cast(Literal["http", "https"], self.behind.scheme),
            )
        self._for_responses = ResponseTransport(transport, self._close_after_response)
        context = self._context
        admitted = self._admitted is AdmittedConnection.YES
        seconds = context.settings.connections.handshake_seconds if admitted else REFUSED_SECONDS
        context.deadlines.set(self, context.monotonic() + seconds)

    @property
    def connected(self) -> bool:
        """Whether `connection_made` was called: the TLS handshake comes first and may fail."""
        transport: asyncio.Transport | None = self.transport
        return transport is not None

    @property
    def answers_directly(self) -> DirectRequest | None:
        """The direct request that it is answering."""
        return self._running if isinstance(self._running, DirectRequest) else None

    def data_received(self, data: bytes) -> None:
        """Receive bytes, now or by way of `context.turns`."""
        if self._refused:
            return
        if self._held:
            self._held += data
        elif self._waiting or not self._context.turns.take():
            if not self._waiting:
                self.transport.pause_reading()
                self._context.turns.add(self._take_turn)
            self._waiting.append(data)
        else:
            self._take(data)

    def _take_turn(self) -> None:
        data, self._waiting = b"".join(self._waiting), []
        if self.transport.is_closing():
            return
        if not self.flow.read_paused:
            self.transport.resume_reading()
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        refusal = REFUSALS.get(self._admitted)
        if refusal is not None:
            self._refuse(refusal)
            return
        self._completed = False
        self._directly = _MAX_DIRECT
        start = end = 0
        try:
            while start < len(data) and (end := self._room(data, start)):
                self.parser.feed_data(data[start:end])
                start = end
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[start + upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if self._has_ended:
                return
            big = isinstance(error.__context__, _HeadTooBig)
            self._refuse(
                close_codes.HEADERS_TOO_BIG if big else close_codes.BAD_REQUEST, data if big else b""
            )
        else:
            if self._has_ended:
                return
            self._count_unfinished(start, data)
            direct = self._newest_direct
            if direct is not None and direct.more_body and not direct.response_complete:
                self.expect_answer(
                    self._context.settings.connections.handshake_seconds
                )  # for more of its body
            if start < len(data) and not self._refused:
                self._held = data[start:]
                self.flow.pause_reading()

    def _room(self, data: bytes, start: int) -> int:
        """End offset of the input that can be parsed without exceeding `_MAX_PIPELINED`; 0 when none can. Counts
        occurrences of `HTTP/`, an upper bound for the number of requests.
        """
        end = start
        for _ in range(_MAX_PIPELINED - len(self.pipeline)):
            end = data.find(_VERSION, end)
            if end < 0:
                return len(data)
            end += len(_VERSION)
        return end if end > start else 0

    def on_response_complete(self) -> None:
        """A response was sent: continue with the next request."""
        if self._lingering:
            self._running = None
            self.server_state.total_requests += 1
            return
        self._running = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        self._expect_reading()
        if self._pending is not None and self._running is None and not self.transport.is_closing():
            self._answer_refused(self._pending)
        elif self._held and not self.transport.is_closing():
            held, self._held = self._held, b""
            self._take(held)

    def _upgrade(self, rest: bytes) -> None:
        if not self._should_upgrade():
            if self.cycle is not None:
                self.cycle.keep_alive = False
        elif self.cycle is not None and not self.cycle.response_complete:
            self._refuse(close_codes.BAD_REQUEST)
        else:
            self._hand_over(rest)

    def _hand_over(self, rest: bytes) -> None:
        """Hand the socket over to what speaks WebSocket on this listener, with the request as parsed."""
        self.connections.discard(self)
        self._context.deadlines.set(self, NEVER)
        lines = [
            f"{self.scope['method']} ".encode(),
            self.url,
            b" HTTP/",
            self.scope["http_version"].encode(),
        ]
        for name, value in self.headers:
            lines += (b"\r\n", name, b": ", value)
        lines.append(b"\r\n\r\n")
        address, port = self.client or ("", 0)
        peer = Peer(address, port, self.scheme or "http", self.behind)
        release = functools.partial(self._context.connection_limits.release, self._address, self._admitted)
        if self.behind is not None:
            release = functools.partial(_release_behind, release, self.behind)
        self._admitted = AdmittedConnection.DROP  # released by what takes over
        # Breaks reference cycles, as uvicorn does.
        self.parser = self._for_responses = None  # type: ignore[assignment]
        takes_over = cast(TakesOver, self.ws_protocol_class)
        connection = takes_over(self._context, peer, release)
        connection.connection_made(self.transport)
        self.transport.set_protocol(connection)
        connection.data_received(b"".join(lines))
        if rest:
            connection.data_received(rest)

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_head, self._head, self._headers, self._read = True, 0, 0, 0
        if self.due == self._direct_due:
            self._due_in(self._context.settings.connections.handshake_seconds)

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A complete header or trailer. Whitespace around the value is stripped."""
        self._count(len(name) + len(value) + 4)
        self._headers += 1
        if self._headers > MAX_HEADERS:
            raise _HeadTooBig
        super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._has_ended:
            raise _AfterLast
        method = self.parser.get_method()
        self.url = in_origin_form(method, self.url, self.headers)
        if not is_unambiguous(method, self.url, self.parser.get_http_version(), self.headers):
            raise _AmbiguousHead
        self._unset_keepalive_if_required()
        self._in_head = False
        self._context.deadlines.set(self, self._direct_due)
        before = self.cycle
        direct = self._direct_request()
        if direct is not None:
            self.cycle = cast(RequestResponseCycle, direct)
            self._running = direct
            return
        super().on_headers_complete()
        if self.cycle is before:
            return
        self.cycle.transport = cast(asyncio.Transport, self._for_responses)
        if not self.pipeline:
            self._running = self.cycle
        elif isinstance(self._running, DirectRequest) and len(self.pipeline) == 1:
            self.flow.resume_reading()  # so that a client that leaves is noticed, as by uvicorn's `receive`

    def on_body(self, body: bytes) -> None:
        """A part of a request's body."""
        direct = self._newest_direct
        if direct is not None:
            direct.take(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._completed = True
        direct = self._newest_direct
        if direct is not None:
            direct.finish()
        else:
            super().on_message_complete()

    @property
    def _newest_direct(self) -> DirectRequest | None:
        """The request parsed last, if it is answered directly."""
        newest: object = self.cycle
        return newest if isinstance(newest, DirectRequest) else None

    def _direct_request(self) -> DirectRequest | None:
        """The request whose head was read, if it is answered directly: all before it are, and nothing is unread."""
        if self._direct is None or not self._directly or self.flow.write_paused or self.pipeline:
            return None
        before, parser = self.cycle, self.parser
        if (before is not None and not before.response_complete) or not parser.should_keep_alive():
            return None
        if parser.get_http_version() != "1.1":
            return None
        self._directly -= 1
        return self._direct.request(self, parser.get_method(), self.url, self.headers)

    def expect_answer(self, seconds: float) -> None:
        """See `direct_request.Respondent`."""
        self._direct_due = self._context.monotonic() + seconds
        self._context.deadlines.set(self, self._direct_due)

    def send_response(self, head: bytes, body: bytes) -> None:
        """See `direct_request.Respondent`."""
        running = self._running
        self._direct_due = NEVER
        self._context.deadlines.set(self, NEVER)
        if running is None or self.transport.is_closing():
            return
        added = (
            self._direct.routes.added(self.server_state.default_headers) if self._direct is not None else b""
        )
        head += added + b"\r\n"
        if len(body) > _JOINED:
            self.transport.writelines((head, body))
        else:
            self.transport.write(head + body)
        if not running.keep_alive:
            self._close_after_response()
        self.on_response_complete()
        if self._in_head and not self._refused and self.due == NEVER:
            self._due_in(self._context.settings.connections.handshake_seconds)  # the rest of the next head

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            raise _HeadTooBig

    def _count_unfinished(self, size: int, data: bytes) -> None:
        """Count input of an incomplete head: `on_header` counts only complete headers. Input in which another request
        ended is not counted.
        """
        if self._in_head and not self._completed:
            self._read += size
            if self._read > MAX_HEAD + _HEAD_OVERHEAD:
                self._refuse(close_codes.HEADERS_TOO_BIG, data)
