"""The test kit for tests without an event loop of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from guesthouse.testing.channel_under_test import TestChannel
from guesthouse.testing.http_answer import HttpAnswer
from guesthouse.testing.node_under_test import TestNode

_T = TypeVar("_T")


class BlockingChannel:
    """A `TestChannel` whose methods return when they are done."""

    def __init__(self, node: BlockingTestNode, channel: TestChannel) -> None:
        self.node = node
        self.channel = channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def process(self) -> str:
        """The id of its process."""
        return self.channel.process

    @property
    def subprotocol(self) -> str | None:
        """What was agreed on, if anything."""
        return self.channel.subprotocol

    @property
    def controls(self) -> list[tuple[str, bytes]]:
        """See `TestChannel.controls`."""
        return self.channel.controls

    @property
    def left(self) -> bool:
        """See `TestChannel.left`."""
        return self.channel.left

    def send(self, message: str | bytes) -> None:
        """See `TestChannel.send`."""
        self.node.run(self.channel.send(message))

    def send_json(self, value: Any) -> None:
        """See `TestChannel.send_json`."""
        self.node.run(self.channel.send_json(value))

    def receive(self) -> str | bytes:
        """See `TestChannel.receive`."""
        return self.node.run(self.channel.receive())

    def receive_json(self) -> Any:
        """See `TestChannel.receive_json`."""
        return self.node.run(self.channel.receive_json())

    def receive_all(self) -> list[str | bytes]:
        """See `TestChannel.receive_all`."""
        return self.node.run(self.channel.receive_all())

    def closed(self) -> tuple[int, str]:
        """See `TestChannel.closed`."""
        return self.node.run(self.channel.closed())

    def close(self, code: int = 1000, reason: str = "") -> None:
        """See `TestChannel.close`."""
        self.node.run(self.channel.close(code, reason))


class BlockingTestNode:
    """A `TestNode` whose methods return when they are done: `with BlockingTestNode(package) as node:`.

    It takes what `TestNode` takes. Not to be used where an event loop runs.
    """

    def __init__(
        self,
        *packages: str | Path,
        settings: Mapping[str, object] | None = None,
        now: datetime | float | None = None,
        build: bool = True,
    ) -> None:
        self.node = TestNode(*packages, settings=settings, now=now, build=build)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        try:
            self.run(self.node.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.run(self.node.__aexit__(*error))
        finally:
            self._runner.close()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine on the loop of the node to its end, for what has no method here."""
        return self._runner.run(work)

    @property
    def url(self) -> str:
        """Such as `http://127.0.0.1:40001`."""
        return self.node.url

    @property
    def token(self) -> str:
        """An auth token of the node."""
        return self.node.token

    @property
    def cookie(self) -> str:
        """See `TestNode.cookie`."""
        return self.node.cookie

    @property
    def home(self) -> Path:
        """The node's folder."""
        return self.node.home

    @property
    def processes(self) -> tuple[str, ...]:
        """Ids of the processes, in the order of the manifests."""
        return self.node.processes

    @property
    def now(self) -> datetime:
        """See `TestNode.now`."""
        return self.node.now

    def connect(
        self,
        to: str | None = None,
        *,
        logged_in: bool = True,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        origin: str | None = None,
    ) -> BlockingChannel:
        """See `TestNode.connect`."""

        async def opened() -> TestChannel:
            return await self.node.connect(
                to, logged_in=logged_in, headers=headers, subprotocols=subprotocols, origin=origin
            )

        return BlockingChannel(self, self.run(opened()))

    def http(
        self,
        method: str,
        path: str,
        body: bytes | str = b"",
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        logged_in: bool = True,
    ) -> HttpAnswer:
        """See `TestNode.http`."""
        return self.run(self.node.http(method, path, body, json=json, headers=headers, logged_in=logged_in))

    def request(
        self, body: str | bytes, process: str | None = None, *, seconds: int | None = 60
    ) -> bytes | None:
        """See `TestNode.request`."""
        return self.run(self.node.request(body, process, seconds=seconds))

    def advance(self, seconds: float) -> None:
        """See `TestNode.advance`."""
        self.run(self.node.advance(seconds))

    def settle(self) -> Mapping[str, int]:
        """See `TestNode.settle`."""
        return self.run(self.node.settle())

    def restart(self, process: str | None = None) -> None:
        """See `TestNode.restart`."""
        self.run(self.node.restart(process))

    def kill(self, process: str | None = None) -> None:
        """See `TestNode.kill`."""
        self.run(self.node.kill(process))

    def upgrade(self, package: str | Path) -> None:
        """See `TestNode.upgrade`."""
        self.run(self.node.upgrade(package))

    def crash(self) -> None:
        """See `TestNode.crash`."""
        self.run(self.node.crash())

    def logs(self, process: str | None = None, *, level: str | None = None) -> list[str]:
        """See `TestNode.logs`."""
        return self.run(self.node.logs(process, level=level))

    def log_of(self, process: str) -> list[str]:
        """See `TestNode.log_of`."""
        return self.run(self.node.log_of(process))

    def output(self) -> str:
        """See `TestNode.output`."""
        return self.node.output()
