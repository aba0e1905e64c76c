"""What metrics say of a cluster of two nodes that talk, and of one that is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from tests.e2e.clients import ECHO_C, registered
from tests.e2e.packages import package
from tests.e2e.test_monitoring import listener, metrics
from tests.e2e.waiting import until

from guesthouse.kernel.cluster.sealing import SEALED

from .nodes import sees
from .pairs import ONE, THREE, TWO, Pair, pair_of
from .servers import connected

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> AsyncIterator[Pair]:
    folder = tmp_path_factory.mktemp("monitored")
    monitored = {"monitoring_port": 0, "cluster_serve": "*"}
    async with pair_of(folder, compiled, [package("echo-c")], settings=monitored) as pair:
        yield pair


@pytest.mark.thorough
async def test_what_passes_between_two_nodes_is_measured_at_both(pair: Pair) -> None:
    at_one, at_two = await listener(pair.one), await listener(pair.two)

    async def one() -> dict[tuple[str, str], float]:
        return await metrics(at_one)

    before = await one()
    assert before["guesthouse_cluster_nats_connected", ""] == 1
    assert before["guesthouse_cluster_nats_connections_total", ""] == 1
    assert before["guesthouse_cluster_sessions_total", ""] >= 1
    states = {
        state: before["guesthouse_cluster_members", state] for state in ("here", "up", "offline", "left")
    }
    assert states == {"here": 1, "up": 1, "offline": 1, "left": 0}
    assert before["guesthouse_cluster_session_up", TWO] == 1
    assert before["guesthouse_cluster_session_up", THREE] == 0
    assert 0 <= before["guesthouse_cluster_heard_seconds_ago", TWO] < 60
    assert ("guesthouse_cluster_heard_seconds_ago", THREE) not in before
    assert 29 * 86400 < before["guesthouse_cluster_card_expires_seconds", ""] <= 30 * 86400
    assert before["guesthouse_cluster_outbox_bytes", ""] == 0
    await until(one, lambda now: now["guesthouse_cluster_processes", ""] == 1, "the process is announced")
    async with registered(pair.one, f"{TWO}@{ECHO_C}", await pair.one.token()) as client:
        assert await client.ask("x" * 50_000) == "x" * 50_000
        here, there = await one(), await metrics(at_two)
        for way in ("in", "out"):
            name = "guesthouse_cluster_bytes_total", way
            assert here[name] - before[name] > 50_000, way
            assert there["guesthouse_cluster_frames_total", way] > 0
        channels = {
            (node, role): found["guesthouse_cluster_gateway_channels", role]
            for node, found in ((ONE, here), (TWO, there))
            for role in ("gateway", "home")
        }
        assert channels == {(ONE, "gateway"): 1, (ONE, "home"): 0, (TWO, "gateway"): 0, (TWO, "home"): 1}
    await until(one, lambda now: now["guesthouse_cluster_gateway_channels", "gateway"] == 0, "it is closed")


async def test_what_strangers_send_is_counted_by_what_was_wrong_with_it(pair: Pair) -> None:
    url = await listener(pair.two)
    prefix = f"guesthouse.{pair.known.cluster}"
    seen: list[Msg] = []
    async with connected(pair.nats.url) as stranger:
        subscribed = await stranger.subscribe(f"{prefix}.node.>")
        while not seen:  # until a frame to node two is seen: anything else is none of it
            message = await subscribed.next_msg(timeout=60)
            if message.data[:1] == bytes([SEALED]):
                seen.append(message)
        for frame in (b"\x7f nonsense", bytes([SEALED]) + bytes(60), seen[0].data):
            await stranger.publish(seen[0].subject, frame)
        await stranger.publish(f"{prefix}.presence", b"{}")

    async def dropped() -> dict[str, float]:
        both = [await metrics(url), await metrics(await listener(pair.one))]
        reasons = ("handshake", "no-session", "repeated", "presence")
        return {
            reason: max(found["guesthouse_cluster_dropped_total", reason] for found in both)
            for reason in reasons
        }

    await until(dropped, lambda found: all(found.values()), "each is counted")


@pytest.mark.thorough
async def test_a_node_without_nats_says_so(pair: Pair) -> None:
    url = await listener(pair.one)

    async def now() -> dict[tuple[str, str], float]:
        return await metrics(url)

    await pair.nats.kill()
    await until(now, lambda now: not now["guesthouse_cluster_nats_connected", ""], "NATS is gone")
    await until(now, lambda now: now["guesthouse_cluster_members", "offline"] == 2, "the others are gone")
    await pair.nats.start()
    await sees(pair.one, TWO)
    again = await now()
    assert again["guesthouse_cluster_nats_connections_total", ""] == 2
    assert again["guesthouse_cluster_session_up", TWO] == 1
