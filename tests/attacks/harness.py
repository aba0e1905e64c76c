"""The scene of an attack: a real node with two workers, echo processes on both, and their clients elsewhere.

`Scene.attack` measures the neighbours quiet and then under attack, counts what node and workers hold before and
after, and fails the test when a neighbour was held up, lost anything, or anything was left behind.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.patience import BESIDE, PATIENCE, Disturbed

from guesthouse.control.control_client import CommandRefused
from guesthouse.package.format.load import read_manifest
from guesthouse.package.format.pack import write_archive

from ..e2e.daemon import Daemon
from ..e2e.packages import package
from ..e2e.waiting import until
from .figures import (
    IDLE_ENOUGH,
    Allowance,
    Figures,
    Group,
    Held,
    Row,
    Window,
    forget_peak,
    grown,
    idle_share,
    leaks,
    machine_time,
)

WORKERS: Final = 2
CLIENTS_PER_NEIGHBOUR: Final = 3
SETTLE_SECONDS: Final = 30.0
"""How long what an attack used may take to be given back."""
_ENDED: Final = frozenset({"ended", "failed", "stopped"})
"""States in which `ps` lists a process that is not there any more."""
NEIGHBOURS: Final = {
    "c-one": "echo-c",
    "c-two": "echo-c",
    "python-one": "echo",
    "python-two": "echo",
}
"""Echo processes and the samples that they are; installed in this order, each kind has one on each worker."""


_NO_TIME: Final = "on this busy machine"
"""What the node says of a compiler that had less CPU time than its limit is."""
SAME_WORKER: Final = "same worker"
TARGET: Final = "its target"


def neighbour(name: str) -> str:
    """The process id of a neighbour."""
    return f"{name}:neighbour-{name}:test.os"


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured: round trips that each client makes at least, quiet and under attack."""

    quiet: int
    attacked: int
    compares: bool
    """Whether each attack is compared with a quiet time, and not only where that decides."""


QUICK: Final = Effort(quiet=20, attacked=30, compares=False)
LONG: Final = Effort(quiet=400, attacked=400, compares=True)


def package_folder(folder: Path, name: str, wasm: Path | bytes, /, **process: Any) -> Path:
    """A package of one process, made from a component: `name:name:test.os`, or as `process` says.

    Args:
        folder: where to make it.
        name: of the package and, unless given, of the process.
        wasm: the component or its bytes.
        process: more keys of the manifest's `[[process]]`, such as `on_exit="restart"`.
    """
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(wasm, bytes):
        (folder / "guest.wasm").write_bytes(wasm)
    else:
        shutil.copyfile(wasm, folder / "guest.wasm")
    keys: dict[str, Any] = {"name": name, "wasm": "guest.wasm", "on-exit": "none", "public": True}
    keys |= {key.replace("_", "-"): value for key, value in process.items()}
    lines = [f"{key} = {_toml(value)}" for key, value in keys.items()]
    head = (
        f'[package]\nname = "{name}"\npublisher = "test.os"\nversion = "0.1.0"\ndescription = "An attack"\n'
    )
    (folder / "package.toml").write_text(head + "\n[[process]]\n" + "\n".join(lines) + "\n")
    return folder


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


class Neighbours:
    """The neighbours' clients: an OS process of their own. An async context manager."""

    def __init__(self, daemon: Daemon, names: Sequence[str]) -> None:
        self._daemon = daemon
        self.names = list(names)
        self._asked = 0
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Neighbours:
        urls = {
            name: [f"{self._daemon.ws_url}/{neighbour(name)}/public"] * CLIENTS_PER_NEIGHBOUR
            for name in self.names
        }
        script = Path(__file__).with_name("neighbours.py")
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(script), json.dumps(urls)), stdin=PIPE, stdout=PIPE, limit=2**22
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def wait(self, round_trips: int) -> None:
        """Wait until each client has made so many round trips since the last window, or cannot."""
        await self._ask({"wait": round_trips})

    async def take(self, groups: Mapping[str, Sequence[str]], *, pause: bool = False) -> dict[str, Window]:
        """What each group measured in the window that ends now. The next one begins; or with `pause` nothing is sent
        until the next `take`, for what nobody measures need not be made.
        """
        answer = await self._ask({"take": groups, "pause": pause})
        return {name: Window.from_json(value) for name, value in answer.items()}

    async def _ask(self, asked: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asked += 1
        self._process.stdin.write(json.dumps({**asked, "number": self._asked}).encode() + b"\n")
        async with asyncio.timeout(60):
            while line := await self._process.stdout.readline():
                number, answer = json.loads(line)
                if number == self._asked:  # else whoever asked did not wait for it
                    return answer
        raise AssertionError("the neighbours' clients ended")


@dataclass(slots=True)
class Attack:
    """An attack under way: what it says of itself goes into its row."""

    _waiting: asyncio.Task[None]
    gets: str = ""
    """What the attacker gets."""
    log: str = ""
    """The line of the log that tells a person; empty when there is nothing to tell."""

    @property
    def measured(self) -> bool:
        """Whether the neighbours were measured for long enough: an attack that is over sooner is made again."""
        return self._waiting.done()


@dataclass
class Scene:
    """A node with its neighbours."""

    daemon: Daemon
    neighbours: Neighbours
    effort: Effort
    rows: list[Row]
    folder: Path
    """For the packages of attackers."""
    token: str = ""
    """Of the node's owner."""

    # The node

    async def ask(self, command: str, **arguments: Any) -> list[Any]:
        """Ask the node through its control socket."""
        return await self.daemon.ask(command, **arguments)

    async def ps(self) -> dict[str, dict[str, Any]]:
        """Processes by id, without those that ended."""
        return {name: item for name, item in (await self.daemon.ps()).items() if item["state"] not in _ENDED}

    async def install(self, folder: Path) -> None:
        """Install a package.

        Raises:
            CommandRefused: the node takes none such.
            Disturbed: the machine left its compiler no time.
        """
        try:
            await self.ask("install", package=str(folder), consent=True)
        except CommandRefused as refusal:
            if _NO_TIME in str(refusal):
                raise Disturbed(str(refusal)) from refusal
            raise

    async def uninstall(self, package_id: str) -> None:
        """Uninstall a package, with all that it stored."""
        await self.ask("uninstall", package=package_id, purge=True)

    async def figures(self) -> Figures:
        """What it holds now."""
        workers = {f"{each.pid}/{each.began}": Held.of(each.pid) for each in self.daemon.workers()}
        processes = {name: (item["state"], item["restarts"]) for name, item in (await self.ps()).items()}
        channels = len(await self.ask("channels"))
        return Figures(Held.of(self.daemon.pid), workers, processes, channels)

    async def log_line(self, source: str, *texts: str, seconds: float = PATIENCE) -> str:
        """The first line of a source that has these texts in it, once it is there."""
        line = await self.daemon.log_line(source, *texts, seconds=seconds)
        return f"{line['level']} {source}: {line['text'].splitlines()[0]}"

    # Attacks

    @asynccontextmanager
    async def attack(
        self,
        suite: str,
        name: str,
        attacker: str | None = None,
        allowed: Allowance | None = None,
        *,
        holds_worker: bool = False,
        target: str | None = None,
    ) -> AsyncIterator[Attack]:
        """The block attacks. In it the neighbours are measured under attack, which it should last for, and before or
        after it quiet. At its end all that was there before is there, and nothing else.

        Args:
            suite: the table that the row is in.
            name: what the attack is.
            attacker: the id of the attacking process: neighbours on its worker are shown apart from the others.
            allowed: what may be left.
            holds_worker: whether neighbours on its worker may be held up, though they must lose nothing.
            target: the neighbour that it talks to, whose clients may have to wait for their turn.

        Raises:
            Disturbed: neighbours were held up, on a machine that has time for them, as what others take of it
                counts for nothing; or a process kept memory, which one that leaks does each time.
            AssertionError: one lost something, or something is left behind.
        """
        allowed = allowed or Allowance()
        groups = await self._groups(attacker, target)
        quiet, idle = await self._quiet(groups) if self.effort.compares else ({}, 0.0)
        before = await self.figures()
        for held in (before.node, *before.workers.values()):
            forget_peak(held.pid)
        await self.neighbours.take(groups)
        async with asyncio.TaskGroup() as tasks:
            attack = Attack(tasks.create_task(self.neighbours.wait(self.effort.attacked)))
            yield attack
        attacked = await self.neighbours.take(groups, pause=True)
        after, left, kept = await self._settled(before, allowed, attacker)
        if not quiet and any(Group(group, None, attacked[group]).delays() for group in groups):
            quiet, idle = await self._quiet(groups)
        fared = tuple(Group(group, quiet.get(group), attacked[group]) for group in groups)
        row = Row(suite, name, attack.gets, fared, before, after, attack.log)
        self.rows[:] = [*(other for other in self.rows if (other.suite, other.name) != (suite, name)), row]
        found = [loss for group in fared for loss in group.losses()] + left
        assert not found, f"{name}: {'; '.join(found)}"
        delays = [
            delay
            for group in fared
            if not (holds_worker and group.name == SAME_WORKER)
            for delay in group.delays()
        ]
        if row.node_peak > allowed.node_peak_bytes:
            kept.append(f"the node took {row.node_peak} bytes more at the worst moment")
        disturbed = kept + (delays if idle >= IDLE_ENOUGH or BESIDE else [])
        if disturbed:
            raise Disturbed(f"{name}: {'; '.join(disturbed)}")

    async def _quiet(self, groups: Mapping[str, Sequence[str]]) -> tuple[dict[str, Window], float]:
        """What the neighbours measure when nothing is attacked, and which part of the machine's time was idle."""
        await self.neighbours.take(groups)
        began = machine_time()
        await self.neighbours.wait(self.effort.quiet)
        idle = idle_share(began, machine_time())
        return await self.neighbours.take(groups, pause=True), idle

    async def _groups(self, attacker: str | None, target: str | None) -> dict[str, list[str]]:
        """Neighbours' labels by where they are."""
        if attacker is None:
            return {"all": self.neighbours.names}
        processes = await self.ps()
        worker = processes[attacker]["worker"]
        names = self.neighbours.names
        beside = [name for name in names if processes[neighbour(name)]["worker"] == worker]
        assert 0 < len(beside) < len(names), "the neighbours are not spread over the workers"
        others = {SAME_WORKER: beside, "other worker": [name for name in names if name not in beside]}
        groups = {group: [name for name in labels if name != target] for group, labels in others.items()}
        return groups if target is None else {**groups, TARGET: [target]}

    async def _settled(
        self, before: Figures, allowed: Allowance, attacker: str | None
    ) -> tuple[Figures, list[str], list[str]]:
        """The figures once nothing is left of an attack; else what is left when the time is over, and who has grown."""
        spent = {attacker}

        async def look() -> tuple[Figures, list[str], list[str]]:
            after = await self.figures()
            then, now = (_without(figures, spent) for figures in (before, after))
            return after, leaks(then, now, allowed), grown(then, now, allowed)

        try:
            return await until(look, lambda found: not any(found[1:]), "all is as before", SETTLE_SECONDS)
        except AssertionError:
            return await look()


def _without(figures: Figures, processes: set[str | None]) -> Figures:
    """Figures without what these processes are: an attacker may have ended."""
    kept = {name: value for name, value in figures.processes.items() if name not in processes}
    return Figures(figures.node, figures.workers, kept, figures.channels)


class Packed:
    """The packages of neighbours, each packed once for all nodes: one in Python takes a second of CPU."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, sample: str) -> Path:
        """The archive of a neighbour that is such a sample."""
        archive = self._folder / f"{name}-{sample}.zip"
        if not archive.exists():
            wasm = package(sample) / f"build/{sample}.wasm"
            made = package_folder(self._folder, f"neighbour-{name}", wasm, name=name, on_exit="restart")
            write_archive(made, read_manifest(made), archive)
        return archive


@asynccontextmanager
async def node_with_neighbours(
    home: Path,
    packed: Packed,
    effort: Effort,
    rows: list[Row],
    settings: Mapping[str, object],
    samples: Mapping[str, str],
    options: Mapping[str, Any],
) -> AsyncIterator[Scene]:
    """A node with its neighbours, by the samples that they are, and their clients; all is stopped at the end."""
    async with Daemon(home, [], workers=WORKERS, settings=settings, new=True, **options) as daemon:
        scene = Scene(daemon, Neighbours(daemon, list(samples)), effort, rows, home.with_name("packages"))
        for name, sample in samples.items():
            await scene.install(packed(name, sample))
        (scene.token,) = await scene.ask("token", ttl=3600)
        async with scene.neighbours:
            await scene._quiet({})  # what is slow is the first time alone
            yield scene
