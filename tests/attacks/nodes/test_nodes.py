"""Another node that lies: its key is known, and it says what no node says, or too much of what nodes say."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import pytest
from tests.patience import tried_again
from tests.tiers import thorough_but

from ...faults.liar.lying_peer import TALES, TRICKLE
from ..figures import MIB, Allowance
from ..harness import Scene
from .conftest import Peer

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUITE: Final = "Hostile nodes"
LARGE: Final = Allowance(node_bytes=140 * MIB, node_peak_bytes=400 * MIB)
"""Messages of 20 MiB stand in the transport's buffer, in what waits, and in the allocator's hands."""
LINES: Final = {
    "requests to nobody": "was refused: no-such-process",
    "requests to a process": "",
    "requests that wait for a year": "was refused: mailbox-full",
    "requests of nobody": "with an invalid address",
    "Hellos that are not signed": "it is not signed by liar.os",
    "Hellos that are wrongly signed": "it is not signed by liar.os",
    "Hellos of other nodes": "it is not signed by honest.os",
    "Hellos to other nodes": "it is for another node",
    "Hellos of another version": "speaks other versions of the protocol",
    "Hellos without end": "liar.os sends too many",
    "one Hello again and again": "",
    "Hellos that say nothing": "it is malformed",
    "frames that were sent before": "liar.os sent it before",
    "frames that were altered": "it was not sealed by liar.os",
    "frames of no session": "it is of no session of this node",
    "frames that are missing": "frames were lost on the way",
    "noise": "it is no frame of a version that this node speaks",
    "shapeless": "liar.os sent an invalid one",
    "shapeless control messages": "sent a control message that this node does not know",
    "credit without end": "",
    "services that there are not": "sent it to a service that this node does not have",
    "messages that never end": "it sent a message over the limit",
    "twenty million empty lists": "liar.os sent an invalid one",
    "large and forged": "it was not sealed by liar.os",
    "too large": "it sent a message over the limit of",
    "larger than a transport takes": "",
    "answers that nobody asked for": "was not asked for",
    "pushes to channels of others": "a capability presented by liar.os@guest:house:liar.os was dropped",
    "requests to the HTTP server": "",
    "signatures that are forged": "a capability passed by liar.os@guest:house:liar.os was dropped",
    TRICKLE: "",
}
HEAVY: Final = {
    "twenty million empty lists",
    "large and forged",
    "too large",
    "larger than a transport takes",
    "messages that never end",
}


ONCE_MORE: Final = {
    "requests of nobody",
    "Hellos that are not signed",
    "Hellos of another version",
    "frames that were altered",
    "noise",
    "answers that nobody asked for",
    "Hellos that are wrongly signed",
    "Hellos to other nodes",
    "one Hello again and again",
    "Hellos that say nothing",
    "frames of no session",
    "shapeless control messages",
    "services that there are not",
    "twenty million empty lists",
    "too large",
    "larger than a transport takes",
}
"""Tales much like others."""


@pytest.mark.parametrize("tale", thorough_but(LINES, *LINES.keys() - ONCE_MORE))
@tried_again
async def test_a_node_that_lies_holds_up_nobody_and_leaves_nothing_behind(
    scene: Scene, peer: Peer, tale: str
) -> None:
    allowed = LARGE if tale in HEAVY else Allowance()
    async with scene.attack(SUITE, tale, allowed=allowed) as attack:
        await peer.tell(tale)
        while not attack.measured:
            await peer.tell(tale)
        await peer.ask_honestly()
        if LINES[tale]:
            told = asyncio.ensure_future(scene.log_line("remote", LINES[tale]))
            while not (await asyncio.wait([told], timeout=1))[0]:
                await peer.tell(tale)  # there were more Hellos in that second than a node looks at
            attack.log = told.result()


async def test_all_tales_are_told() -> None:
    assert LINES.keys() == {*TALES, TRICKLE}


async def test_what_they_said_is_logged_once_a_minute(scene: Scene, peer: Peer) -> None:
    lines = [line["text"] for line in await scene.ask("logs", lines=100_000) if line["source"] == "remote"]
    told = [re.sub(r"\(\d+ times more.*|(?<=refused: ).*|(?<=by )\S+", "", line) for line in lines]
    for text in set(told):
        assert told.count(text) < 40, (text, told.count(text))
