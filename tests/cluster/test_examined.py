"""What `guesthouse doctor` finds in a cluster, and what each fault looks like to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from guesthouse.cluster.nats_client import Access
from guesthouse.cluster.nats_examination import examine_server
from guesthouse.core.config import Settings
from guesthouse.core.settings.cluster_settings import ClusterSettings
from guesthouse.node.doctor import cluster_checks
from guesthouse.node.doctor.finding import FAIL, OK, WARN, Finding

from .nodes import rows
from .pairs import ONE, TWO, Pair, pair_of
from .servers import free_ports, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
NO_ACCESS = Access(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> AsyncIterator[Pair]:
    async with pair_of(tmp_path_factory.mktemp("examined"), compiled) as pair:
        yield pair


def settings_of(pair: Pair, **more: object) -> Settings:
    cluster = ClusterSettings(nats=(pair.nats.url,), **more)  # type: ignore[arg-type]
    return Settings(home=str(pair.two.home), node=TWO, cluster=cluster)


def statuses(found: list[Finding]) -> list[tuple[str, str]]:
    return [(each.check, each.status) for each in found]


@pytest.mark.thorough
async def test_a_cluster_that_works_is_found_well(pair: Pair) -> None:
    ran = await pair.two.cli("doctor", "--json")
    found = {item["check"]: item for item in ran.json()}
    for check in ("cluster", "authority", "NATS", "JetStream"):
        assert found[check]["status"] == "ok", found[check]
    assert "the card of two.os is valid until" in found["cluster"]["text"]
    assert found["authority"]["text"] == "one.os holds the cluster key, and can be reached"
    assert f"nats://127.0.0.1:{pair.nats.port} answers: NATS" in found["NATS"]["text"]
    assert found["JetStream"]["text"] == "the cards are on 1 of 1 NATS servers"
    assert not found.keys() & {"clocks of NATS", "NATS messages", "NATS credentials"}


async def test_a_server_that_is_away_is_named_and_all_away_is_a_failure(pair: Pair) -> None:
    (nowhere,) = free_ports(1)
    away = f"nats://user:secret@127.0.0.1:{nowhere}"
    known = settings_of(pair)
    one = replace(known, cluster=replace(known.cluster, nats=(away, pair.nats.url)))
    found = await asyncio.to_thread(lambda: list(cluster_checks.nats(one, pair.two.home)))
    assert statuses(found) == [("NATS", WARN), ("NATS", OK), ("JetStream", OK)]
    assert found[0].text.startswith(f"nats://127.0.0.1:{nowhere}: ")
    none = replace(known, cluster=replace(known.cluster, nats=(away,)))
    found = await asyncio.to_thread(lambda: list(cluster_checks.nats(none, pair.two.home)))
    assert statuses(found) == [("NATS", FAIL)]
    assert "secret" not in str(found)


async def test_faults_of_servers_are_told_apart(pair: Pair, tmp_path: Path) -> None:
    async with running(tmp_path / "small", 1, more="max_payload: 8192") as servers:
        small = replace(settings_of(pair), cluster=ClusterSettings(nats=tuple(servers.urls)))
        found = await asyncio.to_thread(lambda: list(cluster_checks.nats(small, pair.two.home)))
        assert statuses(found) == [("NATS", OK), ("NATS messages", FAIL), ("JetStream", WARN)]
        assert "there is no bucket for the cluster" in found[2].text
    one = "A { jetstream: enabled, users: [{user: a, password: b}] }"
    accounts = f"accounts {{ {one}, B {{ users: [{{user: c, password: d}}] }} }}"
    async with running(tmp_path / "closed", 1, more=f"{accounts}\nno_auth_user: a") as servers:
        refused = await examine_server(servers[0].url, Access(None, user="x", password="y"), None)
        assert refused.error is not None
        assert "authorization" in refused.error.lower()
        without = await examine_server(servers[0].url, Access(None, user="c", password="d"), None)
        assert without.error is None
        assert without.jetstream_error is not None
        assert "not enabled for account" in without.jetstream_error
        taken = await examine_server(servers[0].url, Access(None, user="a", password="b"), None)
        assert taken.error is taken.jetstream_error is None


async def test_who_may_read_the_credentials_is_looked_at(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "nats.creds"
    file.touch(mode=0o600)
    file.write_text("user:password")
    settings = settings_of(pair, credentials=str(file), tls_key=str(tmp_path / "none.pem"))
    assert statuses(list(cluster_checks.files(settings))) == [
        ("NATS credentials", OK),
        ("NATS credentials", FAIL),
    ]
    file.chmod(0o640)
    found = next(iter(cluster_checks.files(settings)))
    assert (found.status, found.remedy) == (WARN, f"chmod go-rwx {file}")


async def test_cards_and_names_that_do_not_fit_are_found(pair: Pair, tmp_path: Path) -> None:
    renamed = replace(settings_of(pair), node="other.os")
    (found,) = cluster_checks.card(renamed, pair.two.home)
    assert (found.status, found.remedy) == (FAIL, 'set node = "two.os"')
    (none,) = cluster_checks.card(settings_of(pair), tmp_path)
    assert none.text == "cluster.nats is set, and the node is in no cluster"
    (tmp_path / "cluster.json").write_text("{")
    (damaged,) = cluster_checks.card(settings_of(pair), tmp_path)
    assert damaged.status == FAIL
    assert "is damaged" in damaged.text
    alone = replace(settings_of(pair), cluster=ClusterSettings())
    assert [each.status for each in cluster_checks.card(alone, pair.two.home)] == [WARN, OK]


@pytest.mark.parametrize(("days", "status"), [(20, WARN), (40, FAIL)])
async def test_a_card_that_is_not_renewed_is_found(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, days: int, status: str
) -> None:
    later = time.time() + days * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    (found,) = cluster_checks.card(settings_of(pair), pair.two.home)
    assert found.status == status


@pytest.mark.thorough
async def test_an_authority_that_is_away_is_found(pair: Pair) -> None:
    listed = list((await rows(pair.two)).values())
    (found,) = cluster_checks.authority(listed)
    assert found.status == OK
    for row in listed:
        if row["node"] == ONE:
            row["state"] = "offline"
    (found,) = cluster_checks.authority(listed)
    assert (found.status, "it is offline" in found.text) == (WARN, True)
    assert not list(cluster_checks.authority([]))
