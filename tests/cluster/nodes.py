"""Nodes as subprocesses that are founded and joined by the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.daemon import Daemon, Ran, run_command
from tests.e2e.waiting import until
from tests.patience import PATIENCE


async def cluster(home: Path, *arguments: str, stdin: str | None = None) -> Ran:
    """Run `guesthouse cluster ARGUMENTS…` on a home."""
    return await run_command(home, "cluster", *arguments, "--home", home, stdin=stdin)


async def found(home: Path, node: str, url: str) -> dict[str, Any]:
    """Found a cluster at the home of a node."""
    found: dict[str, Any] = (await cluster(home, "init", "--nats", url, "--node", node, "--json")).json()
    return found


async def ticket(home: Path, *arguments: str) -> str:
    """A ticket of the cluster whose authority has this home."""
    made = await cluster(home, "ticket", *arguments)
    assert made.code == 0, made.stderr
    return made.stdout.strip()


async def join(home: Path, node: str, text: str) -> None:
    """Join by a ticket."""
    joined = await cluster(home, "join", "-", "--node", node, stdin=text)
    assert joined.code == 0, joined.stderr


async def rows(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """What a node says of all nodes, by their names."""
    return {row["node"]: row for row in await daemon.ask("cluster", action="nodes")}


async def sees(daemon: Daemon, *nodes: str, state: str = "up", seconds: float = PATIENCE) -> None:
    """Wait until a node says that of others."""

    async def states() -> dict[str, str]:
        return {node: row["state"] for node, row in (await rows(daemon)).items()}

    def fits(found: dict[str, str]) -> bool:
        return all(found.get(node) == state for node in nodes)

    await until(states, fits, f"{', '.join(nodes)} are not {state}", seconds)


async def says(daemon: Daemon, part: str) -> str:
    """Wait for a line of a node's log with that in it."""

    async def lines() -> list[str]:
        return [line for line in daemon.stderr().splitlines() if part in line]

    return (await until(lines, bool, f"{daemon.home} does not say: {part}"))[0]


async def answer(daemon: Daemon, process: str, body: str) -> str:
    """What a process of a node answers."""
    (sent,) = await daemon.ask("send", address=process, body=body, seconds=30)
    return str(sent["body"])


def node_of(home: Path, *packages: str | Path, **options: Any) -> Daemon:
    """The node of a home, by the name that it has in its cluster; to be entered."""
    return Daemon(home, packages, node=None, **options)
