"""Makes nodes members of one cluster, as operators do: by `guesthouse cluster init`, `ticket` and `join`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.http_server.auth.credentials import load_node_key

from ..nodes import found, join, node_of, ticket
from ..servers import running

_FILES: Final = ("cluster.*", "guesthouse.toml", "node.ed25519", "node.name")


@dataclass(frozen=True)
class Members:
    """Members of one cluster; the first one has its key."""

    cluster: str
    """Its id, in hexadecimal."""
    keys: Mapping[str, Ed25519PrivateKey]
    """Of each, by its name."""
    files: Mapping[str, Mapping[str, bytes]]
    """What makes a home that of a member, by the member's name."""

    def move_in(self, home: Path, node: str, url: str | None = None) -> None:
        """Make a home that of a member, which goes by the NATS server at `url`; None: its settings will name one."""
        for name, content in self.files[node].items():
            file = home / name
            file.touch(mode=0o600)
            file.write_bytes(content)
        if url is not None:
            file = home / "guesthouse.toml"
            file.write_text(re.sub(r"nats = \[.*\]", f'nats = ["{url}"]', file.read_text()))


_founded: Final[dict[tuple[str, ...], Members]] = {}


async def members(names: Sequence[str], new_home: Callable[[], Path], folder: Path) -> Members:
    """Found a cluster, once for all tests of a process: each command takes a second of CPU. The servers of a test know
    nothing of it when they start, and are told by its authority.

    Args:
        names: of the members.
        new_home: makes homes.
        folder: where the server may be.
    """
    if tuple(names) in _founded:
        return _founded[tuple(names)]
    homes = {name: new_home() for name in names}
    first, *others = names
    async with running(folder, 1) as servers:
        made = await found(homes[first], first, servers[0].url)
        async with node_of(homes[first]):
            for name in others:
                await join(homes[name], name, await ticket(homes[first]))
    result = Members(
        made["cluster"],
        {name: load_node_key(home) for name, home in homes.items()},
        {
            name: {file.name: file.read_bytes() for pattern in _FILES for file in home.glob(pattern)}
            for name, home in homes.items()
        },
    )
    return _founded.setdefault(tuple(names), result)
