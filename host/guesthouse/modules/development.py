"""`development:distro:sys`: gives processes the sources that they run, under `guesthouse run --dev`.

A node has it only with `--dev`. It answers only processes that are run from their sources, and gives each its own.

- `"Sources"`: answered with `{"source": FILE, "check": BOOL, "files": [[PATH, SIZE], …]}`, and the files one after the
  other as blob. `check`: find out whether the app can be loaded, and no more.
- `{"Package": NAME}`: the files of an installed Python package, in the same form.
- `{"Failed": TEXT}`: the app cannot be loaded. Answered with `"Ok"`.
"""

from __future__ import annotations

import asyncio
import json
from asyncio import Future
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from guesthouse.core.address import ProcessId
from guesthouse.core.json_forms import BadRequest, error, parse, tagged
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.modules.module import OK
from guesthouse.package.build.app_sources import AppSources

DEVELOPMENT: Final = ProcessId("development", "distro", "sys")


class Development:
    """The module; implements `kernel.messaging.modules.Module`."""

    id: Final = DEVELOPMENT

    def __init__(self) -> None:
        self._current: dict[ProcessId, AppSources] = {}
        self._offered: dict[ProcessId, AppSources] = {}
        self._checked: dict[ProcessId, AppSources] = {}
        self._given: dict[ProcessId, AppSources] = {}
        self._failures: dict[ProcessId, str] = {}

    def offer(self, process: ProcessId, sources: AppSources) -> None:
        """Give a process these sources when it asks the next time, and after that what it has now, unless they are
        accepted: the node then runs the version before.
        """
        self._offered[process] = sources

    def accept(self, process: ProcessId, sources: AppSources) -> None:
        """These are a process's sources from now on."""
        self._offered.pop(process, None)
        self._current[process] = sources

    def withdraw(self, process: ProcessId) -> None:
        """Take back what was offered."""
        self._offered.pop(process, None)

    def forget(self, process: ProcessId) -> None:
        """A process is not run from its sources any more."""
        self._current.pop(process, None)
        self._given.pop(process, None)

    def begin_check(self, process: ProcessId, sources: AppSources) -> None:
        """Have a process find out whether these can be loaded."""
        self._checked[process] = sources

    def failure_of(self, process: ProcessId) -> str | None:
        """What a check found wrong, file and line first."""
        return self._failures.get(process)

    def end_check(self, process: ProcessId) -> None:
        """Forget a check."""
        for each in (self._checked, self._given, self._failures):
            each.pop(process, None)

    def request(self, request: ModuleRequest) -> None:
        """See `Module`."""
        process = request.source.process
        try:
            action, value = tagged(parse(request.body))
            if action == "Sources":
                self._give(process, request)
            elif action == "Package":
                self._give_installed(process, str(value), request)
            elif action == "Failed":
                self._failures[process] = str(value)
                request.answer(OK, None)
            else:
                raise BadRequest(f"{action} is not known")
        except BadRequest as bad:
            request.answer(error("InputError", str(bad)), None)

    def go_on(self, request: ModuleRequest, waited_seconds: float) -> None:
        """See `Module`."""
        request.answer(error("Failed"), None)

    def _give(self, process: ProcessId, request: ModuleRequest) -> None:
        checked = self._checked.get(process)
        found = checked or self._offered.pop(process, None) or self._current.get(process)
        if found is None:
            raise BadRequest(f"{process} is not run from its sources")
        self._given[process] = found
        head = {"source": found.source, "check": checked is not None}
        _answer(request, found.files, head)

    def _give_installed(self, process: ProcessId, name: str, request: ModuleRequest) -> None:
        sources = self._given.get(process)
        if sources is None:
            raise BadRequest(f"{process} is not run from its sources")
        reading = asyncio.get_running_loop().run_in_executor(None, sources.installed, name)
        reading.add_done_callback(partial(_answer_later, request))


def _answer_later(request: ModuleRequest, reading: Future[Mapping[str, bytes]]) -> None:
    if reading.cancelled() or reading.exception() is not None:
        request.answer(error("Failed"), None)
    else:
        _answer(request, reading.result(), {})


def _answer(request: ModuleRequest, files: Mapping[str, bytes], head: Mapping[str, Any]) -> None:
    listed = [[path, len(content)] for path, content in files.items()]
    body = json.dumps({**head, "files": listed}).encode()
    request.answer(body, LazyLoadBlob(None, b"".join(files.values())))
