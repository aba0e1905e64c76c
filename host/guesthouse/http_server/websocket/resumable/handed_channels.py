"""Resumable channels from one run of the node to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guesthouse.core.address import ProcessId
from guesthouse.core.errors import BadProcessId
from guesthouse.core.ports import ProcessPort
from guesthouse.http_server.context import Context
from guesthouse.http_server.sessions.handed_channel import BadHandover, HandedChannel
from guesthouse.http_server.sessions.session import Phase, Session
from guesthouse.http_server.sessions.session_keys import SessionKeys
from guesthouse.http_server.websocket.resumable.resumable_channel import ResumableChannel


class HandedChannels:
    """Channels that the run before left, until their processes are there.

    Args:
        context: the server's state.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: dict[ProcessId, list[HandedChannel]] = {}
        self._away_seconds = 0.0

    def take(self, channels: Sequence[HandedChannel], away_seconds: float) -> None:
        """Take them over. Those that are over need no process.

        Args:
            channels: as they were left.
            away_seconds: how long ago that was.

        Raises:
            BadHandover: they cannot be so; none is taken.
        """
        owners: dict[ProcessId, list[HandedChannel]] = {}
        sessions = {handed.session_id for handed in channels}
        ids = {handed.channel_id for handed in channels}
        if min(len(ids), len(sessions)) < len(channels):
            raise BadHandover("two channels have one id")
        for handed in channels:
            handed.kept()
            try:
                owners.setdefault(ProcessId.parse(handed.owner), []).append(handed)
            except BadProcessId as error:
                raise BadHandover(str(error)) from None
        self._away_seconds = away_seconds
        for owner, of_owner in owners.items():
            for handed in of_owner:
                if handed.closed is not None:
                    self._go_on(owner, handed, None)
                else:
                    self._waiting.setdefault(owner, []).append(handed)

    def adopt(self, process: ProcessPort) -> None:
        """A process is there, and gets its channels: it is told of them when its run begins."""
        for handed in self._waiting.pop(process.id, ()):
            self._go_on(process.id, handed, process)

    def left(self) -> Iterator[tuple[ProcessId, int]]:
        """How many are left of processes that are not there any more: they are dropped."""
        waiting, self._waiting = self._waiting, {}
        for owner, of_owner in waiting.items():
            yield owner, len(of_owner)

    def _go_on(self, owner: ProcessId, handed: HandedChannel, process: ProcessPort | None) -> None:
        context = self._context
        limits = context.settings.connections
        session = Session(
            SessionKeys(context.sessions.sign, (handed.session_id, handed.keys)),
            limits.acknowledge_messages,
            handed.kept(),
            handed.received,
            Phase.AWAY if handed.closed is None else Phase.OVER,
        )
        channel = ResumableChannel(context, session, owner, handed.event, None, handed.channel_id)
        channel.go_on(handed, process, self._away_seconds)
