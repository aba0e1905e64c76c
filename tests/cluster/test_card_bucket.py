"""The bucket of a cluster's cards, by what docs/cluster.md says a user of NATS needs."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.waiting import until

from guesthouse.cluster.card_bucket import live_subject, open_bucket, read_bucket
from guesthouse.cluster.nats_client import Access
from guesthouse.cluster.nats_connection import NatsConnection

from .servers import running
from .test_carrier import CLUSTER, SeenLog

DOCS = (Path(__file__).parents[2] / "docs/cluster.md").read_text()


async def test_a_user_with_the_documented_rights_has_what_a_node_needs(tmp_path: Path) -> None:
    (line,) = re.findall(r"^A user for nodes has to be allowed .*$", DOCS, re.MULTILINE)
    subjects = ", ".join(f'"{subject}"' for subject in re.findall(r"`([^`]+)`", line))
    rights = f"permissions: {{ publish: [{subjects}], subscribe: [{subjects}] }}"
    users = f"{{ user: nodes, password: secret, {rights} }}, {{ user: tests, password: tests }}"
    more = f"authorization {{ users: [{users}] }}\nno_auth_user: tests"
    async with running(tmp_path / "nats", 1, more=more) as servers:
        url = servers[0].url.replace("//", "//nodes:secret@")
        seen: list[str] = []
        one, two = (NatsConnection([url], Access(None), name, SeenLog()) for name in ("a.os", "b.os"))
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

            async def heard() -> set[str]:
                return set(seen)

            await until(heard, lambda subjects: len(subjects) == 3, "not all is heard")
