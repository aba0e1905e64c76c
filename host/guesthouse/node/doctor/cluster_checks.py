"""The cluster: its card, its files, its NATS servers. Loaded only where the node has, or is to have, a cluster."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from guesthouse.cluster.carrier import LEAST_FRAME_BYTES, MOST_FRAME_BYTES
from guesthouse.cluster.membership.membership import Membership
from guesthouse.cluster.membership.roster import SKEW_SECONDS
from guesthouse.cluster.nats_client import Access, read_access
from guesthouse.cluster.nats_examination import ServerReport, examine_server
from guesthouse.core.config import Settings
from guesthouse.core.errors import BadSetting, GuesthouseError
from guesthouse.node.doctor.finding import FAIL, OK, WARN, Finding

_RENEWED_SECONDS: Final = 20 * 86_400
"""Before a card expires, in which the authority renews it."""
_LATE_SECONDS: Final = 15 * 86_400
_CLOCK_SECONDS: Final = 5.0
_REPLICAS: Final = 3


def card(settings: Settings, home: Path) -> Iterator[Finding]:
    """Whether the node is a member, and how long."""
    known = _membership(home)
    if isinstance(known, str):
        yield Finding("cluster", FAIL, known, "restore the home from a backup, or leave and join again")
        return
    if known is None:
        text = "cluster.nats is set, and the node is in no cluster"
        yield Finding(
            "cluster", WARN, text, "guesthouse cluster init founds one, guesthouse cluster join joins one"
        )
        return
    if not settings.cluster.nats:
        text = f"the node is in the cluster {known.roster.cluster_id}, and cluster.nats is not set: it runs alone"
        yield Finding(
            "cluster", WARN, text, f'set it, as in nats = ["{(known.nats or ("nats://HOST:4222",))[0]}"]'
        )
    own = known.roster.card_of(known.node)
    if known.node != settings.node:
        text = f"this node is {known.node} in its cluster, and {settings.node} by its settings: it does not start"
        yield Finding("cluster", FAIL, text, f'set node = "{known.node}"')
    elif own is None or own.state != "member":
        text = f"this node is no member any more: it {'has no card' if own is None else own.state}"
        yield Finding("cluster", FAIL, text, "guesthouse cluster leave, then join with a new ticket")
    else:
        yield _validity(known, own.expires)


def _validity(known: Membership, expires: float) -> Finding:
    left = expires - time.time()
    text = (
        f"the card of {known.node} is valid until {datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%M} UTC"
    )
    remedy = "run the authority of the cluster, which renews cards, and see that the clock is right"
    if left < -SKEW_SECONDS:
        return Finding("cluster", FAIL, text, remedy)
    if left < _LATE_SECONDS:
        return Finding(
            "cluster", WARN, f"{text}; it was to be renewed {_RENEWED_SECONDS // 86_400} days before", remedy
        )
    return Finding("cluster", OK, f"{text}, in the cluster {known.roster.cluster_id}")


def authority(rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Whether the node that admits others can be reached.

    Args:
        rows: what a node that runs says of all nodes; empty: it does not run, or is in no cluster.
    """
    own = next((row for row in rows if row["authority"]), None)
    if not rows:
        return
    if own is None:
        text = "no node of the cluster is known to hold its key"
        yield Finding("authority", WARN, text, "run the node that founded the cluster, or found another one")
    elif own["state"] in {"here", "up", "draining"}:
        yield Finding("authority", OK, f"{own['node']} holds the cluster key, and can be reached")
    else:
        text = f"{own['node']} holds the cluster key, and cannot be reached: it is {own['state']}"
        yield Finding(
            "authority", WARN, text, "run it: it admits and expels nodes, and renews cards before they expire"
        )


def files(settings: Settings) -> Iterator[Finding]:
    """Who can read what identifies the node to NATS."""
    for name, path in (
        ("cluster.credentials", settings.cluster.credentials),
        ("cluster.tls_key", settings.cluster.tls_key),
    ):
        if path is None:
            continue
        file = Path(path).expanduser()
        try:
            status = file.stat()
        except OSError as error:
            text = f"{name} ({file}): {error.strerror}"
            yield Finding(
                "NATS credentials", FAIL, text, "make it readable for the node, or remove the setting"
            )
            continue
        if stat.S_IMODE(status.st_mode) & 0o077:
            text = f"others can read {name} ({file})"
            yield Finding("NATS credentials", WARN, text, f"chmod go-rwx {file}")
        elif status.st_uid not in (0, os.geteuid()):
            text = f"{name} ({file}) belongs to user {status.st_uid}"
            yield Finding("NATS credentials", WARN, text, "make it the node's own")
        else:
            yield Finding("NATS credentials", OK, f"{file} is this user's alone")


def nats(settings: Settings, home: Path) -> Iterator[Finding]:
    """The servers: each is connected to, and asked of JetStream and of the cluster's bucket."""
    known = _membership(home)
    membership = known if isinstance(known, Membership) else None
    servers = settings.cluster.nats or (() if membership is None else membership.nats)
    if not servers:
        return
    try:
        access = read_access(replace(settings.cluster, nats=tuple(servers)))
    except BadSetting as error:
        yield Finding("NATS", FAIL, str(error), "fix the setting")
        return
    cluster_id = None if membership is None else membership.roster.cluster_id
    reports = asyncio.run(_reports(servers, access, cluster_id))
    found = [report for report in reports if report.error is None]
    for report in reports:
        if report.error is not None:
            remedy = "see that it runs, and that cluster.credentials and cluster.tls_… are what it asks for"
            yield Finding("NATS", WARN if found else FAIL, f"{report.server}: {report.error}", remedy)
    for report in found:
        yield Finding("NATS", OK, f"{report.server} answers: NATS {report.version}")
        yield from _payload(report)
    if found:
        yield from _bucket(found, membership)
        yield from _clock(found)


async def _reports(servers: Sequence[str], access: Access, cluster_id: str | None) -> list[ServerReport]:
    return list(await asyncio.gather(*(examine_server(server, access, cluster_id) for server in servers)))


def _payload(report: ServerReport) -> Iterator[Finding]:
    remedy = "set max_payload: 1MB in its configuration"
    if report.max_payload < LEAST_FRAME_BYTES:
        text = f"{report.server} takes messages of {report.max_payload} bytes: nodes do not reach each other by it"
        yield Finding("NATS messages", FAIL, text, remedy)
    elif report.max_payload < MOST_FRAME_BYTES:
        text = f"{report.server} takes messages of {report.max_payload} bytes: large ones take more of them"
        yield Finding("NATS messages", WARN, text, remedy)


def _bucket(found: Sequence[ServerReport], membership: Membership | None) -> Iterator[Finding]:
    failed = next((report for report in found if report.jetstream_error is not None), None)
    if failed is not None:
        text = f"{failed.server}: JetStream does not answer: {failed.jetstream_error}"
        remedy = (
            "turn it on (jetstream {}), and let the node's user publish and subscribe as docs/cluster.md says"
        )
        yield Finding("JetStream", FAIL, text, remedy)
        return
    report = found[0]
    servers = max(*(report.servers for report in found), len({report.server_id for report in found}))
    if membership is None:
        return
    if report.replicas is None:
        text = f"there is no bucket for the cluster {membership.roster.cluster_id}"
        yield Finding("JetStream", WARN, text, "run the authority: it makes it and writes the cards")
    elif report.replicas < _REPLICAS <= servers:
        text = f"the cards are on {report.replicas} of {servers} NATS servers, and away while that one is"
        yield Finding(
            "JetStream", WARN, text, "run the authority, which asks for a copy on each of three servers"
        )
    else:
        yield Finding("JetStream", OK, f"the cards are on {report.replicas} of {servers} NATS servers")


def _clock(found: Sequence[ServerReport]) -> Iterator[Finding]:
    for report in found:
        if report.clock_ahead is not None and abs(report.clock_ahead) > _CLOCK_SECONDS:
            way = "ahead of" if report.clock_ahead > 0 else "behind"
            text = f"the clock of {report.server} is {abs(report.clock_ahead):.0f} s {way} this one"
            yield Finding("clocks of NATS", WARN, text, "set the clocks by NTP: cards and tickets bear dates")


def _membership(home: Path) -> Membership | str | None:
    try:
        return Membership.load(home)
    except GuesthouseError as error:
        return str(error)
