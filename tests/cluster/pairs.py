"""Two nodes of one cluster and their NATS server, for all tests of a module that leave them as they found them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.conftest import home_in
from tests.e2e.daemon import Daemon

from .harness.joining import Members, members
from .nodes import sees
from .servers import Server, running

ONE: Final = "one.os"
TWO: Final = "two.os"
THREE: Final = "three.os"
NAMES: Final = (ONE, TWO, THREE)


@dataclass(frozen=True)
class Pair:
    """The first one is the authority; the third member of the cluster does not run."""

    one: Daemon
    two: Daemon
    nats: Server
    known: Members


@asynccontextmanager
async def pair_of(
    folder: Path,
    compiled: Path,
    packages: Sequence[Path | str] = (),
    *,
    settings: Mapping[str, object] | None = None,
    settings_of_two: Mapping[str, object] | None = None,
    more: str = "",
) -> AsyncIterator[Pair]:
    """They run in the block, connected.

    Args:
        folder: an empty one of the test's.
        compiled: components that were compiled before.
        packages: what the second one runs.
        settings: of both.
        settings_of_two: of the second one besides.
        more: lines of the NATS server's configuration.
    """
    count = 0

    def new_home() -> Path:
        nonlocal count
        count += 1
        return home_in(folder / f"node-{count}", compiled)

    async with AsyncExitStack() as stack:
        known = await members(NAMES, new_home, folder / "founding")
        servers = await stack.enter_async_context(running(folder / "nats", 1, more=more))
        nodes = []
        for name, runs, own in ((ONE, (), {}), (TWO, packages, settings_of_two or {})):
            home = new_home()
            known.move_in(home, name, servers[0].url)
            given = {**(settings or {}), **own}
            nodes.append(await stack.enter_async_context(Daemon(home, runs, node=name, settings=given)))
        one, two = nodes
        await sees(one, TWO)
        await sees(two, ONE)
        yield Pair(one, two, servers[0], known)
