"""What an attack is judged by: how its neighbours fared, and what the node's OS processes hold. Pure but for /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MIB: Final = 2**20
WORST_RATIO: Final = 10.0
"""The most by which an attack may raise its neighbours' p99, with room for a noisy machine."""
QUIET_FLOOR_MS: Final = 10.0
"""A quiet p99 below it is taken for it: on two busy cores a preemption or two cost as much."""
IDLE_ENOUGH: Final = 0.2
"""Part of the quiet machine's time that must be left for delays to be judged: node, neighbours and their clients
take less than half. Losses and leaks are judged on any machine.
"""


def machine_time() -> tuple[int, int]:
    """Ticks that all CPUs were idle, and all that passed (proc(5), `stat`)."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return ticks[3] + ticks[4], sum(ticks)


def idle_share(began: tuple[int, int], ended: tuple[int, int]) -> float:
    """Which part of the time between two readings was idle."""
    return (ended[0] - began[0]) / max(1, ended[1] - began[1])


@dataclass(frozen=True, slots=True)
class Window:
    """What a group of neighbours' clients measured in some time. Milliseconds."""

    round_trips: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    time_outs: int
    lost: tuple[str, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Window:
        """Read what `neighbours.py` printed."""
        return cls(**{**value, "lost": tuple(value["lost"])})


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbours in one place, such as on the attacker's own worker: quiet, and under attack."""

    name: str
    quiet: Window | None
    """None where it was not needed: under attack they were as fast as any quiet machine may be."""
    attacked: Window

    @property
    def ratio(self) -> float:
        """By how much the attack raised the p99."""
        return self.attacked.p99_ms / max(self.quiet.p99_ms, 0.001) if self.quiet else 1.0

    def losses(self) -> list[str]:
        """What was lost, doubled or not answered."""
        lost = self.attacked.lost + (self.quiet.lost if self.quiet else ())
        found = [f"{self.name}: {text}" for text in lost]
        if self.attacked.time_outs:
            found.append(f"{self.name}: {self.attacked.time_outs} messages were not answered in time")
        return found

    def delays(self) -> list[str]:
        """Whether its messages were held up."""
        attacked, quiet = self.attacked.p99_ms, self.quiet.p99_ms if self.quiet else 0.0
        allowed = WORST_RATIO * max(quiet, QUIET_FLOOR_MS)
        if attacked <= allowed:
            return []
        return [f"{self.name}: p99 {attacked:.1f} ms, quiet {quiet:.1f} ms, allowed {allowed:.0f} ms"]


@dataclass(frozen=True, slots=True)
class Held:
    """What an OS process holds."""

    pid: int
    memory_bytes: int
    """Resident."""
    peak_bytes: int
    """The most that was resident since `forget_peak`."""
    descriptors: int
    mappings: int
    """Each fiber has some, for its stack and its memories."""

    @classmethod
    def of(cls, pid: int) -> Held:
        """Look."""
        folder = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return cls(
            pid,
            1024 * int(status["VmRSS"].split()[0]),
            1024 * int(status["VmHWM"].split()[0]),
            len(os.listdir(folder / "fd")),
            (folder / "maps").read_text().count("\n"),
        )


def forget_peak(pid: int) -> None:
    """Begin to count the peak of a process's memory anew (proc(5), `clear_refs`)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@dataclass(frozen=True, slots=True)
class Figures:
    """What a node holds at a moment at which nothing is attacked."""

    node: Held
    workers: Mapping[str, Held]
    """By pid and when it began."""
    processes: Mapping[str, tuple[str, int]]
    """State and restarts by process id."""
    channels: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """By how much figures may differ after an attack: what allocators keep for the next use."""

    node_bytes: int = 24 * MIB
    node_peak_bytes: int = 96 * MIB
    """Above what it had before, at the worst moment."""
    worker_bytes: int = 64 * MIB
    descriptors: int = 0
    mappings: int = 48
    """The maps of a worker: allocator's arenas come and go, a leaked guest has some for ever."""
    loses_worker: bool = False
    """Whether the attack is one that ends a worker."""


def leaks(before: Figures, after: Figures, allowed: Allowance) -> list[str]:
    """What is there after an attack and was not before, or is missing; memory apart."""
    found = _opened("the node", before.node, after.node, allowed)
    if after.node.pid != before.node.pid:
        found.append("the node is another")
    if not allowed.loses_worker:
        if after.workers.keys() != before.workers.keys():
            found.append(f"the workers were {sorted(before.workers)} and are {sorted(after.workers)}")
        for name in before.workers.keys() & after.workers.keys():
            was, now = before.workers[name], after.workers[name]
            found += _opened(f"worker {name}", was, now, allowed)
            if now.mappings > was.mappings + allowed.mappings:
                found.append(f"worker {name} had {was.mappings} mappings and has {now.mappings}")
    if after.processes != before.processes:
        changed = set(before.processes.items()) ^ set(after.processes.items())
        found.append(f"processes changed: {sorted(changed)}")
    if after.channels != before.channels:
        found.append(f"{before.channels} channels were open, and {after.channels} are")
    return found


def grown(before: Figures, after: Figures, allowed: Allowance) -> list[str]:
    """Who holds more memory after an attack than before. An allocator may keep some for the next use; what leaks does
    so each time.
    """
    found = _grown("the node", before.node, after.node, allowed.node_bytes)
    for name in before.workers.keys() & after.workers.keys():
        was, now = before.workers[name], after.workers[name]
        found += _grown(f"worker {name}", was, now, allowed.worker_bytes)
    return found


def _grown(what: str, was: Held, now: Held, room: int) -> list[str]:
    if now.memory_bytes <= was.memory_bytes + room:
        return []
    return [f"{what} had {was.memory_bytes // MIB} MiB and has {now.memory_bytes // MIB} MiB"]


def _opened(what: str, was: Held, now: Held, allowed: Allowance) -> list[str]:
    if now.descriptors <= was.descriptors + allowed.descriptors:
        return []
    return [f"{what} had {was.descriptors} descriptors and has {now.descriptors}"]


@dataclass(frozen=True, slots=True)
class Row:
    """One attack in the table."""

    suite: str
    name: str
    gets: str
    """What the attacker gets."""
    groups: tuple[Group, ...]
    before: Figures
    after: Figures
    log: str
    """The line that tells a person."""

    @property
    def node_growth(self) -> int:
        """Bytes that the node has more than before."""
        return self.after.node.memory_bytes - self.before.node.memory_bytes

    @property
    def node_peak(self) -> int:
        """Bytes that it had more at the worst moment."""
        return max(0, self.after.node.peak_bytes - self.before.node.memory_bytes)

    @property
    def worker_growth(self) -> int:
        """Bytes that the worker has more than before that has grown the most."""
        return max((now.memory_bytes - was.memory_bytes for was, now in self._workers()), default=0)

    @property
    def worker_peak(self) -> int:
        """Bytes that a worker had more at the worst moment."""
        return max((now.peak_bytes - was.memory_bytes for was, now in self._workers()), default=0)

    def _workers(self) -> list[tuple[Held, Held]]:
        """Those that are there as before."""
        both = self.before.workers.keys() & self.after.workers.keys()
        return [(self.before.workers[name], self.after.workers[name]) for name in both]
