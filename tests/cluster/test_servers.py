"""The servers of these tests are what they say: a cluster, which outlives one of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from nats.js.api import KeyValueConfig
from tests.e2e.waiting import until

from .servers import NOT_YET, Servers, connected, running


async def stored(servers: Servers, key: str, value: bytes) -> None:
    """Write and read in a bucket that has a copy in each server; what a server was asked that ended is asked again."""

    async def came_back() -> bytes | None:
        async with connected(*servers.urls) as client:
            stream = client.jetstream(timeout=1)
            with suppress(*NOT_YET):
                bucket = await stream.create_key_value(KeyValueConfig("tests", replicas=len(servers)))
                await bucket.put(key, value)
                return (await bucket.get(key)).value
        return None

    assert await until(came_back, lambda came: came is not None, f"{key} is not stored") == value


@pytest.mark.thorough
async def test_three_servers_are_one_cluster_that_outlives_one_of_them_killed_or_stopped(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as servers:
        await stored(servers, "all", b"1")
        await servers[0].kill()
        assert not servers[0].runs
        await stored(servers, "killed", b"2")
        await servers[0].start()
        await servers.ready()
        servers[1].stop()
        assert not await servers[1].jetstream_answers()

        async def others_answer() -> bool:
            return await servers[0].jetstream_answers() and await servers[2].jetstream_answers()

        await until(others_answer, bool, "two of three do not answer")
        servers[1].resume()
        await servers.ready()
        await stored(servers, "stopped", b"3")


async def test_one_server_alone_has_jetstream_and_the_configuration_it_is_given(tmp_path: Path) -> None:
    async with running(tmp_path, 1, more="max_payload: 2000") as servers:
        async with connected(servers[0].url) as client:
            assert client.max_payload == 2000
        await stored(servers, "one", b"1")
