"""Processes of a node's packages and their children that are not running, and packages that were not loaded. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from guesthouse.core.address import ProcessId
from guesthouse.kernel.supervision.ended_processes import FAILED, EndedProcess
from guesthouse.package.spec import Package


def not_running(
    packages: Iterable[Package],
    runs: Callable[[ProcessId], bool],
    ended: Callable[[ProcessId], EndedProcess | None],
    children: Callable[[str], Iterable[EndedProcess]],
    not_loaded: Mapping[str, EndedProcess],
) -> Iterator[tuple[str, EndedProcess]]:
    """What should run and does not: processes by their ids, then packages by theirs.

    Args:
        packages: those of the node.
        runs: whether a process is there.
        ended: why one is not.
        children: those of a package that ended.
        not_loaded: installed packages that could not be loaded.
    """
    for package in packages:
        for spec in package.processes:
            known = ended(spec.id)
            if known is not None and not runs(spec.id):
                yield str(spec.id), known
        for child in children(package.id):
            yield str(child.id), child
    yield from not_loaded.items()


def failures(absent: Iterable[tuple[str, EndedProcess]]) -> Sequence[str]:
    """Those that failed, a line each."""
    return [f"{name} {ended.in_words()}" for name, ended in absent if ended.state == FAILED]
