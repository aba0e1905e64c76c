"""A member of the cluster that lies: NATS carries what it says, and its key is good."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from tests.e2e.waiting import until
from tests.faults.liar.lying_peer import TALES, Liar
from tests.node_frames import HandMade

from .joining import Members

NAME: Final = "liar.os"
MOST_FRAME_BYTES: Final = 1_000_000
"""NATS carries no larger message."""
_BE_THERE_SECONDS: Final = 0.4


def subject_of(cluster: str, node: str) -> str:
    """Where frames for a node go."""
    return f"guesthouse.{cluster}.node.{hashlib.sha256(node.encode()).hexdigest()[:32]}"


class HostileMember:
    """Lies to one node.

    Args:
        client: of NATS.
        members: of the cluster; the liar is one.
        victim: the name of the node that it lies to.
        process: one of that node's, as `process:package:publisher`.
    """

    def __init__(self, client: Client, members: Members, victim: str, process: str) -> None:
        self._client = client
        self._subject = subject_of(members.cluster, victim)
        self._cluster = bytes.fromhex(members.cluster)
        self._liar = Liar(victim, process, NAME, members.keys[NAME])

    async def _up(self) -> bool:
        """Whether the node takes it for a member."""
        return self._liar.lies.up

    async def hear(self, message: Msg) -> None:
        """What the node says to it."""
        self._liar.lies.incoming(message.data)
        await self._say()

    async def be_there(self) -> None:
        """Begin a session, and again whenever it is lost, and ping."""
        while True:
            lies = self._liar.lies
            if lies.up:
                lies.ping()
            else:
                lies.session = HandMade(NAME, self._liar.key, self._liar.node)
                self._liar.unsent.append(lies.session.hello(cluster=self._cluster))
            await self._say()
            await asyncio.sleep(_BE_THERE_SECONDS)

    async def _say(self) -> None:
        while self._liar.unsent:
            await self._client.publish(self._subject, self._liar.unsent.pop(0))

    async def tell(self, tale: str) -> None:
        """Tell a tale in a session of its own, as far as NATS carries it: the one before may have ended the last."""
        self._liar.lies.up = False
        await until(self._up, bool, "there is no session")
        for frame in TALES[tale](self._liar):
            if len(frame) <= MOST_FRAME_BYTES:
                await self._client.publish(self._subject, frame)
        await self._client.flush()


@asynccontextmanager
async def hostile_member(
    client: Client, members: Members, victim: str, process: str
) -> AsyncIterator[HostileMember]:
    """A member that is there, inside of the block."""
    member = HostileMember(client, members, victim, process)
    listening = await client.subscribe(subject_of(members.cluster, NAME), cb=member.hear)
    async with asyncio.TaskGroup() as tasks:
        there = tasks.create_task(member.be_there())
        yield member
        there.cancel()
    await listening.unsubscribe()
