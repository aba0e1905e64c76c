"""Whoever reaches NATS writes cards, presences and requests to join, withholds them and goes back behind them."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import nats.js.errors
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.js.kv import KeyValue
from tests.e2e.daemon import Daemon
from tests.e2e.waiting import until

from guesthouse.cluster.card_bucket import bucket_name
from guesthouse.cluster.membership.membership import Membership
from guesthouse.cluster.membership.records import Card, Presence, Succession, signed

from .nodes import cluster, join, node_of, rows, says, sees, ticket
from .servers import Server, connected
from .test_joining import ONE, THREE, TWO, NewHome, joined, pair

__all__ = ["pair"]

THIEF = Ed25519PrivateKey.generate()
RAW = THIEF.public_key().public_bytes_raw()


def membership_of(home: Path) -> Membership:
    found = Membership.load(home)
    assert found is not None
    return found


def cluster_id(home: Path) -> str:
    return membership_of(home).roster.cluster_id


async def bucket_of(client: Any, home: Path) -> KeyValue:
    """The bucket, once the authority has made it and written to it."""

    async def found() -> KeyValue | None:
        try:
            bucket: KeyValue = await client.jetstream().key_value(bucket_name(cluster_id(home)))
        except nats.js.errors.NotFoundError:
            return None
        return bucket if len(await bucket.keys()) >= 2 else None

    bucket = await until(found, bool, "there is no bucket")
    assert bucket is not None
    return bucket


def forged_card(home: Path, node: str, **fields: Any) -> bytes:
    given: dict[str, Any] = {
        "cluster": cluster_id(home),
        "node": node,
        "key": RAW,
        "serial": 1000,
        "issued": int(time.time()),
        "expires": int(time.time()) + 10_000,
        "state": "member",
    }
    return signed(Card(**{**given, **fields}), THIEF)


async def test_forged_cards_change_nothing(pair: tuple[Daemon, Daemon], nats: Server) -> None:
    one, two = pair
    before = await rows(one)
    async with connected(nats.url) as client:
        bucket = await bucket_of(client, one.home)
        succession = Succession(cluster=cluster_id(one.home), number=1, key=RAW, issued=1)
        for number, data in enumerate(
            (
                forged_card(one.home, TWO),
                forged_card(one.home, ONE, state="expelled"),
                forged_card(one.home, "mallory.os"),
                forged_card(one.home, TWO, cluster="0" * 32),
                signed(succession, THIEF),
                b"c",
                b"",
                os.urandom(500),
                bytes(2048),
            )
        ):
            for key in (f"card.forged{number}", "succession.00001", "card.x"):
                await bucket.put(key, data)
        for key in await bucket.keys():
            await bucket.purge(key)
        await says(
            one, "a record of the cluster was dropped: its signature is not by the key that has to sign it"
        )
        await says(
            two, "a record of the cluster was dropped: its signature is not by the key that has to sign it"
        )
    assert {node: row["state"] for node, row in (await rows(one)).items()} == {
        node: row["state"] for node, row in before.items()
    }
    assert [row["state"] for row in (await rows(two)).values()] == ["up", "here"]


async def test_nats_cannot_withhold_an_expulsion_nor_go_back_behind_it(
    pair: tuple[Daemon, Daemon], nats: Server, new_home: NewHome
) -> None:
    one, two = pair
    three_home = await joined(one, THREE, new_home())
    async with node_of(three_home) as three:
        await sees(three, ONE, TWO)
    assert (await cluster(one.home, "expel", TWO)).code == 0
    old = membership_of(three_home).roster.data_of(TWO)
    assert old is not None
    async with connected(nats.url) as client:
        bucket = await bucket_of(client, one.home)

        async def expelled() -> str | None:
            """The key of the card, once it is written."""
            for key in await bucket.keys():
                value = (await bucket.get(key)).value or b""
                if TWO.encode() in value and b"expelled" in value:
                    return key
            return None

        key = await until(expelled, bool, "the card is not written")
        assert key is not None
        await bucket.put(key, old)
        async with node_of(three_home) as three:
            await sees(three, TWO, state="expelled")
            await sees(three, ONE)
            assert (await bucket.get(key)).value == old, "it learnt that from a member"
        async with node_of(three_home) as three:
            assert (await rows(three))[TWO]["state"] == "expelled"
    await says(two, "it was expelled")


async def test_presences_and_requests_without_end_disturb_nobody(
    pair: tuple[Daemon, Daemon], nats: Server, new_home: NewHome
) -> None:
    one, two = pair
    prefix = f"guesthouse.{cluster_id(one.home)}"
    now = time.time()
    presence = Presence(cluster=cluster_id(one.home), node=TWO, sent=now + 1e6, latest=10**9)
    floods = (
        ("presence", signed(presence, THIEF)),
        ("presence", os.urandom(2000)),
        ("join", os.urandom(300)),
        ("join", bytes(100_000)),
        ("node.x", b"x"),
    )
    async with connected(nats.url) as client:
        for _ in range(2000):
            for subject, data in floods:
                await client.publish(f"{prefix}.{subject}", data, reply=f"{prefix}.welcome.x")
        await client.flush()
        await client.publish(f"{prefix}.join", b"x", reply="$JS.API.STREAM.DELETE.x")
        await client.flush()
    await join(new_home(), THREE, await ticket(one.home))
    assert THREE in await rows(one)
    heard = (await rows(one))[TWO]["heard_seconds_ago"]
    assert heard is not None

    async def again() -> bool:
        row = (await rows(one))[TWO]
        return bool(row["state"] == "up" and row["heard_seconds_ago"] < 3)

    await until(again, bool, "it is not heard any more")
    assert "Traceback" not in one.stderr() + two.stderr()


@pytest.mark.thorough
async def test_two_clusters_on_one_nats_do_not_hear_each_other(
    pair: tuple[Daemon, Daemon], nats: Server, new_home: NewHome
) -> None:
    one, _ = pair
    other_home = new_home()
    assert (await cluster(other_home, "init", "--nats", nats.url, "--node", TWO)).code == 0
    async with node_of(other_home) as other:
        await join(new_home(), THREE, await ticket(other_home))
        assert sorted(await rows(other)) == sorted((TWO, THREE))
        await asyncio.sleep(0)
        assert sorted(await rows(one)) == sorted((ONE, TWO))
        foreign = await ticket(other_home)
        wrong = await cluster(new_home(), "join", foreign[:-6] + "AAAAAA", "--node", "x.os")
        assert "not a whole ticket" in wrong.stderr
