"""`kv`, `timer` and `vfs`, as processes use them: real nodes, real components, real files."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from .conftest import StartNode
from .daemon import Daemon
from .test_processes import A, B, ask, journal

PACKAGE = "puppet:test.os"


async def module(node: Daemon, name: str, request: Any, blob: str | None = None, process: str = A) -> Any:
    """What a module answers a puppet, as JSON; with its blob as text when it has one."""
    body = json.dumps(request, separators=(",", ":"))
    verb = f"ask {name}:distro:sys 20" if blob is None else f"carry {name}:distro:sys 20 {blob}"
    (response,) = await node.ask("send", address=process, body=f"{verb} {body}", seconds=20)
    answer = json.loads(response["body"])
    if response["blob"] is None:
        return answer

    return answer, base64.b64decode(response["blob"]["bytes_base64"]).decode()


async def kv(node: Daemon, action: Any, blob: str | None = None, **more: Any) -> Any:
    return await module(node, "kv", {"db": "d", "action": action, **more}, blob)


async def vfs(node: Daemon, path: str, action: Any, blob: str | None = None) -> Any:
    return await module(node, "vfs", {"path": path, "action": action}, blob)


def refusal(answer: Any) -> str:
    """The kind of an error of `vfs`, which has all that libraries read of one."""
    ((kind, fields),) = answer["Err"].items()
    assert set(fields) == {"path", "action", "error"}
    return str(kind)


async def test_kv_keeps_what_was_set_over_a_kill_of_the_node(start: StartNode) -> None:
    node = await start("puppet")
    assert await kv(node, {"Set": {"key": [107, 49]}}, "one") == "Ok"
    assert await kv(node, {"Set": {"key": "k2"}}, "two") == "Ok"
    assert await kv(node, {"Get": {"key": "k1"}}) == ({"Get": {"key": [107, 49]}}, "one")
    await node.kill()
    node = await start("puppet", home=node.home)
    assert await kv(node, {"Get": [107, 50]}) == ({"Get": [107, 50]}, "two")
    assert await kv(node, {"List": {"prefix": "k", "after": "k1"}}) == {"List": {"keys": [[107, 50]]}}
    assert await kv(node, {"Delete": {"key": "k2"}}) == "Ok"
    assert await kv(node, {"Get": {"key": "k2"}}) == {"Err": "KeyNotFound"}


async def test_kv_swaps_only_what_is_as_expected_and_forgets_what_expired(start: StartNode) -> None:
    node = await start("puppet")
    assert await kv(node, {"CompareAndSet": {"key": "k", "expected": None}}, "one") == "Ok"
    assert await kv(node, {"CompareAndSet": {"key": "k", "expected": None}}, "two") == (
        {"Err": "Conflict"},
        "one",
    )
    assert await kv(node, {"CompareAndSet": {"key": "k", "expected": "one"}}, "two") == "Ok"
    assert await kv(node, {"Set": {"key": "short", "ttl": 0}}, "gone") == "Ok"
    assert await kv(node, {"Get": {"key": "short"}}) == {"Err": "KeyNotFound"}
    assert await kv(node, {"CompareAndSet": {"key": "k", "expected": "two"}}) == "Ok"
    assert await kv(node, {"Get": {"key": "k"}}) == {"Err": "KeyNotFound"}


async def test_kv_refuses_another_package_too_much_and_what_it_does_not_know(start: StartNode) -> None:
    node = await start("puppet", settings={"process_kv_bytes": 1000})
    other = {"package_name": "chat", "publisher_node": "guesthouse.os"}
    assert "InputError" in (await kv(node, {"Get": {"key": "k"}}, package_id=other))["Err"]
    own = {"package_name": "puppet", "publisher_node": "test.os"}
    assert await kv(node, {"Set": {"key": "k"}}, "x" * 900, package_id=own) == "Ok"
    assert await kv(node, {"Set": {"key": "k2"}}, "x" * 100) == {"Err": "QuotaExceeded"}
    assert await kv(node, {"Set": {"key": "k"}}, "y" * 920) == "Ok"
    refused: list[Any] = ["Fly", {"Set": {"key": 5}}, {"Get": {"key": "\ud800"}}, [], {"Set": {}}, None]
    for strange in refused:
        assert "InputError" in (await kv(node, strange))["Err"]
    assert await kv(node, {"Get": {"key": "k"}}) == ({"Get": {"key": [107]}}, "y" * 920)


async def test_a_timer_answers_when_its_time_has_passed(start: StartNode) -> None:
    node = await start("puppet")
    begun = asyncio.get_running_loop().time()
    assert await ask(node, A, 'ask timer:distro:sys 3 {"SetTimer":700}') == ""
    assert asyncio.get_running_loop().time() - begun >= 0.7
    await ask(node, A, 'post timer:distro:sys 3 later {"SetTimer":100}')
    await journal(node, A, "response later")
    refused = await ask(node, A, 'ask timer:distro:sys 1 {"SetTimer":5000}')
    assert "longer than the request waits, 1 s" in refused


async def test_a_durable_timer_outlives_its_node_and_a_cancelled_one_says_nothing(start: StartNode) -> None:
    node = await start("puppet")
    await module(node, "timer", {"Set": {"id": "moved", "milliseconds": 3_600_000}}, process=B)
    assert await module(node, "timer", {"Set": {"id": "moved", "milliseconds": 1}}) == "Ok"
    assert await module(node, "timer", {"Set": {"id": "never", "milliseconds": 4000}}) == "Ok"
    assert await module(node, "timer", {"Cancel": "never"}) == "Ok"
    # last, so that it is not due before the node is killed, however slow the machine is
    assert await module(node, "timer", {"Set": {"id": "first", "milliseconds": 4000}}) == "Ok"
    await node.kill()
    node = await start("puppet", home=node.home)
    lines = await journal(node, A, 'strange {"Timer":{"id":"first"}}')
    assert not any("never" in line for line in lines)
    assert await journal(node, B) == []


async def test_files_are_kept_in_the_packages_own_drives_and_nowhere_else(start: StartNode) -> None:
    node = await start("puppet", settings={"process_drive_bytes": 4000})
    drive = f"/{PACKAGE}/data"
    assert await vfs(node, drive, "CreateDrive") == "Ok"
    assert await vfs(node, f"{drive}/a/b.txt", "Write", "hello") == "Ok"
    assert await vfs(node, f"{drive}/a/b.txt", "Append", "-there") == "Ok"
    assert await vfs(node, f"{drive}/a/b.txt", "Read") == ("Read", "hello-there")
    assert await vfs(node, f"{drive}/a/b.txt", "Metadata") == {"Metadata": {"len": 11, "file_type": "File"}}
    assert refusal(await vfs(node, f"{drive}/a", {"OpenFile": {"create": True}})) == "AlreadyExists"
    listed = await vfs(node, drive, "ReadDir")
    assert listed == {"ReadDir": [{"path": f"{PACKAGE}/data/a", "file_type": "Directory"}]}
    assert refusal(await vfs(node, f"{drive}/a", "RemoveDir")) == "NotEmpty"
    assert await vfs(node, f"{drive}/a/b.txt", {"Rename": {"new_path": f"{drive}/c"}}) == "Ok"
    assert refusal(await vfs(node, f"{drive}/a/b.txt", "Read")) == "NotFound"
    assert refusal(await vfs(node, f"{drive}/big", "Write", "x" * 4000)) == "QuotaExceeded"
    assert refusal(await vfs(node, f"{drive}/c", {"SetLen": 2**39})) == "QuotaExceeded"
    assert refusal(await vfs(node, "/chat:guesthouse.os/data/x", "Read")) == "NoCap"
    for path in (f"{drive}/../../x", "/", f"/{PACKAGE}", f"{drive}/..", f"{drive}/a\\b"):
        assert "BadRequest" in (await vfs(node, path, "Read"))["Err"]


async def test_what_came_with_the_package_can_be_read_and_not_changed(
    start: StartNode, tmp_path: Path
) -> None:
    node = await start("puppet")
    drive = f"/{PACKAGE}/pkg"
    answer, text = await vfs(node, f"{drive}/package.toml", "Read")
    assert (answer, text.splitlines()[0]) == ("Read", "[package]")
    assert await vfs(node, f"{drive}/../pkg//./package.toml", "Read") == (answer, text)
    entries = (await vfs(node, f"{drive}/src", "ReadDir"))["ReadDir"]
    assert {"path": f"{PACKAGE}/pkg/src/puppet.c", "file_type": "File"} in entries
    assert refusal(await vfs(node, f"{drive}/package.toml", "Write", "x")) == "ReadOnly"
    assert refusal(await vfs(node, f"{drive}/package.toml", "RemoveFile")) == "ReadOnly"
    outside = await vfs(node, f"{drive}/package.toml", {"CopyFile": {"new_path": f"/{PACKAGE}/pkg/x"}})
    assert refusal(outside) == "ReadOnly"
