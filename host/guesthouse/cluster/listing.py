"""The nodes of a cluster, as `guesthouse cluster nodes` shows them."""

from __future__ import annotations

import time
from collections.abc import Callable
from time import monotonic
from typing import Any

from guesthouse.cluster.membership.membership import Membership
from guesthouse.cluster.membership.presence_book import PresenceBook
from guesthouse.cluster.membership.records import Presence
from guesthouse.cluster.membership.roster import SKEW_SECONDS


def node_rows(
    membership: Membership,
    presences: PresenceBook | None = None,
    is_up: Callable[[str], bool] = lambda node: False,
    own: Presence | None = None,
) -> list[dict[str, Any]]:
    """Each node: what its card says, and if the own node runs, what is known of it now.

    Args:
        membership: of the node that lists them.
        presences: what nodes said of themselves; None: the node does not run.
        is_up: tells whether there is a session with a node.
        own: what the own node says of itself.
    """
    rows = []
    for card in membership.roster.cards:
        heard = None if presences is None else presences.heard(card.node)
        ago = None if heard is None else monotonic() - heard.at
        if card.state != "member":
            state: str = card.state
        elif time.time() > card.expires + SKEW_SECONDS:
            state = "expired"
        elif presences is None:
            state = "unknown"
        elif card.node == membership.node:
            state = "here"
        elif is_up(card.node):
            state = "draining" if heard is not None and heard.presence.draining else "up"
        else:
            state = "offline"
        told = own if card.node == membership.node else None if heard is None else heard.presence
        rows.append(
            {
                "node": card.node,
                "state": state,
                "authority": card.authority,
                "version": None if told is None else told.version,
                "processes": None if told is None else told.processes,
                "channels": None if told is None else told.channels,
                "load": None if told is None else round(told.load, 2),
                "heard_seconds_ago": None if ago is None else round(ago, 1),
                "card_expires": card.expires,
            }
        )
    return rows
