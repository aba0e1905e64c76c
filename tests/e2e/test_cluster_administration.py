"""Packages on all nodes of a cluster, from the command line of one: real nodes, workers and components."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.local_peers import LocalNet, LocalPeers
from tests.patience import PATIENCE

from guesthouse.cluster.administration.administered_node import administration_of
from guesthouse.core.config import HttpSettings, Settings
from guesthouse.core.settings.cluster_settings import ClusterSettings
from guesthouse.node.node import Node

from .clients import ECHO_C
from .conftest import home_in
from .daemon import Ran, environment, run_command
from .packages import package
from .waiting import until

A, B, C = "a.os", "b.os", "c.os"
HEARING_CTRL_C = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from guesthouse.cli.main import main; "
    "main()"
)
"""Runs a command also where SIGINT is ignored, as in the background of a shell."""
PACKAGE = "echo-c:guesthouse.os"
ASKING = 'request-capabilities = [{ process = "kernel:distro:sys", params = "network" }]'


@dataclass
class Cluster:
    """Nodes of one cluster, in this OS process."""

    net: LocalNet = field(default_factory=LocalNet)
    nodes: dict[str, Node] = field(default_factory=dict)

    async def cli(self, node: str, *arguments: str | Path) -> Ran:
        """A command at one node."""
        command, *more = arguments
        home = self.nodes[node].home.path
        return await run_command(home, command, "--home", home, *more, seconds=PATIENCE)

    def runs(self, node: str) -> dict[str, str]:
        """The versions that a node runs, by package."""
        return {each.id: each.version for each in self.nodes[node].packages}


@pytest.fixture
async def cluster(tmp_path: Path, compiled: Path) -> AsyncIterator[Cluster]:
    """Three nodes; c.os takes packages from none."""
    cluster = Cluster()
    async with AsyncExitStack() as stack:
        for name, install_from in ((A, ()), (B, (A,)), (C, ())):
            settings = Settings(
                home=str(home_in(tmp_path / name, compiled)),
                node=name,
                workers=1,
                http=HttpSettings(port=0),
                cluster=ClusterSettings(install_from=install_from),
            )
            node = cluster.nodes[name] = await stack.enter_async_context(Node(settings, None))
            await node.complete()
            peers = LocalPeers(cluster.net, name)
            administration = administration_of(
                node, partial(getattr, node, "installer"), peers, lambda: list(cluster.nodes)
            )
            node.administration = await stack.enter_async_context(administration)
        yield cluster


def version(folder: Path, number: str, more: str = "") -> Path:
    """A version of a sample's package."""
    built = package("echo-c")
    shutil.copytree(built, folder)
    manifest = folder / "package.toml"
    text = manifest.read_text()
    lines = [f'version = "{number}"' if line.startswith("version") else line for line in text.splitlines()]
    text = "\n".join(lines) + "\n"
    manifest.write_text(text.replace('on-exit = "restart"', f'on-exit = "restart"\n{more}', 1))
    return folder


async def test_a_package_runs_where_it_was_installed_from_elsewhere_and_is_listed(
    cluster: Cluster, tmp_path: Path
) -> None:
    first = version(tmp_path / "first", "1.0")
    done = await cluster.cli(A, "install", first, "--on", A, "--on", B, "--json")
    assert [(item["node"], item["running_version"]) for item in done.json()] == [(A, "1.0"), (B, "1.0")]
    second = version(tmp_path / "second", "2.0")
    upgraded = await cluster.cli(A, "install", second, "--on", B)
    assert f"{B}: {PACKAGE} 2.0" in upgraded.stderr
    assert (cluster.runs(A), cluster.runs(B), cluster.runs(C)) == ({PACKAGE: "1.0"}, {PACKAGE: "2.0"}, {})
    packages = (await cluster.cli(C, "packages", "--cluster", "--json")).json()
    assert {(row["node"], row["package"], row["running_version"]) for row in packages} == {
        (A, PACKAGE, "1.0"),
        (B, PACKAGE, "2.0"),
    }
    assert len({row["hash"] for row in packages}) == 2
    processes = await cluster.cli(C, "ps", "--cluster")
    assert processes.code == 0, processes.stderr
    assert processes.stdout.startswith("NODE")
    assert processes.stdout.count(ECHO_C) == 2


@pytest.mark.thorough
async def test_what_one_node_would_have_to_consent_to_is_shown_before_any_is_changed(
    cluster: Cluster, tmp_path: Path
) -> None:
    asking = version(tmp_path / "asking", "1.0", ASKING)
    refused = await cluster.cli(A, "install", asking, "--on", A, "--on", B)
    assert refused.code == 1
    for node in (A, B):
        assert f'requests "network" of kernel:distro:sys (on {node})' in refused.stderr
    assert (cluster.runs(A), cluster.runs(B)) == ({}, {})
    granted = await cluster.cli(A, "install", asking, "--on", A, "--on", B, "--yes")
    assert granted.code == 0, granted.stderr
    assert (cluster.runs(A), cluster.runs(B)) == ({PACKAGE: "1.0"}, {PACKAGE: "1.0"})


@pytest.mark.thorough
async def test_who_interrupts_the_command_is_told_where_the_package_is(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, begun, go_on = version(tmp_path / "first", "1.0"), asyncio.Event(), asyncio.Event()
    installer = cluster.nodes[B].installer
    install = installer.install

    async def slowly(*arguments: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await install(*arguments)

    monkeypatch.setattr(installer, "install", slowly)
    home = cluster.nodes[A].home.path
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HEARING_CTRL_C, "install", "--home", home, first, "--on", A, "--on", B),
        stderr=asyncio.subprocess.PIPE,
        env=environment(home),
    )
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        said = b""
        while b"a.os: " not in said and command.stderr is not None:  # it has heard of that
            said += await command.stderr.readline()
        command.send_signal(signal.SIGINT)
        _, more = await command.communicate()
        said += more
    assert command.returncode == 1
    told = b"guesthouse: interrupted: it is installed on a.os, and the node that was installing it may still finish"
    assert told in said
    go_on.set()

    async def runs() -> dict[str, str]:
        return cluster.runs(B)

    await until(runs, lambda found: found == {PACKAGE: "1.0"}, "the node that was installing it has finished")


async def test_one_node_that_trusts_nobody_keeps_a_package_from_all(cluster: Cluster, tmp_path: Path) -> None:
    refused = await cluster.cli(A, "install", version(tmp_path / "first", "1.0"), "--everywhere")
    assert (refused.code, refused.stdout) == (1, "")
    assert "nothing was installed: c.os: c.os takes no packages from a.os" in refused.stderr
    assert "of guesthouse.toml there, and reload that node by SIGHUP" in refused.stderr
    assert [cluster.runs(node) for node in (A, B, C)] == [{}, {}, {}]
    unknown = await cluster.cli(A, "install", tmp_path / "first", "--on", "x.os")
    assert "the cluster has no node x.os" in unknown.stderr
    both = await cluster.cli(A, "install", tmp_path / "first", "--on", A, "--everywhere")
    assert both.code == 2
    assert "--everywhere means all nodes" in both.stderr
    assert cluster.runs(A) == {}


@pytest.mark.thorough
async def test_a_node_that_does_not_answer_is_named_beside_the_others(cluster: Cluster) -> None:
    cluster.net.part(A, C)
    listed = await cluster.cli(A, "ps", "--cluster")
    assert (listed.code, listed.stdout) == (4, "")
    assert "c.os cannot be reached" in listed.stderr


@pytest.mark.thorough
async def test_other_nodes_hear_that_a_node_is_drained(cluster: Cluster) -> None:
    for one, two in ((A, B), (A, C)):
        cluster.net.nodes[one].connect(two)
    drained = await cluster.cli(A, "drain", "--stay")
    assert drained.code == 0, drained.stderr

    def knows(node: str) -> Callable[[], Any]:
        administration = cluster.nodes[node].administration
        assert administration is not None

        async def draining() -> set[str]:
            return set(administration.draining_nodes)

        return draining

    for node in (B, C):
        await until(knows(node), lambda found: found == {A}, f"{node} knows")
    await cluster.cli(A, "drain", "--cancel")
    for node in (B, C):
        await until(knows(node), lambda found: not found, f"{node} knows")


async def test_a_node_without_a_cluster_says_so(tmp_path: Path, compiled: Path) -> None:
    settings = Settings(
        home=str(home_in(tmp_path / A, compiled)), node=A, workers=1, http=HttpSettings(port=0)
    )
    async with Node(settings, None) as node:
        for arguments in (("ps", "--cluster"), ("packages", "--cluster")):
            command, *more = arguments
            ran = await run_command(node.home.path, command, "--home", node.home.path, *more)
            assert (ran.code, "this node is in no cluster: found one" in ran.stderr) == (1, True)
