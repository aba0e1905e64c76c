"""Processes spawned by processes: children, which run components of their parent's package.

A child is of its parent's package and has no capabilities beyond its parent's: not those granted to its name, nor those
that an earlier process of that name saved. It lives until it ends or its package is uninstalled. If its on-exit is
`restart`, it is started again with the node (`kernel/supervision/children.py`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, Self

from msgspec.structs import replace

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.capabilities import BadCapability, Capability, canonical_params
from guesthouse.core.errors import BadProcessId, GuesthouseError
from guesthouse.core.json_forms import BadRequest
from guesthouse.core.ports import LogPort
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage.capability_store import forget as forget_saved
from guesthouse.kernel.storage.capability_store import read_all
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.supervision.children import Child, Children, keep, kept
from guesthouse.kernel.supervision.supervised import NameTaken, ProcessNotStarted
from guesthouse.kernel.supervision.supervisor import Supervisor
from guesthouse.link.calls import CallHandlers, Reply, Spawn, Spawned
from guesthouse.link.schema import OnExit, Pair
from guesthouse.package.drive_path import PACKAGE_DRIVE, drive_path
from guesthouse.package.spec import ProcessSpec, Right

NAME_TAKEN: Final = "name-taken"
NO_FILE: Final = "no-file-at-path"
TOO_MANY: Final = "too-many"


class Spawner:
    """Starts children. An async context manager: leaving it cancels those being compiled.

    Args:
        router: the node's.
        supervisor: the node's.
        state: the node's.
        children: the running children.
        folder_of: returns the folder of an installed package by its id, or None.
        most: maximum processes of one package.
        log: for children that cannot be started.
    """

    def __init__(
        self,
        router: Router,
        supervisor: Supervisor,
        state: State,
        children: Children,
        folder_of: Callable[[str], Path | None],
        most: int,
        log: LogPort,
    ) -> None:
        self._router = router
        self._supervisor = supervisor
        self._state = state
        self._children = children
        self._folder_of = folder_of
        self._most = most
        self._log = log
        self._tasks = asyncio.TaskGroup()
        self._underway: set[asyncio.Task[None]] = set()
        self._names: set[ProcessId] = set()  # of children being compiled

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self._underway):
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def register(self, calls: CallHandlers) -> None:
        """Carry out the host call `spawn`."""
        calls.later(Spawn, self.spawn)

    def spawn(self, parent: Process, call: Spawn, reply: Reply) -> None:
        """Start a child of `parent`, which is authorized; `reply` gets the call's reply."""
        package = parent.id.package_id
        child = self._free_id(parent.id, call.name)
        component = self._component(package, call.wasm_path)
        if child is None or component is None:
            why = f"there is no component at {call.wasm_path[:200]} in the package"
            if child is None:
                why = f"{(call.name or '')[:200]} is the name of another process, or not a valid name"
            self._log.write(str(parent.id), "warning", f"its child was not started: {why}")
            reply(NAME_TAKEN if child is None else NO_FILE)
            return
        siblings = [process for process in self._router.processes() if process.id.package_id == package]
        if len(siblings) + sum(waiting.package_id == package for waiting in self._names) >= self._most:
            text = f"its child was not started: {package} has {self._most} processes (package.processes)"
            self._log.write(str(parent.id), "warning", text)
            reply(TOO_MANY)
            return
        asked = self._inherited(parent, call.capabilities)
        whole = Child(child, call.wasm_path, asked, _grants(call.grants), call.public)
        self._names.add(child)
        task = self._tasks.create_task(
            self._start(
                parent,
                self._spec(whole, component, "none"),
                whole,
                call.on_exit,
                reply,
                nameless=call.name is None,
            )
        )
        self._underway.add(task)
        task.add_done_callback(self._underway.discard)

    async def restore(self, package: str) -> None:
        """Start the stored children of a package. Failures are logged.

        A child gets those of its capabilities that a process of its package still holds, and runs the component that is
        at its path now.

        Raises:
            StateError: the database cannot be read.
        """
        for child in await kept(self._state, package):
            if self._router.find(child.id) is None:
                await self._restore(child)

    async def _restore(self, child: Child) -> None:
        package = child.id.package_id
        family = [process for process in self._router.processes() if process.id.package_id == package]
        held = tuple(
            capability
            for capability in child.capabilities
            if any(process.holdings.may_attach(capability) for process in family)
        )
        component = self._component(package, child.wasm_path)
        try:
            if component is None:
                raise ProcessNotStarted(f"its package no longer has a component at {child.wasm_path}")
            await self._supervisor.begin(self._spec(replace(child, capabilities=held), component, "restart"))
            self._children.add(child)
        except GuesthouseError as error:
            self._supervisor.ended.child_not_started(child.id, str(error))
            self._log.write(str(child.id), "error", f"this child was not started again: {error}")

    def _spec(self, child: Child, component: Path, on_exit: Literal["none", "restart"]) -> ProcessSpec:
        rights = tuple(
            (Address.parse(capability.issuer).process, capability.params) for capability in child.capabilities
        )
        return ProcessSpec(
            child.id, component, on_exit, child.public, None, rights, child.grants, named=False
        )

    async def _start(
        self,
        parent: Process,
        spec: ProcessSpec,
        child: Child,
        on_exit: OnExit,
        reply: Reply,
        *,
        nameless: bool,
    ) -> None:
        try:
            await forget_saved(self._state, spec.id)
            process = await self._supervisor.begin(spec, lambda: self._is_there(parent))
            process.on_exit = on_exit
            self._children.add(child, nameless=nameless)
            if on_exit == "restart":
                keep(self._state, child, lambda _: reply(Spawned(str(child.id))))
            else:
                reply(Spawned(str(child.id)))
        except NameTaken:
            reply(NAME_TAKEN)
        except GuesthouseError as error:
            self._log.write(str(parent.id), "error", f"{spec.id} was not started: {error}")
            reply(NO_FILE)
        finally:
            self._names.discard(spec.id)

    def _is_there(self, parent: Process) -> bool:
        """Whether the parent and its package still exist."""
        return not parent.gone and self._folder_of(parent.id.package_id) is not None

    def _free_id(self, parent: ProcessId, name: str | None) -> ProcessId | None:
        try:
            chosen = secrets.token_hex(8) if name is None else name
            child = ProcessId.parse(f"{chosen}:{parent.package_id}")
        except BadProcessId:
            return None
        return None if self._router.find(child) is not None or child in self._names else child

    def _component(self, package: str, wasm_path: str) -> Path | None:
        """The component at a path such as `/child.wasm`, in the package's folder or its drive `pkg`. A path in the
        drive's form is looked up there first.
        """
        folder = self._folder_of(package)
        drive = f"{package}/{PACKAGE_DRIVE}/"
        inner = wasm_path.lstrip("/")
        in_drive = inner.startswith(drive)
        try:
            path = drive_path(f"/{drive}{inner.removeprefix(drive)}", package)
        except BadRequest:
            return None
        if path is None or folder is None or not path.in_package:
            return None
        root = folder.resolve()
        for place in (root / PACKAGE_DRIVE, root) if in_drive else (root, root / PACKAGE_DRIVE):
            component = place.joinpath(*path.segments[1:]).resolve()
            if component.is_relative_to(root) and component.is_file():
                return component
        return None

    def _inherited(self, parent: Process, requests: Sequence[Pair]) -> tuple[Capability, ...]:
        """The requested capabilities that are of this node and that the parent may pass on."""
        rights = []
        for capability in read_all(requests):
            here = Address.parse(capability.issuer).node == self._router.node
            if here and parent.holdings.may_attach(capability):
                rights.append(capability)
            else:
                self._log.write(
                    str(parent.id), "warning", f"its child does not get {capability}, which it lacks itself"
                )
        return tuple(rights)


def _grants(pairs: Sequence[Pair]) -> tuple[Right, ...]:
    found = []
    for grantee, params in pairs:
        try:
            found.append((ProcessId.parse(grantee), canonical_params(params)))
        except (BadProcessId, BadCapability):
            continue
    return tuple(found)
