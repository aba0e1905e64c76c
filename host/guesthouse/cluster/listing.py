"""The nodes of a cluster, as `guesthouse cluster nodes` shows them."""

from __future__ import annotations

import time
from collections.abc import Callable
from time import monotonic
from typing import Any

from guesthouse.cluster.membership.membership import Membership
from guesthouse.cluster.membership.presence_book import Heard, PresenceBook
from guesthouse.cluster.membership.records import Card, Presence
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
    now, rows = time.time(), []
    for card in membership.roster.cards:
        heard = None if presences is None else presences.heard(card.node)
        running = presences is not None
        told = own if card.node == membership.node else None if heard is None else heard.presence
        rows.append(
            {
                "cluster": membership.roster.cluster_id,
                "cluster_name": membership.name or None,
                "node": card.node,
                "state": state_of(card, membership.node, heard, is_up if running else None, now),
                "authority": card.authority,
                "version": None if told is None else told.version,
                "processes": None if told is None else told.processes,
                "channels": None if told is None else told.channels,
                "load": None if told is None else round(told.load, 2),
                "heard_seconds_ago": None if heard is None else round(monotonic() - heard.at, 1),
                "card_expires": card.expires,
            }
        )
    return rows


def state_of(
    card: Card, own: str, heard: Heard | None, is_up: Callable[[str], bool] | None, now: float
) -> str:
    """The state of a node, by the names of docs/cluster.md.

    Args:
        card: the node's.
        own: the name of the node that asks.
        heard: what the node said of itself last.
        is_up: tells whether there is a session with a node; None: the node that asks does not run.
        now: Unix time.
    """
    if card.state != "member":
        return card.state
    if now > card.expires + SKEW_SECONDS:
        return "expired"
    if is_up is None:
        return "unknown"
    if card.node == own:
        return "here"
    if not is_up(card.node):
        return "offline"
    return "draining" if heard is not None and heard.presence.draining else "up"
