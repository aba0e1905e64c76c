"""Tells services of sessions that began and ended, never from within a call of theirs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.kernel.cluster.arrivals import EventLoop
from guesthouse.kernel.cluster.services import PeerService


class Announcer:
    """The services, and what they are to be told, in order.

    Args:
        loop: the event loop.
        log: for errors of services, which other nodes may cause as often as they like.
        source: of these log lines.
    """

    def __init__(self, loop: EventLoop, log: ThrottledLog, source: str) -> None:
        self._loop = loop
        self._log = log
        self._source = source
        self._services: dict[int, PeerService] = {}
        self._waiting: deque[Callable[[], object]] = deque()

    def register(self, service: int, handler: PeerService) -> None:
        """Set what handles a service, once."""
        if service in self._services:
            raise ValueError(f"service {service} is registered already")
        self._services[service] = handler

    def receive(self, service: int, node: str, body: bytes) -> bool:
        """Deliver a message, after what is to be told before; False if nothing handles the service."""
        handler = self._services.get(service)
        if handler is None:
            return False
        try:
            handler.receive(node, body)
        except Exception as error:  # a bug in one service must not end the others
            self._failed(service, f"a message of {node}", error)
        return True

    def later(self, call: Callable[[], object]) -> None:
        """Call this in the next iteration, or before the next message is delivered."""
        if not self._waiting:
            self._loop.call_soon(self.tell)
        self._waiting.append(call)

    def up(self, node: str) -> None:
        """Tell of a session."""
        self._all(f"the session with {node}", lambda handler: handler.up(node))

    def lost(self, node: str) -> None:
        """Tell of the end of one."""
        self._all(f"the loss of {node}", lambda handler: handler.lost(node))

    def room(self, service: int, node: str) -> None:
        """Tell a service that it may send again."""
        handler = self._services.get(service)
        if handler is not None:
            self._call(service, f"room for {node}", partial(handler.room, node))

    @property
    def anything(self) -> bool:
        """Whether something is to be told."""
        return bool(self._waiting)

    def tell(self) -> None:
        """Tell what is to be told."""
        while self._waiting:
            self._waiting.popleft()()

    def _all(self, what: str, call: Callable[[PeerService], None]) -> None:
        for service, handler in self._services.items():
            self._call(service, what, partial(call, handler))

    def _call(self, service: int, what: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # a bug in one service must not end the others
            self._failed(service, what, error)

    def _failed(self, service: int, what: str, error: Exception) -> None:
        matter = f"service {service}: {type(error).__name__}"
        text = f"service {service} failed on {what}: {error!r}"
        self._log.say(self._source, matter, text, level="error")
