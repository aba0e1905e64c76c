"""What applications of the Kinode OS ask of the node, in the JSON of their library, on a real node."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.patience import tried_again, within

from .conftest import StartNode
from .daemon import Daemon
from .kinode_guests import ERAS, Era, build_asker
from .test_capabilities import explained, held_from
from .test_processes import ask

OLD, NEW = ERAS[0], ERAS[-1]
BOTH = pytest.mark.parametrize("era", [OLD, NEW], ids=[OLD.name, NEW.name])


@pytest.fixture(scope="session")
def asker_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Era], Path]:
    """Builds the asking application of an era, once."""
    built: dict[Era, Path] = {}

    def asker_of(era: Era) -> Path:
        if era not in built:
            built[era] = build_asker(era, tmp_path_factory.mktemp(f"asker-{era.name}"))
        return built[era]

    return asker_of


def asker(era: Era) -> str:
    return f"asker:{era.name}:test.os"


async def asked(node: Daemon, era: Era, module: str, body: Any) -> Any:
    """What a module answers to a request of the application; what failed is a text."""
    text = await ask(node, asker(era), f"ask {module} {json.dumps(body)}")
    return text if text.startswith("failed") else json.loads(text)


@BOTH
async def test_what_the_library_asks_is_answered_in_its_json(
    start: StartNode, asker_of: Callable[[Era], Path], era: Era
) -> None:
    node = await start(asker_of(era))
    package = f"{era.name}:test.os"
    http = era.http_server
    for body in (
        {"Bind": {"path": "/a", "authenticated": True, "local_only": False, "cache": False}},
        {"WebSocketBind": {"path": "/w", "authenticated": True, "extension": False}},
        {"Unbind": {"path": "/a"}},
        {"WebSocketUnbind": {"path": "/w"}},
    ):
        assert await asked(node, era, http, body) in ({"Ok": None}, {"Ok": []}), body
    assert await asked(node, era, http, {"WebSocketClose": 7}) == {"Ok": None}
    kv = "kv:distro:sys"
    named = {"package_id": package, "db": "scores"}
    key = list(b"anna")
    assert await asked(node, era, kv, {**named, "action": "Open"}) == "Ok"
    assert await asked(node, era, kv, {**named, "action": {"Set": {"key": key, "tx_id": None}}}) == "Ok"
    assert await asked(node, era, kv, {**named, "action": {"Get": {"key": key}}}) == {"Get": {"key": key}}
    assert await asked(node, era, kv, {**named, "action": {"Get": key}}) == {"Get": key}
    assert "Err" in await asked(node, era, kv, {**named, "action": "BeginTx"})
    vfs = "vfs:sys:nectar" if era is OLD else "vfs:distro:sys"
    file = f"/{package}/saves/one.json"
    for path, action, answer in (
        (f"/{package}/saves", "CreateDrive", "Ok"),
        (file, {"OpenFile": {"create": True}}, "Ok"),
        (file, "Write", "Ok"),
        (file, "Read", "Read"),
        (file, "Metadata", {"Metadata": {"len": 4, "file_type": "File"}}),
        (f"/{package}/saves", "ReadDir", {"ReadDir": [{"path": file[1:], "file_type": "File"}]}),
    ):
        assert await asked(node, era, vfs, {"path": path, "action": action}) == answer, action
    assert await ask(node, asker(era), 'ask timer:distro:sys {"SetTimer":5}') == ""


@tried_again
async def test_what_this_node_does_not_have_fails_at_once(
    start: StartNode, asker_of: Callable[[Era], Path]
) -> None:
    node = await start(asker_of(NEW))
    for process, body in (
        ("homepage:homepage:sys", {"Add": {"label": "Game", "icon": None, "path": "/", "widget": None}}),
        ("sqlite:distro:sys", {"package_id": "p:test.os", "db": "d", "action": "Open"}),
        ("eth:distro:sys", "GetProviders"),
        ("net:distro:sys", "GetPeers"),
        ("http-client:distro:sys", {"Http": {"method": "GET", "url": "http://h/"}}),
    ):
        with within(4.5):  # it waits 5 s for its answer, and none is to come
            assert await asked(node, NEW, process, body) == "failed 1", process
    other_node = await ask(node, asker(NEW), "ask far.os@asker:hyperware-1:test.os x")
    assert other_node == "failed 0"


@pytest.mark.thorough
@BOTH
async def test_a_child_gets_what_it_asks_for_and_grants_what_it_says(
    start: StartNode, asker_of: Callable[[Era], Path], era: Era
) -> None:
    node = await start(asker_of(era), "puppet")
    grantee = "b:puppet:test.os"
    assert await ask(node, asker(era), f'spawn child {grantee} "messaging"') == "0"
    child = f"child:{era.name}:test.os"
    assert await ask(node, asker(era), f"ask {child} say hello") == "hello"
    held = await ask(node, child, "ours")
    assert '"messaging" of vfs' in held
    assert '"messaging" of kv' not in held
    assert held_from(await explained(node, grantee), child) == f"{node.node}@{child} grants it"
    assert await ask(node, grantee, f"ask {child} 20 say welcome") == "welcome"
    if era is NEW:
        assert await ask(node, asker(era), f'spawn other {grantee} {{"shelf": 7}}') == "0"
        granted = await explained(node, grantee)
        assert '{"shelf":7}' in [item["params"] for item in granted]
        refused = await ask(node, grantee, f"ask other:{era.name}:test.os 20 say welcome")
        assert refused == "failed not-authorised say welcome", "a right of its own is no right to message it"


@pytest.mark.thorough
@BOTH
async def test_a_receiver_sees_the_capabilities_that_came(
    start: StartNode, asker_of: Callable[[Era], Path], era: Era
) -> None:
    node = await start(asker_of(era))
    assert await ask(node, asker(era), 'spawn child nobody:at:all "messaging"') == "0"
    child = f"child:{era.name}:test.os"
    assert await ask(node, asker(era), f'show {child} {{"shelf": 7}}') == '{"shelf":7} of asker'
    assert await ask(node, child, "shown") == ""
