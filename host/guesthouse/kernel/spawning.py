"""Processes that processes start: children of their package, from its own components.

A child has a name of the package's and no more rights than its parent. It is not of the manifest: it lives until
it ends, or the node does.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Self

from guesthouse.address import Address, ProcessId
from guesthouse.capabilities import MESSAGING, BadCapability, Capability
from guesthouse.errors import BadAddress, BadProcessId, GuesthouseError
from guesthouse.kernel.care import NameTaken
from guesthouse.kernel.process import OnExit, Process
from guesthouse.kernel.router import Router
from guesthouse.kernel.supervisor import Supervisor
from guesthouse.package.spec import ProcessSpec, Right
from guesthouse.ports import LogPort
from guesthouse.runtime.forms import BadRequest
from guesthouse.runtime.paths import PACKAGE_DRIVE, drive_path

NAME_TAKEN: Final = "name-taken"
NO_FILE: Final = "no-file-at-path"
TOO_MANY: Final = "too-many"

Reply = Callable[[Any], None]


class Spawner:
    """Starts children. An async context manager: leaving it gives up those that are being compiled.

    Args:
        folder_of: the folder of a package's files by its id; None when it has none.
        most: processes that one package may have.
    """

    def __init__(
        self,
        router: Router,
        supervisor: Supervisor,
        folder_of: Callable[[str], Path | None],
        most: int,
        log: LogPort,
    ) -> None:
        self._router = router
        self._supervisor = supervisor
        self._folder_of = folder_of
        self._most = most
        self._log = log
        self._tasks = asyncio.TaskGroup()
        self._underway: set[asyncio.Task[None]] = set()
        self._names: set[ProcessId] = set()  # of those that are being compiled

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._underway):
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def spawn(self, parent: Process, arguments: list[Any], reply: Reply) -> None:
        """Start a child of `parent`, which may, as the call `spawn` says; `reply` gets the call's reply."""
        name, wasm_path, on_exit, requests, grantees, public = arguments
        package = parent.id.package_id
        child = self._free_id(parent.id, name)
        component = self._component(package, wasm_path)
        if child is None or component is None:
            reply(NAME_TAKEN if child is None else NO_FILE)
            return
        siblings = [process for process in self._router.processes() if process.id.package_id == package]
        if len(siblings) + sum(waiting.package_id == package for waiting in self._names) >= self._most:
            text = f"its child is not started: {package} has {self._most} processes (package.processes)"
            self._log.write(str(parent.id), "warning", text)
            reply(TOO_MANY)
            return
        grants = tuple((grantee, MESSAGING) for grantee in _process_ids(grantees))
        spec = ProcessSpec(child, component, "none", public, None, self._inherited(parent, requests), grants)
        self._names.add(child)
        task = self._tasks.create_task(self._start(parent, spec, on_exit, reply))
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)

    async def _start(self, parent: Process, spec: ProcessSpec, on_exit: OnExit, reply: Reply) -> None:
        try:
            process = await self._supervisor.begin(spec)
            process.on_exit = on_exit
            reply([str(spec.id)])
        except NameTaken:
            reply(NAME_TAKEN)
        except GuesthouseError as error:
            self._log.write(str(parent.id), "error", f"{spec.id} was not started: {error}")
            reply(NO_FILE)
        finally:
            self._names.discard(spec.id)

    def _free_id(self, parent: ProcessId, name: str | None) -> ProcessId | None:
        try:
            chosen = secrets.token_hex(8) if name is None else name
            child = ProcessId.parse(f"{chosen}:{parent.package_id}")
        except BadProcessId:
            return None
        return None if self._router.find(child) is not None or child in self._names else child

    def _component(self, package: str, wasm_path: str) -> Path | None:
        """`/child.wasm`, or the same in the form of a path in the package's drive."""
        folder = self._folder_of(package)
        whole = f"/{package}/{PACKAGE_DRIVE}/"
        inner = wasm_path.removeprefix(whole.strip("/")).removeprefix(whole).lstrip("/")
        try:
            path = drive_path(whole + inner, package)
        except BadRequest:
            return None
        if path is None or folder is None:
            return None
        root = folder.resolve()
        component = root.joinpath(*path.segments[1:]).resolve()
        return component if component.is_relative_to(root) and component.is_file() else None

    def _inherited(self, parent: Process, requests: list[list[str]]) -> tuple[Right, ...]:
        """Of the capabilities asked for, those of this node that the parent holds."""
        rights: list[Right] = []
        for issuer, params in requests:
            try:
                capability = Capability.read(issuer, params)
                address = Address.parse(capability.issuer)
            except (BadCapability, BadAddress):
                continue
            if address.node == self._router.node and parent.holdings.holds(capability):
                rights.append((address.process, capability.params))
            else:
                self._log.write(
                    str(parent.id), "warning", f"its child does not get {capability}, which it has not itself"
                )
        return tuple(rights)


def _process_ids(texts: list[str]) -> list[ProcessId]:
    found = []
    for text in texts[:256]:
        try:
            found.append(ProcessId.parse(text))
        except BadProcessId:
            continue
    return found
