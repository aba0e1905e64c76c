"""The bucket of a cluster's cards: how many servers keep it, and what docs/cluster.md says a user of NATS needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from nats.js.api import KeyValueConfig
from tests.e2e.waiting import until

from guesthouse.cluster.card_bucket import bucket_name, live_subject, open_bucket, raise_replicas, read_bucket
from guesthouse.cluster.nats_client import Access, read_access
from guesthouse.cluster.nats_connection import NatsConnection
from guesthouse.core.settings.cluster_settings import ClusterSettings

from .nodes import cluster, found, join, node_of, says, sees, ticket
from .operator_mode import Operator, documented_rights
from .servers import NOT_YET, Server, connected, running
from .test_carrier import CLUSTER, SeenLog

ONE, TWO = "one.os", "two.os"


async def test_a_user_with_the_documented_rights_has_what_a_node_needs(tmp_path: Path) -> None:
    users = "{ user: tests, password: tests }"
    for name in ("node", "authority"):
        publish, subscribe = map(json.dumps, documented_rights(CLUSTER, authority=name == "authority"))
        rights = f"publish: {publish}, subscribe: {subscribe}"
        users += f", {{ user: {name}, password: secret, permissions: {{ {rights} }} }}"
    more = f"authorization {{ users: [{users}] }}\nno_auth_user: tests"
    async with running(tmp_path / "nats", 1, more=more) as servers:
        urls = [servers[0].url.replace("//", f"//{name}:secret@") for name in ("authority", "node")]
        seen: list[str] = []
        logs = [SeenLog(), SeenLog()]
        one, two = (
            NatsConnection([url], Access(None), name, log)
            for url, name, log in zip(urls, ("a.os", "b.os"), logs, strict=True)
        )
        two.handle(live_subject(CLUSTER), lambda message: seen.append(message.subject))
        two.handle(f"guesthouse.{CLUSTER}.presence", lambda message: seen.append("presence"))
        async with one, two:
            assert await open_bucket(await two.wait_up(), CLUSTER, create=False) is None
            bucket = await open_bucket(await one.wait_up(), CLUSTER, create=True)
            assert bucket is not None
            assert await read_bucket(bucket) == {}
            await bucket.put("card.a", b"old")
            await bucket.put("card.a", b"card")
            await bucket.put("succession.00001", b"key")
            one.publish(f"guesthouse.{CLUSTER}.presence", b"x")
            found = await open_bucket(await two.wait_up(), CLUSTER, create=False)
            assert found is not None
            assert await read_bucket(found) == {"card.a": b"card", "succession.00001": b"key"}
            assert await raise_replicas(await one.wait_up(), CLUSTER) is None, "there is one server"

            async def heard() -> set[str]:
                return set(seen)

            await until(heard, lambda subjects: len(subjects) == 3, "not all is heard")
            assert not [line for log in logs for line in log.lines if "ermission" in line]
            two.publish(f"$KV.{bucket_name(CLUSTER)}.card.a", b"forged")
            assert (await read_bucket(bucket))["card.a"] == b"card", "no other node writes it"


@pytest.mark.thorough
async def test_the_cards_are_on_three_servers_once_there_are_three(tmp_path: Path) -> None:
    async with running(tmp_path / "nats", 3) as servers:
        async with connected(*servers.urls) as client:
            await client.jetstream().create_key_value(KeyValueConfig(bucket=bucket_name(CLUSTER), replicas=1))
        connection = NatsConnection(servers.urls, Access(None), ONE, SeenLog())
        async with connection:
            client_of_node = await connection.wait_up()

            async def raised() -> int | None:  # as the authority does, once in a while
                return await raise_replicas(client_of_node, CLUSTER)

            await until(raised, lambda found: found == 3, "there are three copies")
            assert await raise_replicas(client_of_node, CLUSTER) is None

            async def put() -> bool:
                with suppress(*NOT_YET):  # a leader is elected
                    bucket = await open_bucket(client_of_node, CLUSTER, create=False)
                    assert bucket is not None
                    await bucket.put("card.a", b"card")
                    return True
                return False

            await until(put, bool, "the card is kept")

            async def copies() -> list[bool]:
                with suppress(*NOT_YET):
                    told = await client_of_node.jetstream().stream_info(f"KV_{bucket_name(CLUSTER)}")
                    replicas = (told.cluster and told.cluster.replicas) or []
                    return [bool(each.current) for each in replicas]
                return []

            await until(copies, lambda found: found == [True, True], "two others than the leader have it")
        await servers[0].kill()
        connection = NatsConnection(servers.urls[1:], Access(None), ONE, SeenLog())
        async with connection:

            async def cards() -> dict[str, bytes]:
                with suppress(*NOT_YET):
                    kept = await open_bucket(await connection.wait_up(), CLUSTER, create=False)
                    return {} if kept is None else await read_bucket(kept)
                return {}

            await until(cards, lambda found: found == {"card.a": b"card"}, "the others have it")


@pytest.mark.thorough
async def test_nodes_of_a_server_in_operator_mode_need_no_more_than_is_documented(
    tmp_path: Path, new_home: Callable[[], Path]
) -> None:
    operator = Operator()
    server = Server(tmp_path / "nats", "n0", more=operator.configuration)
    await server.start()
    homes = {name: new_home() for name in (ONE, TWO)}
    try:
        made = await found(homes[ONE], ONE, server.url)
        for name, home in homes.items():
            rights = documented_rights(made["cluster"], authority=name == ONE)
            file = home.parent / f"{name}.creds"
            file.touch(mode=0o600)
            file.write_text(operator.credentials(name, *rights))
            settings = home / "guesthouse.toml"
            text = settings.read_text() if settings.exists() else "[cluster]\n"
            settings.write_text(text.replace("[cluster]\n", f'[cluster]\ncredentials = "{file}"\n'))
        async with node_of(homes[ONE]) as one:
            await says(one, "connected to NATS at")
            await join(homes[TWO], TWO, await ticket(homes[ONE]))
            async with node_of(homes[TWO]) as two:
                await sees(one, TWO)
                await sees(two, ONE)
                assert (await cluster(homes[ONE], "expel", TWO)).code == 0
                await says(two, "it was expelled")
                for node in (one, two):
                    assert "ermission" not in node.stderr()
                    assert "others can read" not in node.stderr()
        access = read_access(
            ClusterSettings(nats=(server.url,), credentials=str(homes[TWO].parent / f"{TWO}.creds"))
        )
        connection = NatsConnection([server.url], access, TWO, SeenLog())
        async with connection:
            kept = await open_bucket(await connection.wait_up(), made["cluster"], create=False)
            assert kept is not None
            assert len(await read_bucket(kept)) == 2, "the cards of both"
    finally:
        await server.end()
