"""Nodes as `guesthouse run` starts them, which found a cluster, join it by tickets, leave it and are expelled."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.e2e.clients import register_message
from tests.e2e.daemon import Daemon
from tests.e2e.test_two_nodes import OPEN, A, the_puppets
from tests.e2e.waiting import until
from tests.patience import PATIENCE
from websockets.asyncio.client import connect

from guesthouse.core.settings.setting_values import parsed

from .harness.joining import members
from .nodes import answer, cluster, found, join, node_of, rows, says, sees, ticket
from .servers import Server, free_ports

ONE, TWO, THREE = "one.os", "two.os", "three.os"
NewHome = Callable[[], Path]


@pytest.fixture
def puppets(tmp_path: Path) -> Path:
    return the_puppets(tmp_path / "source")


@pytest.fixture
async def pair(nats: Server, new_home: NewHome, tmp_path: Path) -> AsyncIterator[tuple[Daemon, Daemon]]:
    """Two nodes without processes; the first holds the cluster's key. They have joined once for all tests."""
    known = await members((ONE, TWO), new_home, tmp_path / "founding")
    one_home, two_home = new_home(), new_home()
    for home, name in ((one_home, ONE), (two_home, TWO)):
        known.move_in(home, name, nats.url)
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(node_of(one_home))
        two = await stack.enter_async_context(node_of(two_home))
        await sees(one, TWO)
        await sees(two, ONE)
        yield one, two


async def test_processes_of_two_nodes_message_each_other_and_push_to_each_others_channels(
    nats: Server, new_home: NewHome, puppets: Path
) -> None:
    one_home, two_home = new_home(), new_home()
    await found(one_home, ONE, nats.url)
    async with node_of(one_home, puppets) as one:
        await join(two_home, TWO, await ticket(one_home))
        async with node_of(two_home, puppets) as two:
            await sees(one, TWO)
            await sees(two, ONE)
            assert await answer(one, A, f"ask {TWO}@{OPEN} 20 say hello") == "hello"
            assert await answer(two, A, f"ask {ONE}@{OPEN} 20 say hello") == "hello"
            async with connect(two.ws_url, proxy=None) as client:
                await client.send(register_message(await two.token(), OPEN))
                channel = json.loads(await client.recv())["channel_id"]
                right = f'{TWO}@{OPEN} {{"channel":{channel}}}'
                await answer(one, A, f'hand {TWO}@{OPEN} {ONE}@{A} "messaging" show')
                assert await answer(two, OPEN, f"hand {ONE}@{A} {right} save {right}") == "saved"
                assert await answer(one, A, f"push {TWO} {channel} hello") == "0"
                assert await asyncio.wait_for(client.recv(), PATIENCE) == "hello"
                listed = await rows(one)
                assert listed[ONE]["authority"]
                assert listed[ONE]["state"] == "here"
                assert listed[ONE]["processes"] == len(await one.ps())

                async def channels() -> object:
                    return (await rows(one))[TWO]["channels"]

                await until(channels, lambda count: count == 1, "the channel is not told of")
    assert "Traceback" not in one.stderr() + two.stderr()


async def test_a_node_that_runs_alone_founds_a_cluster_and_one_that_runs_joins(
    nats: Server, new_home: NewHome
) -> None:
    async with (
        Daemon(new_home(), [], node=ONE) as one,
        Daemon(new_home(), [], node=TWO) as two,
    ):
        alone = await cluster(two.home, "nodes")
        assert alone.code == 1
        assert "is in no cluster: found one" in alone.stderr
        refused = await cluster(one.home, "init", "--nats", nats.url, "--node", "other.os")
        assert "this node runs as one.os: stop it" in refused.stderr
        await found(one.home, ONE, nats.url)
        await join(two.home, TWO, await ticket(one.home))
        await sees(one, TWO)
        await sees(two, ONE)
        shown = (await cluster(two.home, "nodes")).stdout.splitlines()
        assert [line.split()[:2] for line in shown] == [["NODE", "STATE"], [ONE, "up"], [TWO, "here"]]
        twice = await cluster(two.home, "join", await ticket(one.home))
        assert "this node is in a cluster: run `guesthouse cluster leave` first" in twice.stderr


@pytest.mark.thorough
async def test_a_cluster_has_a_name_which_its_nodes_are_told_and_settings_are_checked_against(
    nats: Server, new_home: NewHome
) -> None:
    home, other = new_home(), new_home()
    made = await cluster(home, "init", "--nats", nats.url, "--node", ONE, "--name", "production")
    assert made.stderr.startswith("one.os founded the cluster production (")
    async with node_of(home) as one:
        text = await ticket(home)
        await says(one, "one.os is a node of the cluster production (")
        (other / "guesthouse.toml").write_text('[cluster]\nname = "staging"\n')
        refused = await cluster(other, "join", text, "--node", TWO)
        assert "the ticket is of the cluster production, and cluster.name is 'staging'" in refused.stderr
        (other / "guesthouse.toml").unlink()
        await join(other, TWO, text)
        assert {row["cluster_name"] for row in (await rows(one)).values()} == {"production"}
    listed = await cluster(other, "nodes")
    assert listed.stderr.startswith("cluster production (")
    daemon = node_of(other, settings={"cluster_name": "staging"})
    with pytest.raises(AssertionError):
        async with daemon:
            pass
    assert "cluster.name is 'staging', and this node is in the cluster production (" in daemon.stderr()
    unnamed = await cluster(new_home(), "init", "--nats", nats.url, "--name", "a\nb")
    assert "must be a name of at most 63 letters" in unnamed.stderr


@pytest.mark.thorough
async def test_a_node_on_a_copy_of_a_home_is_named_by_both(
    nats: Server, new_home: NewHome, tmp_path: Path
) -> None:
    home = new_home()
    await found(home, ONE, nats.url)
    async with node_of(home) as one:
        copied = tmp_path / "copy/home"
        passing = shutil.ignore_patterns("control.sock", "lock", "state.sqlite*")
        shutil.copytree(home, copied, symlinks=True, ignore=passing)
        assert "another node has the name" not in one.stderr(), "its own presences are no other's"
        async with node_of(copied) as copy:
            for node in (one, copy):
                line = await says(node, "another node has the name and the key of one.os")
                assert " error " in line
                assert "remove node.ed25519 and cluster.json" in line


async def test_a_ticket_lets_in_one_node_once(pair: tuple[Daemon, Daemon], new_home: NewHome) -> None:
    one, _ = pair
    text = await ticket(one.home)
    home = new_home()
    taken = await cluster(home, "join", text, "--node", TWO)
    assert "the name two.os is taken" in taken.stderr
    await join(home, THREE, text)
    again = await cluster(new_home(), "join", text, "--node", "four.os")
    assert (again.code, again.stdout) == (1, "")
    assert "the ticket was used by three.os" in again.stderr
    short = await ticket(one.home, "--expires", "1s")
    await asyncio.sleep(1.1)
    assert "the ticket has expired" in (await cluster(new_home(), "join", short, "--node", "four.os")).stderr
    assert "not a whole ticket" in (await cluster(new_home(), "join", text[:-9], "--node", "four.os")).stderr
    assert sorted(await rows(one)) == sorted((ONE, TWO, THREE))


async def test_an_expelled_node_is_shut_out_at_once_and_stays_out(
    pair: tuple[Daemon, Daemon], new_home: NewHome
) -> None:
    one, two = pair
    refused = await cluster(two.home, "expel", ONE)
    assert "the cluster key is in the home of one.os" in refused.stderr
    async with node_of(await joined(one, THREE, new_home())) as three:
        await sees(three, ONE, TWO)
        done = await cluster(one.home, "expel", TWO)
        assert done.stderr == "two.os is expelled\n"
        assert (await rows(one))[TWO]["state"] == "expelled"
        await sees(three, TWO, state="expelled")
        await says(two, "this node is in no cluster any more: it was expelled")
        assert {row["state"] for row in (await rows(two)).values()} & {"up"} == set()
        back = await ticket(one.home)
        assert (await two.terminate()) == 0
        (two.home / "cluster.json").unlink()
        assert "the node was expelled" in (await cluster(two.home, "join", back)).stderr
        await sees(three, ONE)


async def joined(one: Daemon, node: str, home: Path) -> Path:
    await join(home, node, await ticket(one.home))
    return home


@pytest.mark.thorough
async def test_a_node_leaves_and_the_others_are_told(pair: tuple[Daemon, Daemon]) -> None:
    one, two = pair
    held = await cluster(one.home, "leave")
    assert "this node holds the cluster key" in held.stderr
    left = await cluster(two.home, "leave")
    assert left.stderr == "two.os has left the cluster\n"
    await sees(one, TWO, state="left")
    assert not (two.home / "cluster.json").exists()
    await join(two.home, TWO, await ticket(one.home))
    await sees(one, TWO)
    assert (await cluster(two.home, "leave")).code == 0
    assert (await cluster(one.home, "leave")).stderr == "one.os has left the cluster\n"


@pytest.mark.thorough
async def test_the_key_is_replaced_and_all_follow_also_who_was_away(
    pair: tuple[Daemon, Daemon], new_home: NewHome
) -> None:
    one, two = pair
    away = new_home()
    await join(away, THREE, await ticket(one.home))
    before = await ticket(one.home)
    assert (await cluster(one.home, "rotate-key")).code == 0
    await says(two, "the cluster has another key from now on")
    async with node_of(away) as three:
        await sees(three, ONE, TWO)
        await says(three, "the cluster has another key from now on")
        await join(new_home(), "four.os", before)
        done = await cluster(one.home, "expel", THREE)
        assert done.code == 0
        await sees(two, THREE, state="expelled")
        await says(three, "it was expelled")


@pytest.mark.thorough
async def test_what_was_done_while_the_authority_was_down_is_told_later(
    pair: tuple[Daemon, Daemon],
) -> None:
    one, two = pair
    assert await one.terminate() == 0
    await sees(two, ONE, state="offline")
    offline = await cluster(one.home, "nodes")
    assert [line.split()[:2] for line in offline.stdout.splitlines()[1:]] == [
        [ONE, "unknown"],
        [TWO, "unknown"],
    ]
    done = await cluster(one.home, "expel", TWO)
    assert "the others are told when this node runs and reaches NATS" in done.stderr
    async with node_of(one.home):
        await says(two, "this node is in no cluster any more: it was expelled")


async def test_nodes_find_each_other_again_after_nats_was_away(
    pair: tuple[Daemon, Daemon], nats: Server
) -> None:
    one, two = pair
    await nats.kill()
    await says(one, "the connection to NATS ended")
    await sees(two, ONE, state="offline")
    assert (await one.get("/")).status_code < 500, "it serves its own clients"
    await nats.start()
    await sees(one, TWO)
    await sees(two, ONE)


@pytest.mark.thorough
async def test_a_node_starts_while_nats_is_away(nats: Server, new_home: NewHome) -> None:
    home = new_home()
    await found(home, ONE, nats.url)
    await nats.kill()
    began = time.monotonic()
    async with node_of(home) as one:
        assert time.monotonic() - began < PATIENCE
        await says(one, "no NATS server can be reached")
        assert (await rows(one))[ONE]["state"] == "here"
        lost = await cluster(new_home(), "join", await ticket(home), "--node", TWO)
        assert "no NATS server of the ticket can be reached" in lost.stderr
        await nats.start()
        await says(one, "connected to NATS at")


@pytest.mark.thorough
async def test_nats_that_lost_its_data_is_given_the_cards_again(
    pair: tuple[Daemon, Daemon], nats: Server, new_home: NewHome
) -> None:
    one, _ = pair
    await nats.kill()
    for file in sorted((nats.folder / "store").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    await nats.start()
    await sees(one, TWO)
    async with node_of(await joined(one, THREE, new_home())) as three:
        await sees(three, ONE, TWO)


@pytest.mark.thorough
async def test_a_node_with_another_name_than_in_its_cluster_does_not_start(
    nats: Server, new_home: NewHome
) -> None:
    home = new_home()
    await found(home, ONE, nats.url)
    daemon = Daemon(home, [], node=TWO)
    with pytest.raises(AssertionError):
        async with daemon:
            pass
    assert "this node is one.os in its cluster and runs as two.os" in daemon.stderr()


@pytest.mark.thorough
async def test_the_server_for_trying_is_one_that_a_cluster_can_have(
    tmp_path: Path, new_home: NewHome
) -> None:
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "guesthouse", "cluster", "dev", "--port", str(port)),
        *("--store", tmp_path / "store"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        home = new_home()
        await found(home, ONE, f"nats://127.0.0.1:{port}")
        async with node_of(home) as one:
            await says(one, "connected to NATS at")
    finally:
        process.terminate()
        await process.wait()
    assert (tmp_path / "store").is_dir()


def test_urls_are_read_from_the_environment() -> None:
    assert parsed(tuple[str, ...], "nats://a:1,tls://b:2", "GUESTHOUSE_CLUSTER_NATS") == (
        "nats://a:1",
        "tls://b:2",
    )
