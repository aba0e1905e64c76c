"""How a node joins: shows its ticket to the authority by way of NATS, and verifies the answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.msg import Msg

from guesthouse.cluster.carrier import subject_prefix
from guesthouse.cluster.membership.join_tickets import (
    BadTicket,
    JoinAnswer,
    JoinTicket,
    make_request,
    read_welcome,
    roster_of,
)
from guesthouse.cluster.membership.membership import Membership, refuse_second
from guesthouse.cluster.membership.records import BadRecord
from guesthouse.cluster.nats_client import Access
from guesthouse.cluster.nats_connection import NatsConnection
from guesthouse.core.ports import LogPort

JOIN_SECONDS = 20.0
_ASK_EVERY = 2.0


async def join_cluster(
    ticket: JoinTicket,
    home: Path,
    node: str,
    key: Ed25519PrivateKey,
    servers: Sequence[str],
    access: Access,
    log: LogPort,
    seconds: float = JOIN_SECONDS,
) -> Membership:
    """Join a cluster, and save it. The node does not take part yet.

    Args:
        ticket: from the authority.
        home: the node's folder.
        node: its name.
        key: its key.
        servers: URLs of the cluster's NATS servers.
        access: what is shown to them.
        log: for what goes wrong on the way.
        seconds: how long the authority may take.

    Raises:
        BadTicket: the node was refused, or nobody answers.
        NotAllowed: the node is in a cluster.
        BadMembership: the files cannot be written.
    """
    refuse_second(home)
    nonce = secrets.token_bytes(16)
    request = make_request(ticket, node, key, nonce)
    prefix = subject_prefix(ticket.cluster)
    reply = f"{prefix}.welcome.{secrets.token_hex(16)}"
    answer: asyncio.Future[JoinAnswer] = asyncio.get_running_loop().create_future()

    def on_answer(message: Msg) -> None:
        welcome = read_welcome(message.data, ticket.secret)
        if welcome is not None and welcome.nonce == nonce and not answer.done():
            answer.set_result(welcome)

    connection = NatsConnection(servers, access, node, log)
    connection.handle(reply, on_answer)
    reached = False
    async with connection:
        try:
            async with asyncio.timeout(seconds):
                while not answer.done():
                    await connection.wait_up()
                    reached = True
                    connection.publish(f"{prefix}.join", request, reply)
                    await asyncio.wait([answer], timeout=_ASK_EVERY)
        except TimeoutError:
            if not reached:
                text = f"no NATS server of the ticket can be reached ({', '.join(_hosts(servers))})"
                raise BadTicket(f"{text}: is one running there, and do cluster.credentials fit?") from None
            raise BadTicket(
                "the node that made the ticket does not answer: see that it runs and is connected to the same NATS "
                "servers, and that the ticket is one of its own"
            ) from None
    welcome = answer.result()
    if welcome.refusal:
        raise BadTicket(welcome.refusal)
    try:
        roster = roster_of(welcome, ticket, node, key.public_key().public_bytes_raw(), time.time())
    except BadRecord as error:
        raise BadTicket(
            f"the answer to the ticket is wrong ({error}): is the clock of one node off?"
        ) from None
    membership = Membership(home, node, tuple(servers), roster, name=ticket.name)
    await asyncio.to_thread(membership.save)
    return membership


def _hosts(servers: Sequence[str]) -> list[str]:
    return [server.rpartition("/")[2].rpartition("@")[2] for server in servers]
