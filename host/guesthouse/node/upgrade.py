"""Replaces one version of a package by another: all of its processes, or none.

Channels stay open and messages wait meanwhile (`Supervisor.replace`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from guesthouse.core.errors import GuesthouseError
from guesthouse.package.spec import Package, ProcessSpec

if TYPE_CHECKING:
    from guesthouse.core.address import ProcessId
    from guesthouse.http_server.server import HttpServer
    from guesthouse.kernel.supervision.supervisor import Supervisor
    from guesthouse.node.log import Log


class Upgrade:
    """One upgrade. `carry_out` does it, or undoes it and raises; `finish` ends processes that the new version no
    longer has. In between, `undo` still returns to the old version.

    Args:
        before: what runs now; empty when nothing does.
        after: what is to run.
        runs: whether a process is running now.
    """

    def __init__(
        self,
        before: Iterable[Package],
        after: Package,
        supervisor: Supervisor,
        http: HttpServer,
        runs: Callable[[ProcessId], bool],
        log: Log,
    ) -> None:
        self._old = {spec.id: spec for package in before for spec in package.processes}
        self._ran = {process for process in self._old if runs(process)}
        self._after = after
        self._supervisor = supervisor
        self._http = http
        self._runs = runs
        self._log = log
        self._done: list[ProcessSpec] = []

    async def carry_out(self) -> None:
        """Start the new version of each process.

        Raises:
            GuesthouseError: one cannot be compiled or started. The old version is running again.
        """
        for spec in self._after.processes:
            try:
                await self._run(spec)
            except GuesthouseError:
                self._serve_pages(self._old.get(spec.id), spec.id)
                await self.undo()
                raise
            self._done.append(spec)

    async def undo(self) -> None:
        """Return to the old version. Processes that cannot be started again are logged."""
        while self._done:
            spec = self._done.pop()
            old = self._old.get(spec.id)
            try:
                if old is None or spec.id not in self._ran:
                    self._serve_pages(old, spec.id)
                    await self._end(spec.id, "its package was rolled back")
                else:
                    await self._run(old)
            except GuesthouseError as error:
                self._log.write(str(spec.id), "error", f"{error} (it ran before)")

    async def finish(self) -> None:
        """End the processes that the package no longer has. Ends of children are of the version before."""
        self._supervisor.ended.forget_children(self._after.id)
        wanted = {spec.id for spec in self._after.processes}
        for process in self._old:
            if process not in wanted:
                self._serve_pages(None, process)
                await self._end(process, "its package no longer has it")
        self._supervisor.renew_children(self._after.id)

    async def _run(self, spec: ProcessSpec) -> None:
        self._serve_pages(spec, spec.id)
        if self._runs(spec.id):
            await self._supervisor.replace(spec)
        else:
            await self._supervisor.add(spec, strict=True)

    async def _end(self, process: ProcessId, reason: str) -> None:
        if self._runs(process):
            await self._supervisor.stop(process, reason)

    def _serve_pages(self, spec: ProcessSpec | None, process: ProcessId) -> None:
        if spec is None or spec.ui is None:
            self._http.unserve_ui(process)
        else:
            self._http.serve_ui(process, spec.ui)
