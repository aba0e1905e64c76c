"""Packages are installed on the nodes of a cluster, one of which may be of the next version."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.clients import ECHO_C, registered
from tests.e2e.daemon import Daemon
from tests.e2e.packages import package
from tests.patience import PATIENCE

from .harness.joining import members
from .next_version import VERSION
from .nodes import node_of, rows, says, sees
from .pairs import NAMES, ONE, THREE, TWO
from .servers import Server

PACKAGE = "echo-c:guesthouse.os"
NewHome = Callable[[], Path]
TRUSTING = {"cluster_install_from": f"{ONE},{TWO}"}


@asynccontextmanager
async def three_nodes(nats: Server, new_home: NewHome, **third: Any) -> AsyncIterator[list[Daemon]]:
    """Three nodes that see each other, and take packages from the first two."""
    known = await members(NAMES, new_home, nats.folder.parent / "founding")
    async with AsyncExitStack() as stack:
        nodes = []
        for name, options in ((ONE, {}), (TWO, {}), (THREE, third)):
            home = new_home()
            known.move_in(home, name, nats.url)
            nodes.append(await stack.enter_async_context(node_of(home, settings=TRUSTING, **options)))
        for node, others in zip(nodes, ((TWO, THREE), (ONE, THREE), (ONE, TWO)), strict=True):
            await sees(node, *others)
        yield nodes


def version(folder: Path, number: str) -> Path:
    """A version of a sample's package."""
    shutil.copytree(package("echo-c"), folder)
    manifest = folder / "package.toml"
    lines = manifest.read_text().splitlines()
    lines = [f'version = "{number}"' if line.startswith("version") else line for line in lines]
    manifest.write_text("\n".join(lines))
    return folder


async def test_a_package_is_installed_and_upgraded_everywhere_while_clients_stay(
    nats: Server, new_home: NewHome, tmp_path: Path
) -> None:
    async with three_nodes(nats, new_home) as nodes, AsyncExitStack() as stack:
        one = nodes[0]
        done = await one.cli("install", version(tmp_path / "1", "1.0"), "--everywhere", "--json")
        assert [item["node"] for item in done.json()] == [ONE, THREE, TWO]
        clients = [
            await stack.enter_async_context(registered(node, ECHO_C, await node.token())) for node in nodes
        ]
        done = await nodes[1].cli("install", version(tmp_path / "2", "2.0"), "--everywhere", "--json")
        assert [item["running_version"] for item in done.json()] == ["2.0"] * 3
        for number, client in enumerate(clients):
            assert await client.ask(f"still here {number}") == f"still here {number}"
        listed = (await nodes[2].cli("packages", "--cluster", "--json")).json()
        assert {(row["node"], row["running_version"], row["previous_version"]) for row in listed} == {
            (name, "2.0", "1.0") for name in (ONE, TWO, THREE)
        }
        assert len({row["hash"] for row in listed}) == 1
        processes = (await nodes[2].cli("ps", "--cluster", "--json")).json()
        assert {row["node"]: row["channels"] for row in processes} == dict.fromkeys((ONE, TWO, THREE), 1)


@pytest.mark.thorough
async def test_a_node_that_is_killed_is_named_and_nothing_is_installed(
    nats: Server, new_home: NewHome, tmp_path: Path
) -> None:
    async with three_nodes(nats, new_home) as nodes:
        await nodes[2].kill()
        refused = await nodes[0].cli("install", version(tmp_path / "1", "1.0"), "--everywhere")
        assert refused.code == 1
        assert "nothing was installed" in refused.stderr
        assert THREE in refused.stderr
        assert (await nodes[0].ask("packages"), await nodes[1].ask("packages")) == ([], [])
        on_two = await nodes[0].cli("install", tmp_path / "1", "--on", TWO)
        assert on_two.code == 0, on_two.stderr


@pytest.mark.thorough
async def test_a_node_that_is_drained_is_shown_so_by_the_others(nats: Server, new_home: NewHome) -> None:
    async with three_nodes(nats, new_home) as nodes:
        drained = await nodes[1].cli("drain", "--stay")
        assert drained.code == 0, drained.stderr
        await sees(nodes[0], TWO, state="draining")
        ended = await nodes[1].cli("drain")
        assert ended.code == 0, ended.stderr
        assert await nodes[1].ended() == 0
        await sees(nodes[0], TWO, state="offline")


@pytest.mark.thorough
async def test_a_node_of_the_next_version_works_with_those_of_this(
    nats: Server, new_home: NewHome, tmp_path: Path
) -> None:
    module = Path(__file__).with_name("next_version.py")
    async with three_nodes(nats, new_home, module=module) as nodes:
        one, two, three = nodes
        assert (await rows(one))[THREE]["version"] == VERSION
        for node in (one, two):
            await says(node, "a message 'rebalance' of three.os was refused: it is not known to this version")
        done = await one.cli("install", version(tmp_path / "1", "1.0"), "--everywhere", "--json")
        assert [item["node"] for item in done.json()] == [ONE, THREE, TWO]
        for node in nodes:
            listed = (await node.cli("ps", "--cluster", "--json")).json()
            assert {row["node"] for row in listed} == {ONE, TWO, THREE}
            assert all("error" not in row for row in listed)
        untrusted = await three.cli("install", version(tmp_path / "2", "2.0"), "--on", ONE)
        assert "one.os takes no packages from three.os" in untrusted.stderr
        drained = await three.cli("drain", "--rate", "10")  # and the next one is upgraded
        assert drained.code == 0, drained.stderr
        assert await three.ended(PATIENCE) == 0
