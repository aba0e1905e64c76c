"""Members that lie to the administration of others, flood it, or speak another version of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec.json
import msgspec.msgpack
import pytest
from tests.unit.cluster.administered import LIMITS, Cluster, until, write_package

from guesthouse.cluster.administration import administration, incoming, node_calls
from guesthouse.cluster.administration.administration_messages import MAX_MESSAGE
from guesthouse.core.errors import GuesthouseError
from guesthouse.package.format.archive import remove_unpacked
from guesthouse.package.store.stage import stage

A, B, EVIL = "a.os", "b.os", "evil.os"
PACKAGE = "app:test.os"


def offer_of(package: Path, scratch: Path, **changed: Any) -> dict[str, Any]:
    """The offer of a package, and what is false about it."""
    unpacked = stage(str(package), LIMITS, scratch / "evil").source
    files = [
        {
            "path": path.relative_to(unpacked).as_posix(),
            "hash": hashlib.sha256(path.read_bytes()).hexdigest(),
            "size": path.stat().st_size,
        }
        for path in sorted(unpacked.rglob("*"))
        if path.is_file()
    ]
    offer = {"package": PACKAGE, "hash": unpacked.name, "archive_bytes": 1000, "files": files}
    return {"kind": "offer", **offer, **changed}


def serving(
    offer: dict[str, Any], folder: Path, spoil: Callable[[bytes], bytes] = lambda data: data
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answers fetches from the files of an offer, each part spoilt."""

    def answer(message: dict[str, Any]) -> dict[str, Any]:
        number = message["file"]
        path = folder / ("evil.zip" if number < 0 else offer["files"][number]["path"])
        data = path.read_bytes()[message["offset"] :][: message["length"]]
        return {"kind": "piece", "data": spoil(data)}

    return answer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda data: b"X" + data[1:], "of the hash"),
        (lambda data: data + b"more", "cannot be read"),
        (lambda data: data[:-1], "bytes of app:test.os and sent"),
        (lambda _: b"", "bytes of app:test.os and sent 0"),
        (lambda data: data[:100] * 3, "bytes of app:test.os and sent 300"),
        (lambda data: data * 40, "cannot be read"),
    ],
    ids=["other", "more", "less", "nothing", "of another length", "too large for a message"],
)
async def test_who_sends_something_else_than_offered_is_refused_and_nothing_is_left(
    cluster: Cluster, tmp_path: Path, spoil: Callable[[bytes], bytes], why: str
) -> None:
    b = await cluster.member(B, install_from=[EVIL])
    evil, package = cluster.impostor(EVIL), write_package(tmp_path / "source")
    offer = offer_of(package, tmp_path)
    evil.answer = serving(offer, package, spoil)
    answer = await evil.ask(B, offer)
    assert answer["kind"] == "refused"
    assert why in answer["error"]
    assert (b.litter(), b.folders.installed) == ([], {})
    refused = await evil.ask(B, {"kind": "install", "hash": offer["hash"], "consent": True})
    assert "does not hold" in refused["error"]


async def test_a_hash_of_another_package_is_a_lie(cluster: Cluster, tmp_path: Path) -> None:
    """The files are as they are said to be; the archive that they make is not, and nor is the one that is sent."""
    b = await cluster.member(B, install_from=[EVIL])
    evil, package = cluster.impostor(EVIL), write_package(tmp_path / "source")
    (package / "evil.zip").write_bytes(b"PK" + os.urandom(998))
    offer = offer_of(package, tmp_path, hash="f" * 64)
    evil.answer = serving(offer, package)
    assert "its archive of the hash ffffffffffff" in (await evil.ask(B, offer))["error"]
    named = {**offer_of(package, tmp_path), "package": "other:test.os"}
    evil.answer = serving(named, package)
    assert "which is not what it sent" in (await evil.ask(B, named))["error"]
    assert (b.litter(), b.folders.installed) == ([], {})
    assert b.log.saw("evil.os offered")


async def test_an_untrusted_member_can_neither_offer_nor_install(cluster: Cluster, tmp_path: Path) -> None:
    """Not even what a trusted one has offered and the node holds."""
    b = await cluster.member(B, install_from=[A])
    trusted, evil = cluster.impostor(A), cluster.impostor(EVIL)
    package = write_package(tmp_path / "source")
    offer = offer_of(package, tmp_path)
    trusted.answer = serving(offer, package)
    assert (await trusted.ask(B, offer))["kind"] == "previewed"
    install = {"kind": "install", "hash": offer["hash"], "consent": True}
    for message in (offer, install):
        assert "takes no packages from evil.os" in (await evil.ask(B, message))["error"]
    assert (evil.asked, b.folders.installed) == ([], {})
    assert (await trusted.ask(B, install))["kind"] == "installed"


PATHS = [
    "../../../escaped",
    "/etc/escaped",
    "a/../../escaped",
    "C:\\escaped",
    ".hidden",
    "a/.hidden/b",
    "",
    "a//b",
    "a\0b",
    "a/" * 300 + "b",
    "package.toml/b",
    "PACKAGE.TOML",
    "folder/",
    "line\nbreak",
]


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
async def test_paths_lead_nowhere_else(cluster: Cluster, tmp_path: Path, path: str) -> None:
    b = await cluster.member(B, install_from=[EVIL])
    evil = cluster.impostor(EVIL)
    offer = offer_of(write_package(tmp_path / "source"), tmp_path)
    offer["files"].append({"path": path, "hash": hashlib.sha256(b"x").hexdigest(), "size": 1})
    assert (await evil.ask(B, offer))["kind"] == "refused"
    assert evil.asked == [], "before anything is fetched"
    assert b.litter() == []


IMPOSSIBLE: list[dict[str, Any]] = [
    {"archive_bytes": 2**52},
    {"archive_bytes": -1},
    {"files": [{"path": "big", "hash": "0" * 64, "size": 2**52}]},
    {"files": [{"path": f"f{number}", "hash": "0" * 64, "size": 0} for number in range(101)]},
    {"files": [{"path": "f", "hash": "0" * 64, "size": 0}] * 2},
    {"files": [{"path": "f", "hash": "../" * 21 + "f", "size": 0}]},
    {"files": None},
    {"hash": "../../x"},
    {"hash": "A" * 64},
    {"hash": "0" * 64 + "\n"},
    {"package": 7},
]


@pytest.mark.slow
@pytest.mark.parametrize("changed", IMPOSSIBLE, ids=range(len(IMPOSSIBLE)))
async def test_an_offer_that_cannot_be_is_refused_before_anything_is_fetched(
    cluster: Cluster, tmp_path: Path, changed: dict[str, Any]
) -> None:
    b = await cluster.member(B, install_from=[EVIL])
    evil = cluster.impostor(EVIL)
    answer = await evil.ask(B, {**offer_of(write_package(tmp_path / "source"), tmp_path), **changed})
    assert answer["kind"] == "refused"
    assert (evil.asked, b.litter()) == ([], [])


async def test_what_a_session_left_unfinished_is_removed_when_it_ends(
    cluster: Cluster, tmp_path: Path
) -> None:
    b = await cluster.member(B, install_from=[EVIL])
    evil = cluster.impostor(EVIL)
    evil.send(B, {"id": 7, **offer_of(write_package(tmp_path / "source"), tmp_path)})
    await until(lambda: evil.asked)
    assert len(b.litter()) == 1
    cluster.net.part(EVIL, B)
    await until(lambda: not b.litter())


async def test_what_is_dropped_is_removed_in_a_thread(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have thousands of files, and clients wait meanwhile."""
    threads: list[int] = []

    def removing(folder: Path) -> None:
        threads.append(threading.get_ident())
        remove_unpacked(folder)

    monkeypatch.setattr(incoming, "remove_unpacked", removing)
    b = await cluster.member(B, install_from=[EVIL])
    evil = cluster.impostor(EVIL)
    package = write_package(tmp_path / "source")
    offer = offer_of(package, tmp_path)
    evil.answer = serving(offer, package)
    assert (await evil.ask(B, offer))["kind"] == "previewed"
    cluster.net.part(EVIL, B)
    await until(lambda: not b.litter())
    assert threads
    assert threading.get_ident() not in threads


async def test_nodes_are_trusted_as_the_settings_are_now(cluster: Cluster, tmp_path: Path) -> None:
    trusted: list[str] = []
    b = await cluster.member(B, install_from=trusted)
    other = cluster.impostor(A)
    package = write_package(tmp_path / "source")
    offer = offer_of(package, tmp_path)
    other.answer = serving(offer, package)
    assert "takes no packages from a.os" in (await other.ask(B, offer))["error"]
    trusted.append(A)
    assert (await other.ask(B, offer))["kind"] == "previewed"
    trusted.remove(A)
    install = {"kind": "install", "hash": offer["hash"], "consent": True}
    assert "takes no packages from a.os" in (await other.ask(B, install))["error"]
    assert b.folders.installed == {}


async def test_who_stops_in_the_middle_is_waited_for_only_so_long(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(administration, "FETCH_SECONDS", 0.2)
    b = await cluster.member(B, install_from=[EVIL])
    evil = cluster.impostor(EVIL)
    answer = await evil.ask(B, offer_of(write_package(tmp_path / "source"), tmp_path))
    assert "evil.os did not answer within 0.2 s" in answer["error"]
    assert (b.litter(), b.folders.installed) == ([], {})


@pytest.mark.slow
async def test_a_node_holds_a_few_packages_and_not_for_ever(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    b = await cluster.member(B, install_from=[EVIL])
    monkeypatch.setattr(b.administration._incoming, "_clock", lambda: now)
    evil = cluster.impostor(EVIL)
    for number in range(incoming.MOST_HELD + 1):
        package = write_package(tmp_path / f"source{number}", version=f"1.{number}")
        offer = offer_of(package, tmp_path)
        evil.answer = serving(offer, package)
        answer = await evil.ask(B, offer)
        assert answer["kind"] == ("previewed" if number < incoming.MOST_HELD else "refused"), answer
    now += incoming.HELD_SECONDS + 1
    assert (await evil.ask(B, offer))["kind"] == "previewed"
    assert len(b.litter()) == 1


async def test_what_was_not_offered_cannot_be_fetched(cluster: Cluster, tmp_path: Path) -> None:
    a = await cluster.member(A)
    evil, other = cluster.impostor(EVIL), cluster.impostor("other.os")
    fetch: dict[str, Any] = {"kind": "fetch", "hash": "0" * 64, "file": 0, "offset": 0, "length": 5}
    assert "does not offer" in (await evil.ask(A, fetch))["error"]
    installing = asyncio.create_task(a.install(write_package(tmp_path / "source"), EVIL))
    await until(lambda: evil.asked)
    offer = evil.asked[0]
    known = {**fetch, "hash": offer["hash"]}
    assert len((await evil.ask(A, known))["data"]) == 5
    assert "does not offer" in (await other.ask(A, known))["error"]
    for changed in ({"file": 99}, {"offset": 2**50}, {"offset": offer["files"][0]["size"]}):
        assert (await evil.ask(A, {**known, **changed}))["kind"] == "refused"
    for changed in ({"file": -2}, {"length": 2**40}, {"length": 0}, {"offset": -1}):
        assert "cannot be read" in (await evil.ask(A, {**known, **changed}))["error"]
    evil.send(A, {"kind": "refused", "id": offer["id"], "reply": True, "error": "no\x1b[31m"})
    with pytest.raises(GuesthouseError, match=r"evil\.os: no\\x1b\[31m"):
        await installing
    assert "does not offer" in (await evil.ask(A, known))["error"]
    assert a.litter() == []


async def test_an_answer_of_a_node_that_was_not_asked_is_none(cluster: Cluster, tmp_path: Path) -> None:
    a = await cluster.member(A)
    asked, evil = cluster.impostor(B), cluster.impostor(EVIL)
    listing = asyncio.create_task(a.listed("ps"))
    await until(lambda: asked.asked and evil.asked)
    forged = {"kind": "rows", "id": asked.asked[0]["id"], "reply": True, "rows": b'[{"process": "forged"}]'}
    evil.send(A, forged)
    evil.send(A, {"kind": "rows", "id": evil.asked[0]["id"], "reply": True, "rows": b"[]"})
    asked.send(A, {**forged, "rows": b'[{"process": "true"}]'})
    asked.send(A, {**forged, "rows": b'[{"process": "second"}]'})
    assert [(row["node"], row["process"]) for row in await listing] == [(B, "true")]


UNREADABLE = [
    b"",
    b"\xc1",
    b"\x80",
    b"\x93\x01\x02\x03",
    b"\x81" * 100_000,
    b"\xdf\xff\xff\xff\xff",
    b"\x81\xa4kind\xc7\xff\xff\xff",
    b"x" * (MAX_MESSAGE + 1),
    msgspec.msgpack.encode({"kind": "list", "id": 2**60}),
    msgspec.msgpack.encode({"kind": "x" * 65}),
    msgspec.msgpack.encode({"kind": 7}),
    msgspec.msgpack.encode({"kind": "piece", "id": 5, "reply": True, "data": b""}),
    msgspec.msgpack.encode({"kind": "draining", "id": 0, "draining": "yes"}),
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_what_cannot_be_read_costs_nothing_else(cluster: Cluster, body: bytes) -> None:
    b = await cluster.member(B)
    b.rows["ps"] = [{"process": "a:b:c.os"}]
    evil = cluster.impostor(EVIL)
    evil.send(B, body)
    answer = await evil.ask(B, {"kind": "list", "what": "ps"})
    assert [row["process"] for row in msgspec.json.decode(answer["rows"])] == ["a:b:c.os"]


async def test_a_flood_of_requests_is_refused_beyond_a_limit(cluster: Cluster, tmp_path: Path) -> None:
    b = await cluster.member(B, install_from=[EVIL])
    evil = cluster.impostor(EVIL)
    offer = offer_of(write_package(tmp_path / "source"), tmp_path)
    for number in range(node_calls.MOST_FROM_NODE + 10):
        evil.send(B, {**offer, "id": number + 1})
    answers = [await evil.hear() for _ in range(node_calls.MOST_FROM_NODE + 9)]
    busy = [each for each in answers if "as many requests as it may" in each["error"]]
    assert len(busy) == 10
    assert len(b.litter()) <= 1, "one of them is fetched"


async def test_a_node_of_the_next_version_is_understood_as_far_as_it_can_be(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Fields that it has more are ignored; messages that it has more are refused by name, and cost nothing else."""
    b = await cluster.member(B, install_from=["next.os"])
    newer, package = cluster.impostor("next.os"), write_package(tmp_path / "source")
    offer = offer_of(package, tmp_path)
    for file in offer["files"]:
        file["mode"] = 0o644
    serve = serving(offer, package)
    newer.answer = lambda message: {**serve(message), "compressed": False, "trace": {"id": [1, 2]}}
    future = {"priority": 1, "signature": b"x" * 64, "nested": {"a": [{"b": None}]}}
    assert (await newer.ask(B, {**offer, **future}))["kind"] == "previewed"
    refused = await newer.ask(B, {"kind": "migrate", "process": "a:b:c.os"})
    assert "the message 'migrate' is not known to this version" in refused["error"]
    newer.send(B, {"kind": "heartbeat", "id": 0, "reply": False})
    newer.send(B, {"kind": "migrated", "id": 3, "reply": True})
    installed = await newer.ask(B, {"kind": "install", "hash": offer["hash"], "consent": False, **future})
    assert (installed["kind"], b.folders.installed) == ("installed", {PACKAGE: offer["hash"]})


async def test_an_answer_of_the_next_version_that_is_not_known_is_an_error_by_its_name(
    cluster: Cluster,
) -> None:
    a = await cluster.member(A)
    newer = cluster.impostor("next.os")
    newer.answer = lambda _: {"kind": "rows-2", "columns": []}
    (row,) = [each for each in await a.listed("ps") if each["node"] == "next.os"]
    assert "the answer 'rows-2' of next.os is not known to this version" in row["error"]
    newer.answer = lambda _: {"kind": "piece", "data": b""}
    (row,) = [each for each in await a.listed("ps") if each["node"] == "next.os"]
    assert "belongs to another request" in row["error"]
