"""Drains a running node: new clients are refused, those that there are told to go elsewhere, and the node ends.

In the order that load balancers expect: `/readyz` says 503 first; then new channels are refused and open ones closed,
so many a second, while HTTP requests are still answered; these are refused once no channel is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import Struct

from guesthouse.control.control_server import BadCommand
from guesthouse.core.printable import number_of
from guesthouse.http_server.departures import Departures, Pace
from guesthouse.http_server.state.admission import Admission

if TYPE_CHECKING:
    from guesthouse.node.base_node import BaseNode

MOST_RATE: Final = 100_000.0
MOST_SECONDS: Final = 7 * 24 * 3600.0

_STEP_SECONDS: Final = 0.05
_TELL_SECONDS: Final = 0.2
"""Between two reports to whoever watches."""


class DrainState(StrEnum):
    """How far a drain is."""

    SERVING = "serving"
    """The node is not being drained."""
    NOTICE = "notice"
    """`/readyz` says 503; all else is as before."""
    DRAINING = "draining"
    DRAINED = "drained"
    """It has no client, and takes none."""
    ENDING = "ending"
    """It is drained, and ends."""


class DrainOptions(Struct, frozen=True):
    """How a node is drained."""

    rate: float = 100.0
    """Clients that are told in a second."""
    seconds: float = 300.0
    """The deadline: those left then are told at once."""
    notice: float = 0.0
    """Seconds for balancers to see that the node is not ready, before the first client is told or refused."""
    stay: bool = False
    """Whether the node goes on without clients, instead of ending."""

    def check(self) -> None:
        """Raises:
        BadCommand: one is out of range.
        """
        if not 0 < self.rate <= MOST_RATE:
            raise BadCommand(f"a drain's rate is over 0 and at most {MOST_RATE:g} clients a second")
        if not 0 < self.seconds <= MOST_SECONDS or not 0 <= self.notice <= MOST_SECONDS:
            raise BadCommand(f"a drain takes at most {MOST_SECONDS:g} seconds, and more than none")
        if self.notice >= self.seconds:
            raise BadCommand(
                f"a notice of {self.notice:g} s leaves no time of {self.seconds:g} s: give more seconds"
            )


class ClientDrain:
    """The drain of one node. An async context manager: leaving it ends a drain that is under way.

    Args:
        node: the node, whose HTTP server runs.
    """

    def __init__(self, node: BaseNode) -> None:
        self._node = node
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._end = 0.0
        """By the loop's clock."""
        self.state = DrainState.SERVING
        self.told = 0
        """Clients that were told to go."""

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._tasks.__aexit__(None, None, None)

    @property
    def left_seconds(self) -> float:
        """Until the deadline; 0 when the node is not being drained."""
        if self.state in (DrainState.SERVING, DrainState.DRAINED):
            return 0.0
        return max(0.0, self._end - asyncio.get_running_loop().time())

    def status(self) -> dict[str, Any]:
        """How far it is, as JSON."""
        return {
            "state": self.state.value,
            "channels": self._node.http.channel_count,
            "told": self.told,
            "left_seconds": round(self.left_seconds, 1),
        }

    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        """How far it is, again whenever that changes, until the node is drained or serves again."""
        while True:
            yield self.status()
            if self.state in (DrainState.SERVING, DrainState.DRAINED, DrainState.ENDING):
                return
            await self._changed.wait()

    async def begin(self, options: DrainOptions) -> None:
        """Start to drain. One that is under way goes on with these options.

        Raises:
            BadCommand: an option is out of range, or the node ends, or cannot.
        """
        options.check()
        self._refuse_if_ending()
        if not options.stay and self._node.on_stop is None:
            raise BadCommand("this node cannot end itself: drain it with --stay, and stop it after")
        await self._stop()
        loop = asyncio.get_running_loop()
        self._end = loop.time() + options.seconds
        earlier = self.state in (DrainState.DRAINING, DrainState.DRAINED)
        self._enter(DrainState.DRAINING if earlier else DrainState.NOTICE)
        self._task = self._tasks.create_task(self._drain(options))

    async def cancel(self) -> None:
        """Take clients again. Those that were told have gone.

        Raises:
            BadCommand: the node is not being drained, or ends already.
        """
        self._refuse_if_ending()
        if self.state is DrainState.SERVING:
            raise BadCommand("this node is not being drained")
        await self._stop()
        self._node.http.admit(Admission.ALL)
        self._log("info", f"is drained no longer, and takes clients again; {self.told} were told to go")
        self.told = 0
        self._enter(DrainState.SERVING)

    def _refuse_if_ending(self) -> None:
        if self.state is DrainState.ENDING or self._node.stopping:
            raise BadCommand("this node is ending already")

    async def _stop(self) -> None:
        while (task := self._task) is not None:  # another command may have begun one meanwhile
            task.cancel()
            await asyncio.wait((task,))
            if self._task is task:
                self._task = None

    async def _drain(self, options: DrainOptions) -> None:
        http, loop = self._node.http, asyncio.get_running_loop()
        then = "stays" if options.stay else "ends"
        self._log(
            "info",
            f"is being drained: {number_of(http.channel_count, 'channel')}, {options.rate:g} a second, within "
            f"{options.seconds:g} s; then it {then}",
        )
        if self.state is DrainState.NOTICE:
            await asyncio.sleep(options.notice)
        http.admit(Admission.REQUESTS)
        self._enter(DrainState.DRAINING)
        await self._tell_all(http.departures(), options)
        http.admit(Admission.NOTHING)
        in_hand = http.requests_in_hand()
        while in_hand() and loop.time() < self._end:  # noqa: ASYNC110 - nobody tells when all are done
            await asyncio.sleep(_STEP_SECONDS)
        self._log("info", f"is drained: {number_of(self.told, 'client was', 'clients were')} told to go")
        self._enter(DrainState.DRAINED if options.stay else DrainState.ENDING)
        if not options.stay and self._node.on_stop is not None:
            self._node.on_stop()

    async def _tell_all(self, departures: Departures, options: DrainOptions) -> None:
        """Tell clients at their rate, until all are gone or the deadline has come, when the rest is told at once."""
        loop = asyncio.get_running_loop()
        pace = Pace(options.rate, loop.time())
        reported = loop.time()
        while not departures.all_gone():
            now = loop.time()
            if now >= self._end:
                left = departures.tell()
                self.told += left
                if left:
                    last = number_of(left, "client was", "clients were")
                    text = f"did not get empty within {options.seconds:g} s: the last {last} told at once"
                    self._log("warning", text)
                return
            self.told += departures.tell(pace.due(now))
            if now - reported >= _TELL_SECONDS:
                reported = now
                self._report()
            await asyncio.sleep(min(_STEP_SECONDS, max(0.0, self._end - now)))

    def _enter(self, state: DrainState) -> None:
        self.state = state
        administration = self._node.administration
        if administration is not None:
            administration.announce_drain(draining=state is not DrainState.SERVING)
        self._report()

    def _report(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _log(self, level: str, text: str) -> None:
        self._node.log.write("node", level, text)
