"""Whose processes a node serves: `[cluster] serve`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

ALL: Final = "*"
"""Each node of the cluster."""


class Served:
    """Which packages of which nodes clients reach here.

    Args:
        entries: each a node for all its packages, or `NODE@PACKAGE:PUBLISHER`; `ALL` stands for each node.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._entries = frozenset(entries)

    def has(self, node: str, package: str) -> bool:
        """Whether a node's package, `PACKAGE:PUBLISHER`, is served."""
        names = (node, ALL, f"{node}@{package}", f"{ALL}@{package}")
        return not self._entries.isdisjoint(names)
