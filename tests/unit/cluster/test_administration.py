"""Packages are installed on other nodes, and what these run is listed."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from tests.unit.cluster.administered import Cluster, until, write_package

from guesthouse.cluster.administration import administration
from guesthouse.core.errors import GuesthouseError

A, B, C, EVIL = "a.os", "b.os", "c.os", "evil.os"
PACKAGE = "app:test.os"


@pytest.mark.slow
async def test_a_package_is_installed_everywhere_under_one_hash(cluster: Cluster, tmp_path: Path) -> None:
    a, b, c = [await cluster.member(name, install_from=[A]) for name in (A, B, C)]
    items = await a.install(write_package(tmp_path / "source"))
    assert [item["node"] for item in items] == [A, B, C], "this one first"
    assert len({member.folders.installed[PACKAGE] for member in (a, b, c)}) == 1
    assert [item["sent_bytes"] > 700_000 for item in items] == [False, True, True]
    assert [member.litter() for member in (a, b, c)] == [[], [], []]


@pytest.mark.slow
async def test_only_files_that_are_missing_are_sent(cluster: Cluster, tmp_path: Path) -> None:
    a, b = await cluster.member(A), await cluster.member(B, install_from=[A])
    package = write_package(tmp_path / "source")
    await a.install(package, B)
    write_package(package, {"ui/index.html": b"<p>changed"}, version="1.1")
    (item,) = await a.install(package, B)
    assert item["sent_bytes"] == len(b"<p>changed") + (package / "package.toml").stat().st_size
    assert b.folders.installed[PACKAGE] == item["hash"]
    assert a.folders.installed == {}, "this node was not named"


async def test_an_archive_that_another_program_packed_keeps_its_hash(
    cluster: Cluster, tmp_path: Path
) -> None:
    a, b = await cluster.member(A), await cluster.member(B, install_from=[A])
    package, archive = write_package(tmp_path / "source"), tmp_path / "foreign.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(package.rglob("*"), reverse=True):
            if path.is_file():
                packed.write(path, path.relative_to(package).as_posix())
    (item,) = await a.install(archive, B)
    assert item["hash"] == hashlib.sha256(archive.read_bytes()).hexdigest() == b.folders.installed[PACKAGE]


@pytest.mark.slow
async def test_nothing_changes_before_all_have_seen_it_and_the_operator_consents(
    cluster: Cluster, tmp_path: Path
) -> None:
    a, b = await cluster.member(A), await cluster.member(B, install_from=[A])
    c = await cluster.member(C, install_from=[A], asks=("the network",))
    package = write_package(tmp_path / "source")
    (needed,) = await a.install(package, B, C)
    assert needed["nodes"] == [{"node": C, "asks_more": ["the network"], "asks_less": []}]
    assert "the network (on c.os)" in needed["needs_consent"]
    (again,) = await a.install(package, B, C, consent="0" * 64)
    assert "needs_consent" in again, "consent to another version is none"
    assert (b.folders.installed, c.folders.installed) == ({}, {})
    done = await a.install(package, B, C, consent=needed["hash"])
    assert [(item["node"], item["sent_bytes"]) for item in done] == [(B, 0), (C, 0)], "they held it"
    assert c.folders.consents == [needed["hash"]]


async def test_a_node_trusts_nobody_by_default_and_then_nothing_is_installed_anywhere(
    cluster: Cluster, tmp_path: Path
) -> None:
    a, b = await cluster.member(A), await cluster.member(B, install_from=[A])
    c = await cluster.member(C)
    with pytest.raises(
        GuesthouseError, match=r"nothing was installed: c\.os: c\.os takes no packages from a\.os"
    ):
        await a.install(write_package(tmp_path / "source"))
    assert (a.folders.installed, b.folders.installed, c.folders.installed) == ({}, {}, {})
    assert c.log.saw(f"{A} would install {PACKAGE} here")
    assert c.litter() == []


@pytest.mark.slow
async def test_a_node_that_fails_is_named_with_those_before_and_after(
    cluster: Cluster, tmp_path: Path
) -> None:
    a, b = await cluster.member(A), await cluster.member(B, install_from=[A])
    await cluster.member(C, install_from=[A], broken="it traps")
    d = await cluster.member("d.os", install_from=[A])
    with pytest.raises(GuesthouseError, match=r"c\.os: it traps; installed on b\.os; not tried on d\.os"):
        await a.install(write_package(tmp_path / "source"), B, C, "d.os")
    assert PACKAGE in b.folders.installed
    assert d.folders.installed == {}


async def test_a_node_that_is_away_or_unknown_is_named(cluster: Cluster, tmp_path: Path) -> None:
    a = await cluster.member(A)
    await cluster.member(B, install_from=[A])
    cluster.net.part(A, B)
    package = write_package(tmp_path / "source")
    with pytest.raises(GuesthouseError, match=r"b\.os cannot be reached"):
        await a.install(package, B)
    with pytest.raises(GuesthouseError, match=r"no node x\.os"):
        await a.install(package, "x.os")


@pytest.mark.slow
async def test_all_nodes_list_what_they_run_and_who_does_not_answer_or_lies_says_so(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administration, "LIST_SECONDS", 0.3)
    a, b = await cluster.member(A), await cluster.member(B)
    row = {"process": "app:app:test.os", "state": "running", "channels": 3, "from_the_future": [1]}
    a.rows["ps"] = b.rows["ps"] = [row]
    evil = cluster.impostor(EVIL)
    cluster.impostor("away.os")
    for rows in (
        b"[{}]",
        b"[",
        b'[{"process": 7}]',
        b'[{"process": "x", "last_end": {"time": 1e300}}]',
        b'[{"process": "x", "memory_bytes": -1}]',
        b"[" * 100_000,
    ):
        evil.answer = lambda _, rows=rows: {"kind": "rows", "rows": rows, "left_out": 0}  # type: ignore[misc]
        listed = await a.listed("ps")
        good = {each["node"]: each for each in listed if "error" not in each}
        assert set(good) == {A, B}
        assert good[B]["channels"] == 3
        assert "from_the_future" not in good[B]
        errors = {each["node"]: each["error"] for each in listed if "error" in each}
        assert "cannot be read" in errors[EVIL]
        assert "did not answer within 0.3 s" in errors["away.os"]


async def test_rows_beyond_what_a_message_holds_are_counted(cluster: Cluster) -> None:
    a, b = await cluster.member(A), await cluster.member(B)
    b.rows["packages"] = [{"package": f"p{number}:test.os", "version": "x" * 4000} for number in range(1000)]
    listed = await a.listed("packages")
    left_out = 1000 - (len(listed) - 1)
    assert 0 < left_out < 1000
    assert f"has {left_out} more" in listed[-1]["error"]


async def test_other_nodes_hear_who_is_drained_also_those_that_come_later(cluster: Cluster) -> None:
    a, b = await cluster.member(A), await cluster.member(B)
    heard_of: list[tuple[str, bool]] = []
    b.administration.on_draining = lambda node, draining: heard_of.append((node, draining))
    cluster.net.nodes[A].connect(B)
    a.administration.announce_drain(draining=True)
    await until(lambda: b.administration.draining_nodes == {A})
    c = await cluster.member(C)
    cluster.net.nodes[C].connect(A)
    await until(lambda: c.administration.draining_nodes == {A})
    a.administration.announce_drain(draining=False)
    await until(lambda: not b.administration.draining_nodes and not c.administration.draining_nodes)
    assert heard_of == [(A, True), (A, False)]
    a.administration.announce_drain(draining=True)
    await until(lambda: b.administration.draining_nodes == {A})
    cluster.net.part(A, B)
    await until(lambda: not b.administration.draining_nodes)
