"""The fake host's test side: start a process, be its clients, see what it did."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from guesthouse_sdk._native import running, types
from guesthouse_sdk.address import Address, ProcessId
from guesthouse_sdk.capabilities import Capability, capabilities_to_wit
from guesthouse_sdk.entry import Main, checked_main, start
from guesthouse_sdk.message import LazyLoadBlob
from guesthouse_sdk.testing._calls import FakeCalls
from guesthouse_sdk.testing._channels import FakeChannel
from guesthouse_sdk.testing._exchanges import Answer, FakeExchange, FakeHttpExchange, SentRequest
from guesthouse_sdk.testing._limits import FakeLimits
from guesthouse_sdk.testing._turns import Turns

Handler: TypeAlias = Callable[[SentRequest], Answer | None]
"""A fake process: answers a request, or, with None, lets it time out when its time has passed."""

_STOP_SECONDS: Final = 10.0


class Refused(Exception):
    """The node would refuse this client; `status` is the HTTP status it would get."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status


class FakeHost(FakeCalls):
    """A node with one process, in this Python, for tests.

    It keeps the rules of the real one: a channel belongs to its process, a payload to its message; a
    full outbox, a bad path, a too long reason are the same named errors. It has `kv`, `vfs` and `timer`, for a
    process that is granted them. Time passes only by `advance`.

        with FakeHost() as host:
            channel = host.open()
            channel.send_text("hi")
            host.run(main)
            assert channel.received == ["hi"]

    Attributes:
        log: what the process wrote, as `LogLine(level, text)`.
        tracing: what it added to traces: `tracing.spans`.
        state: the bytes stored by `set_state`; they outlive a restart.
        sent: the requests that the process sent to others.
        held: the capabilities of the process; `grant` it what its manifest requests.
        now: seconds that passed.
        package_files: the files that came with the package, by path: its drive `pkg`.
        components, spawned: what `spawn` finds, and the children that the process started.
        channels: all channels ever opened, by id.
        ended: whether the process returned.
    """

    def __init__(
        self,
        our: str = "fake.os@app:app:guesthouse.os",
        *,
        state: bytes | None = None,
        limits: FakeLimits | None = None,
    ) -> None:
        super().__init__(Address.parse(our), limits or FakeLimits())
        self.state = state
        self.channels = self.table.all
        self._main: Main | None = None
        self._turns: Turns | None = None
        self._next_channel_id = 1000

    def __enter__(self) -> Self:
        running.install(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stop()
        finally:
            running.install(None)

    @property
    def ended(self) -> bool:
        """Whether the process returned, or failed, and was not started again."""
        return self._turns is None or self._turns.ended

    def run(self, main: Main | None = None, *, seconds: float = 10.0) -> None:
        """Let the process handle all that waits for it, until it waits itself.

        Args:
            main: what `main` is in the author's module; starts the process. Without it, or with the same
                one again, the running process goes on.
            seconds: how long it may compute.

        Raises:
            TimeoutError: it did not come to `receive` in time.
            Exception: what the process did not catch.
        """
        if main is not None and (self.ended or main is not self._main):
            self._start(main)
        if self._turns is None or self._turns.ended:
            raise RuntimeError("no process is running: host.run(main)")
        self._turns.give_to_process(seconds)

    def restart(self, *, seconds: float = 10.0) -> None:
        """End the process as a crash would, and start it again: its channels stay open, and it is told
        of them anew.
        """
        if self._main is None:
            raise RuntimeError("no process was started yet: host.run(main)")
        self._start(self._main)
        self.run(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass: timers fire, values of `kv` expire. The process handles each timer at its time. Python's
        own clocks, such as `time.time`, go on as ever.

        Raises:
            Exception: what the process did not catch.
        """
        if seconds < 0:
            raise ValueError(f"time does not pass by {seconds} s")
        until = self.now + seconds
        while (due := self.timers.next_due()) is not None and due <= until:
            self.timers.fire_next()
            if not self.ended:
                self.run()
        self.timers.now = until

    def open(
        self,
        path: str | None = None,
        *,
        logged_in: bool = True,
        query_params: Mapping[str, str] | None = None,
        claims: Mapping[str, Any] | None = None,
    ) -> FakeChannel:
        """A client opens a channel.

        Args:
            path: a path that the process bound; None registers on the node's own `/`, as a logged-in client.
            logged_in: whether the client has the node's auth cookie.
            query_params: what follows `?`.
            claims: what the service that issued its token says of it.

        Raises:
            Refused: the path is not bound, or only for logged-in clients.
        """
        bound_path: str | None = None
        url_params: dict[str, str] = {}
        if path is not None:
            match = self.ws_bindings.match(path)
            if match is None:
                raise Refused(404, f"{path} is not bound")
            bound_path, binding, url_params = match
            if binding.authenticated and not logged_in:
                raise Refused(401, f"{path} is bound for logged-in clients only")
        channel = self._opened(path or "/", bound_path, url_params, query_params or {})
        channel.claims = None if claims is None else json.dumps(claims)
        return channel

    def http(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        mime: str | None = None,
        query_params: Mapping[str, str] | None = None,
        logged_in: bool = True,
        local: bool = True,
        claims: Mapping[str, Any] | None = None,
    ) -> FakeHttpExchange:
        """A client asks for a path; after `run` the exchange has the answer. `claims` are as for `open`.

        Raises:
            Refused: the path is not bound, or not for this client.
        """
        match = self.http_bindings.match(path) or self.http_bindings.match("/")
        if match is None:
            raise Refused(404, f"{path} is not bound")
        bound_path, binding, url_params = match
        if binding.local_only and not local:
            raise Refused(403, f"{path} is bound for clients of this machine only")
        if binding.authenticated and not logged_in:
            raise Refused(401, f"{path} is bound for logged-in clients only")
        told = None if claims is None or not binding.authenticated else json.dumps(claims)
        exchange = FakeHttpExchange(head=method == "HEAD", claims=told)
        if bound_path in self.static:
            exchange.answer(200, [], self.static[bound_path])
            return exchange
        request = types.IncomingHttpRequest(
            "127.0.0.1:50000",
            method,
            f"http://localhost:8080/{self.our_address.process}{path}",
            bound_path,
            [(name.lower(), value) for name, value in (headers or {}).items()],
            list(url_params.items()),
            list((query_params or {}).items()),
        )
        blob = types.LazyLoadBlob(mime, body)
        self.post(types.Message_HttpServer(types.HttpServerRequest_Http(request)), blob, exchange)
        return exchange

    def request(
        self,
        body: bytes,
        *,
        source: str = "fake.os@other:other:guesthouse.os",
        blob: LazyLoadBlob | None = None,
        expects_response: int | None = 5,
        capabilities: Sequence[Capability] = (),
    ) -> FakeExchange:
        """Another process sends a request; after `run` the exchange has the response."""
        exchange = FakeExchange(expects_response is not None)
        request = types.Request(False, expects_response, body, None, capabilities_to_wit(capabilities))
        message = types.Message_Request(
            types.IncomingRequest(self.raw_address(Address.parse(source)), request)
        )
        self.post(message, None if blob is None else types.LazyLoadBlob(blob.mime, blob.bytes), exchange)
        return exchange

    def process(self, process_id: str, handler: Handler, *, public: bool = True) -> None:
        """Put another process on this node: `handler` answers what is sent to it. One that is not public answers
        only when its messaging capability is in `held`.
        """
        other = ProcessId.parse(process_id)
        self.others[other] = handler
        self.private.discard(other)
        if not public:
            self.private.add(other)

    def _opened(
        self,
        path: str,
        bound_path: str | None,
        url_params: Mapping[str, str],
        query_params: Mapping[str, str],
    ) -> FakeChannel:
        self._next_channel_id += 7  # no author should come to rely on their order
        opened = types.WebSocketOpen(
            path,
            self._next_channel_id,
            "127.0.0.1:50000",
            None,
            list(url_params.items()),
            list(query_params.items()),
            False,
            None,
        )
        channel = FakeChannel(
            opened.channel_id,
            opened,
            bound_path,
            self.post_event,
            self.limits.message_bytes,
            self.limits.outbox_bytes,
            tell_presence=self._tell_presence,
        )
        self.channels[channel.id] = channel
        self.post_event(types.HttpServerRequest_WebSocketOpen(opened), None)
        return channel

    def _tell_presence(self, channel_id: int, away: bool) -> None:
        if self.json_requests.watched:
            body = json.dumps({"WebSocketAway" if away else "WebSocketBack": channel_id}).encode()
            source = f"{self.our_address.node}@http-server:distro:sys"
            self.request(body, source=source, expects_response=None)

    def _start(self, main: Main) -> None:
        checked = checked_main(main, getattr(main, "__module__", "the module"))
        self._stop()
        self._main = checked
        self.new_run()
        self._turns = Turns(lambda: start(checked, self.our_address))
        self.wait_for_message = self._turns.give_to_test

    def _stop(self) -> None:
        if self._turns is not None:
            self._turns.stop(_STOP_SECONDS)
            self._turns = None
