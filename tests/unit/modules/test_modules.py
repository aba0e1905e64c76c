"""Whatever a process asks of a module, the module answers, and stays within the package."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.patience import PATIENCE

from guesthouse.core.address import Address
from guesthouse.core.json_forms import BadRequest
from guesthouse.core.json_text import read_json
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.kernel.messaging.modules import Module, ModuleRequest
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.storage.tables import usage_of
from guesthouse.modules.kv import Kv
from guesthouse.modules.registry import TABLES
from guesthouse.modules.timer import Timer
from guesthouse.modules.vfs import Vfs
from guesthouse.package.drive_path import drive_path

SOURCE = Address.parse("home.os@a:pack:test.os")
PACKAGE = "pack:test.os"
NAMES = [
    *(
        "Get",
        "Set",
        "Delete",
        "List",
        "CompareAndSet",
        "Open",
        "RemoveDb",
        "SetTimer",
        "Cancel",
        "Read",
        "Write",
    ),
    *("ReadDir", "Rename", "CopyFile", "SetLen", "Metadata", "RemoveDirAll", "Append", "OpenFile", "Hash"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(NAMES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["key", "prefix", "id", "milliseconds", "new_path", "expected", "ttl", *NAMES]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
PATHS = st.lists(
    st.sampled_from(["", ".", "..", "x", "y", "pkg", PACKAGE, "other:test.os", "a\\b", "\0", "\ud800"]),
    max_size=6,
).map("/".join)


class Lines:
    """A log that a test can read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        self.lines.append(text)


class House:
    """The modules of a node on a real database."""

    def __init__(self, folder: Path) -> None:
        (folder / "pkg").mkdir()
        (folder / "pkg/own.txt").write_text("own")
        (folder / "pkg/out").symlink_to(folder / "secret")
        (folder / "secret").write_text("secret")
        self.log = Lines()
        self.state = State(folder / "s", 100, self.log, TABLES)
        self.timer = Timer(self.state, lambda process, body: True)
        self.modules: dict[str, Module] = {
            "kv": Kv(self.state, 10_000),
            "timer": self.timer,
            "vfs": Vfs(self.state, lambda _: folder / "pkg", 10_000, 1000),
        }

    async def ask(
        self, module: str, body: Any, blob: bytes | None = None
    ) -> tuple[bytes, LazyLoadBlob | None]:
        answered: asyncio.Future[tuple[bytes, LazyLoadBlob | None]] = (
            asyncio.get_running_loop().create_future()
        )
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given_blob = None if blob is None else LazyLoadBlob(None, blob)
        request = ModuleRequest(
            SOURCE, raw, given_blob, 60, lambda *answer: answered.set_result(answer), lambda: True
        )
        self.modules[module].request(request)
        async with asyncio.timeout(PATIENCE):
            return await answered


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    made.timer.close()
    await made.state.close()


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
async def test_every_request_is_answered_and_none_troubles_the_state(
    house: House, data: st.DataObject
) -> None:
    action = data.draw(JSON)
    blob = data.draw(st.none() | st.binary(max_size=50))
    await house.ask("kv", {"db": "d", "action": action}, blob)
    await house.ask("kv", action, blob)
    _, content = await house.ask("vfs", {"path": data.draw(PATHS), "action": action}, blob)
    assert content is None or b"secret" not in content.bytes
    if action != {"SetTimer": 0}:
        house.modules["timer"].request(
            ModuleRequest(SOURCE, json.dumps(action).encode(), None, None, lambda *_: None, lambda: True)
        )
    assert house.log.lines == []
    for table, size in (
        ("kv", "LENGTH(key) + LENGTH(value) + 64"),
        ("files", "LENGTH(path) + LENGTH(bytes) + 128"),
    ):
        assert await house.state.executed(partial(usage_of, package=PACKAGE, table=table), -1) == (
            await house.state.executed(partial(counted, table=table, size=size), -2)
        )


FILES = st.sampled_from(
    [
        *(
            f"/{PACKAGE}/{name}"
            for name in ("d", "d/a", "d/a/b", "d/a/b/c", "d/e", "d/e/f", "x", "pkg", "pkg/own.txt")
        ),
        *(f"/{PACKAGE}/{name}" for name in ("pkg/new", "..", "d/" + "q" * 1100)),
        "/other:test.os/d/a",
    ]
)
ACTIONS = st.one_of(
    st.sampled_from(["CreateDrive", "CreateDir", "CreateFile", "Write", "Write", "Append", "RemoveFile"]),
    st.sampled_from(["RemoveDir", "RemoveDirAll", "Read", "ReadDir", "Seek"]),
    st.builds(lambda create: {"OpenFile": {"create": create}}, st.sampled_from([True, False, 5, None])),
    st.builds(lambda length: {"SetLen": length}, st.sampled_from([0, 3, 9_000, 10**6, -1, "x"])),
    st.builds(
        lambda name, path: {name: {"new_path": path}},
        st.sampled_from(["Rename", "Rename", "Rename", "CopyFile"]),
        FILES,
    ),
)


@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(FILES, ACTIONS, st.none() | st.sampled_from([b"precious", b"x" * 6000])), max_size=25)
)
async def test_an_action_on_files_that_is_refused_changes_nothing(
    house: House, requests: list[tuple[str, Any, bytes | None]]
) -> None:
    await house.state.executed(lambda database: database.execute("DELETE FROM files").rowcount, -1)
    for path, action, blob in requests:
        before = await house.state.executed(files, None)
        body, _ = await house.ask("vfs", {"path": path, "action": action}, blob)
        if b'{"Err":' in body:
            assert await house.state.executed(files, None) == before
    used = await house.state.executed(partial(usage_of, package=PACKAGE, table="files"), -1)
    size = partial(counted, table="files", size="LENGTH(path) + LENGTH(bytes) + 128")
    assert (used, house.log.lines) == (await house.state.executed(size, -2), [])


def files(database: sqlite3.Connection) -> list[Any]:
    """All that packages have in their drives."""
    return database.execute("SELECT * FROM files ORDER BY package, path").fetchall()


@pytest.mark.parametrize("target", ["d/folder", "d/plain/x", "d", "pkg/m", "d/m"])
async def test_a_file_is_still_there_when_it_cannot_be_renamed(house: House, target: str) -> None:
    for name in ("m", "plain", "folder/a"):
        await house.ask("vfs", {"path": f"/{PACKAGE}/d/{name}", "action": "Write"}, b"precious")
    rename = {"Rename": {"new_path": f"/{PACKAGE}/{target}"}}
    body, _ = await house.ask("vfs", {"path": f"/{PACKAGE}/d/m", "action": rename})
    assert (b"Err" in body) is (target != "d/m")
    _, content = await house.ask("vfs", {"path": f"/{PACKAGE}/d/m", "action": "Read"})
    assert content == LazyLoadBlob(None, b"precious")


async def test_a_file_opened_with_what_is_no_answer_to_create_is_refused_and_the_node_stores_on(
    house: House,
) -> None:
    path = f"/{PACKAGE}/d/new"
    body, _ = await house.ask("vfs", {"path": path, "action": {"OpenFile": {"create": 5}}})
    assert json.loads(body)["Err"] == {"BadRequest": {"error": "create is missing, or not of type bool"}}
    assert (await house.ask("vfs", {"path": path, "action": "Write"}, b"x"))[0] == b'"Ok"'


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({"Set": {"key": "a", "ttl": -1}}, "ttl is a number of seconds, 0 or more"),
        ({"List": {"limit": -1}}, "limit is a number of keys, 1 or more"),
        ("BeginTx", "no action is named BeginTx"),
        ({"Commit": {"tx_id": 1}}, "no action is named Commit"),
    ],
)
async def test_what_the_store_of_keys_refuses_is_refused_for_its_reason(
    house: House, action: Any, reason: str
) -> None:
    body, _ = await house.ask("kv", {"db": "d", "action": action}, b"value")
    assert json.loads(body) == {"Err": {"InputError": {"error": reason}}}


def counted(database: sqlite3.Connection, table: str, size: str) -> int:
    """What a package has in a table, counted row by row."""
    row = database.execute(f"SELECT COALESCE(SUM({size}), 0) FROM {table}").fetchone()  # noqa: S608 - our own
    return int(row[0])


@pytest.mark.parametrize("body", [b"", b"\xff", b"[" * 100_000, b"null", b"1e999", b'{"a":1,"b":2}', b"[]"])
async def test_what_is_no_request_is_said_to_be_none(house: House, body: bytes) -> None:
    for module in ("kv", "timer", "vfs"):
        answer, _ = await house.ask(module, body)
        assert b"Err" in answer


@given(PATHS)
def test_no_path_leaves_its_package(text: str) -> None:
    try:
        path = drive_path(text, PACKAGE)
    except BadRequest:
        return
    if path is not None:
        assert next(part for part in text.split("/") if part not in ("", ".")) == PACKAGE
        assert not {"", ".", ".."} & set(path.segments)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("pkg/../pkg/provider-ui", "pkg/provider-ui"),
        ("./pkg//ui/./index.html", "pkg/ui/index.html"),
        ("pkg/a/b/../../c/", "pkg/c"),
        ("pkg/../data/x", "data/x"),
        ("pkg/...", "pkg/..."),
    ],
)
async def test_a_path_is_brought_into_its_shortest_form(house: House, text: str, key: str) -> None:
    path = drive_path(f"/{PACKAGE}/{text}", PACKAGE)
    assert path is not None
    assert path.key == key
    body, content = await house.ask("vfs", {"path": f"//{PACKAGE}/pkg/x/../own.txt", "action": "Read"})
    assert (body, content) == (b'"Read"', LazyLoadBlob(None, b"own"))


@pytest.mark.parametrize("text", ["..", "pkg/..", "pkg/../..", "pkg/../../pkg/x", "../other:test.os/pkg/x"])
def test_no_path_leads_out_of_the_drives_of_its_package(text: str) -> None:
    with pytest.raises(BadRequest):
        drive_path(f"/{PACKAGE}/{text}", PACKAGE)


async def test_a_link_in_the_package_does_not_lead_out_of_it(house: House) -> None:
    for action in ("Read", "Metadata", "Hash", "ReadDir"):
        body, content = await house.ask("vfs", {"path": f"/{PACKAGE}/pkg/out", "action": action})
        path = f"/{PACKAGE}/pkg/out"
        error = {"NotFound": {"path": path, "action": action, "error": "NotFound"}}
        assert (json.loads(body), content) == ({"Err": error}, None)
    body, content = await house.ask("vfs", {"path": f"/{PACKAGE}/pkg/own.txt", "action": "Read"})
    assert content == LazyLoadBlob(None, b"own")


async def test_folders_have_the_names_of_what_is_in_them_and_nothing_deeper(house: House) -> None:
    for name in ("a/b/c", "a/d", "ab"):
        await house.ask("vfs", {"path": f"/{PACKAGE}/drive/{name}", "action": "CreateFile"})
    body, _ = await house.ask("vfs", {"path": f"/{PACKAGE}/drive/a", "action": "ReadDir"})
    entries = {entry["path"].rpartition("/")[2]: entry["file_type"] for entry in json.loads(body)["ReadDir"]}
    assert entries == {"b": "Directory", "d": "File"}
    assert (await house.ask("vfs", {"path": f"/{PACKAGE}/drive/a", "action": "RemoveDirAll"}))[0] == b'"Ok"'
    body, _ = await house.ask("vfs", {"path": f"/{PACKAGE}/drive", "action": "ReadDir"})
    assert [entry["path"] for entry in json.loads(body)["ReadDir"]] == [f"{PACKAGE}/drive/ab"]


async def test_files_of_a_package_that_no_path_can_name_are_not_listed(house: House, tmp_path: Path) -> None:
    for name in (b"\xff", b"line\nbreak", b"back\\slash", b"plain"):
        (tmp_path / "pkg" / os.fsdecode(name)).write_bytes(b"x")
    body, _ = await house.ask("vfs", {"path": f"/{PACKAGE}/pkg", "action": "ReadDir"})
    listed = {entry["path"].rpartition("/")[2] for entry in read_json(body)["ReadDir"]}
    assert listed == {"out", "own.txt", "plain"}


@pytest.mark.slow
async def test_timers_that_are_moved_for_ever_cost_no_more_than_one(house: House) -> None:
    for number in range(5000):
        await house.ask("timer", {"Set": {"id": "one", "milliseconds": 3_600_000 + number}})
    assert len(house.timer._due) < 3000


async def test_a_process_has_a_thousand_durable_timers_and_no_more(house: House) -> None:
    answers = [
        (await house.ask("timer", {"Set": {"id": str(number), "milliseconds": 3_600_000}}))[0]
        for number in range(1001)
    ]
    assert answers[-1] == b'{"Err":"TooMany"}'
    assert set(answers[:-1]) == {b'"Ok"'}
    await house.ask("timer", {"Cancel": "7"})
    assert (await house.ask("timer", {"Set": {"id": "new", "milliseconds": 1}}))[0] == b'"Ok"'


async def test_a_key_comes_back_in_the_form_in_which_it_was_asked_for(house: House) -> None:
    await house.ask("kv", {"db": "d", "action": {"Set": {"key": [107], "tx_id": None}}}, b"value")
    for action in ({"Get": {"key": [107]}}, {"Get": [107]}):
        body, value = await house.ask("kv", {"package_id": PACKAGE, "db": "d", "action": action})
        assert (json.loads(body), value) == (action, LazyLoadBlob(None, b"value"))


async def test_timers_that_are_due_together_fire_a_few_in_each_turn(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages have tens of thousands, and those of a process that is not there are tried each second."""
    monkeypatch.setattr("guesthouse.modules.timer.perf_counter", count().__next__)  # all are slow
    fired: asyncio.Queue[bytes] = asyncio.Queue()
    for _ in range(10):
        body = json.dumps({"SetTimer": 0}).encode()
        house.timer.request(
            ModuleRequest(SOURCE, body, None, 60, lambda body, _: fired.put_nowait(body), lambda: True)
        )
    house.timer._ring()
    assert fired.qsize() == 1
    assert [await fired.get() for _ in range(10)] == [b""] * 10


async def test_the_timers_of_a_package_are_forgotten_and_of_no_other(house: House) -> None:
    for source in ("home.os@a:pack:test.os", "home.os@b:pack:test.os", "home.os@a:my-pack:test.os"):
        body = json.dumps({"Set": {"id": "x", "milliseconds": 3_600_000}}).encode()
        request = ModuleRequest(Address.parse(source), body, None, None, lambda *_: None, lambda: True)
        house.timer.request(request)
    house.timer.forget_package("pack:test.os")
    assert set(house.timer._durable) == {("a:my-pack:test.os", "x")}


async def test_a_timer_is_set_by_eight_bytes_too(house: House) -> None:
    assert await house.ask("timer", (20).to_bytes(8, "little")) == (b"", None)
    body, _ = await house.ask("timer", (2**63).to_bytes(8, "little"))
    assert b"InputError" in body
