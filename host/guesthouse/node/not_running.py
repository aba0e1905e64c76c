"""Processes of a node's packages that are not running, and packages that could not be started."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from guesthouse.kernel.supervision.ended_processes import FAILED, EndedProcess

if TYPE_CHECKING:
    from guesthouse.node.node import Node


def not_running(node: Node) -> Iterator[EndedProcess]:
    """Each process that a package of the node has, and that ended or could not be started."""
    for package in node.packages:
        for spec in package.processes:
            ended = node.supervisor.ended.get(spec.id)
            if ended is not None and node.router.find(spec.id) is None:
                yield ended


def failures(node: Node) -> Sequence[str]:
    """What failed of all that should run, a line each: processes, and packages that could not be loaded."""
    lines = [f"{ended.id} {ended.in_words()}" for ended in not_running(node) if ended.state == FAILED]
    return [
        *lines,
        *(f"{package} {ended.in_words()}" for package, ended in node.installer.not_loaded.items()),
    ]
