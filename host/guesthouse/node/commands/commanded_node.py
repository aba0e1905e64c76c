"""A node as its operator's commands see it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from guesthouse.control.control_server import BadCommand
from guesthouse.node.base_node import BaseNode
from guesthouse.node.draining.client_drain import ClientDrain, DrainState
from guesthouse.node.installer import Installer

if TYPE_CHECKING:
    from guesthouse.cluster.administration.administration import Administration


class CommandedNode(BaseNode, ABC):
    """A node as its operator's commands see it; `Node` is one."""

    installer: Installer
    client_drain: ClientDrain

    @property
    def draining(self) -> bool:
        """Whether its clients are told to go elsewhere, or were."""
        return self.client_drain.state is not DrainState.SERVING

    @abstractmethod
    async def start_cluster(self) -> None:
        """Take part in the cluster that the home has, if there is one."""

    @abstractmethod
    async def stop_cluster(self) -> None:
        """End that."""


def cluster_of(node: CommandedNode) -> Administration:
    """The part of a node that administers its cluster.

    Raises:
        BadCommand: it is in none.
    """
    administration = node.administration
    if administration is None:
        raise BadCommand(
            "this node is in no cluster: found one with `guesthouse cluster init`, or join one with `guesthouse "
            "cluster join`"
        )
    return administration
