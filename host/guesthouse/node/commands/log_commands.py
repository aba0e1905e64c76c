"""Commands about the log: its lines, levels and sources."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from msgspec import ValidationError, convert

from guesthouse.control.control_server import BadCommand, Command
from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.errors import BadProcessId
from guesthouse.node.commands.commanded_node import CommandedNode
from guesthouse.node.commands.request_fields import text_of
from guesthouse.node.log import as_dict
from guesthouse.node.log_filter import LEVELS, LogFilter

_SOURCE: Final = re.compile(r"[\w.~:-]{1,255}")
MOST_LINES: Final = 100_000


class LogCommands:
    """The commands about the log. Each takes a request and yields JSON values."""

    def __init__(self, node: CommandedNode) -> None:
        self._node = node

    def all(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"logs": self.logs, "log-level": self.log_level, "log-source": self.log_source}

    async def logs(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The last `lines` lines of those asked for, and with `follow` new ones until the client leaves."""
        lines, follow = request.get("lines"), request.get("follow", False)
        if type(lines) is not int or not 0 <= lines <= MOST_LINES or type(follow) is not bool:
            raise BadCommand(f"logs takes `lines`, from 0 to {MOST_LINES}, and `follow`")
        log, wanted = self._node.log, _wanted_lines(request)
        subscription = log.subscribe(wanted)
        try:
            for line in log.recent(lines, wanted):
                yield as_dict(line)
            came = asyncio.Event()
            subscription.on_line = came.set
            while follow:
                came.clear()
                for line in subscription.take():
                    yield as_dict(line)
                await came.wait()
        finally:
            log.unsubscribe(subscription)

    async def log_level(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Set the `level` of a `source` of the log; yields all that were set."""
        source, level = request.get("source"), request.get("level")
        if level is not None:
            if not isinstance(source, str) or not isinstance(level, str) or not _SOURCE.fullmatch(source):
                raise BadCommand("log-level takes a `source`, a process, package or part, and a `level`")
            self._node.log.levels.set(source, level)
        for name, set_to in self._node.log.levels.all().items():
            yield {"source": name, "level": set_to}

    async def log_source(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Yields whether lines of a `source` are in the log, or a process or package here is called so."""
        source = text_of(request, "source")
        packages = {str(package.id) for package in self._node.packages}
        if source in packages or self._node.log.recent(1, LogFilter(source)):
            yield True
            return
        try:
            process = canonical(ProcessId.parse(source))
        except BadProcessId:
            yield False
        else:
            node = self._node
            yield node.router.find(process) is not None or node.supervisor.ended.get(process) is not None


def _wanted_lines(request: Mapping[str, Any]) -> LogFilter:
    """The filter of a request for log lines.

    Raises:
        BadCommand: a field is not what it should be.
    """
    try:
        wanted = convert(
            {name: request[name] for name in LogFilter.__struct_fields__ if name in request}, LogFilter
        )
    except ValidationError as error:
        raise BadCommand(f"logs: {error}") from None
    if wanted.level not in LEVELS:
        raise BadCommand(f"logs takes a `level` of {', '.join(LEVELS)}")
    return wanted
