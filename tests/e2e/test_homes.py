"""Homes that earlier versions made open in this one, with everything in them; and so does one that this version makes.

The archives are in `homes/`, which says how they were made.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import jwt
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE

from guesthouse.core.home import Home
from guesthouse.node.backup.backup import make_backup
from guesthouse.node.backup.restore import restore_backup

from .clients import bare, close_of, register_message, registered
from .conftest import StartNode
from .daemon import Daemon, run_command
from .homes.make import CHILD, COUNTER, GONE, KEPT, PEER, A, B, G, P, pack
from .test_capabilities import explained
from .test_processes import ask, journal
from .test_runtime_modules import module

pytestmark = pytest.mark.xdist_group("homes")  # of this version one is made for all

HOMES: Final = Path(__file__).with_name("homes")
ARCHIVES: Final = sorted(HOMES.glob("*.tar.gz"))
THIS: Final = "this version"
RESTORED: Final = ", restored from a backup"
LOGINS_END: Final = frozenset(("0.1.0",))
"""Versions after which people have to log in again, as the changelog says."""
NO_GIVERS: Final = frozenset(("0.1.0",))
"""Versions that did not write down who handed a process what it saved."""
VERSIONS: Final = f"versions:{COUNTER}"
DRIVE: Final = f"/{KEPT}/drive"
NOT_AUTHORISED: Final = "6"


@dataclass(frozen=True, slots=True)
class Made:
    """A home, and what is known to be in it."""

    version: str
    folder: Path
    facts: dict[str, Any]

    @property
    def home(self) -> Path:
        """The home itself."""
        return self.folder / "home"

    def database(self, *statements: str) -> list[Any]:
        """Carry out statements on the state while no node runs. Returns the rows of the last."""
        rows: list[Any] = []
        with closing(sqlite3.connect(self.home / "state.sqlite")) as database, database:
            for statement in statements:
                rows = database.execute(statement).fetchall()
        return rows

    def content(self, kind: str) -> dict[str, bytes]:
        """Files or values by name."""
        return {name: base64.b64decode(text) for name, text in self.facts[kind].items()}


@pytest.fixture(scope="module")
def of_this_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script that makes homes, run with this version."""
    archive = tmp_path_factory.mktemp("home") / "this version.tar.gz"
    made = subprocess.run(
        [sys.executable, HOMES / "make.py", archive], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return archive


@pytest.fixture(scope="module")
def compiled_before(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By version, the components that nodes on such a home compiled in other tests: homes are packed without."""
    made = tmp_path_factory.mktemp("compiled")

    def of(version: str) -> Path:
        folder = made / version
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    return of


@pytest.fixture(
    params=[
        *(archive.name.removesuffix(".tar.gz") for archive in ARCHIVES),
        *(
            pytest.param(archive.name.removesuffix(".tar.gz") + RESTORED, marks=pytest.mark.thorough)
            for archive in ARCHIVES
        ),
        pytest.param(THIS, marks=pytest.mark.thorough),
    ]
)
def made(request: pytest.FixtureRequest, tmp_path: Path, compiled_before: Callable[[str], Path]) -> Made:
    """A home of each version, unpacked with the modes that its files had."""
    version = str(request.param).removesuffix(RESTORED)
    archive = HOMES / f"{version}.tar.gz"
    if version == THIS:
        archive = request.getfixturevalue("of_this_version")
    folder = tmp_path / "made"
    with tarfile.open(archive) as tar:
        tar.extraction_filter = lambda member, _: member
        tar.extractall(folder)  # noqa: S202 - made by the project's own script
    if str(request.param).endswith(RESTORED):
        (folder / "home").rename(folder / "before")
        make_backup(Home(folder / "before"), folder / "backup", secrets=True, replace=False)
        restore_backup(Home(folder / "home"), folder / "backup", replace=False)
    (folder / "home/compiled").symlink_to(compiled_before(version))
    return Made(version, folder, json.loads((folder / "made.json").read_text()))


async def test_the_node_has_its_name_its_key_and_its_password(start: StartNode, made: Made) -> None:
    node = await start(home=made.home, node=None)
    assert node.node == made.facts["node"]
    known = (await node.get("/encryptor:distro:sys")).json()
    assert known == {"node": made.facts["node"], "public_key_hex": made.facts["public_key"]}
    async with httpx.AsyncClient(
        verify=TRUSTS_NOBODY, trust_env=False, base_url=node.url, timeout=PATIENCE
    ) as client:
        for password, status in (("wrong", 401), (made.facts["password"], 200)):
            digest = hashlib.sha256(password.encode()).hexdigest()
            answer = await client.post("/login", json={"password_hash": digest, "subdomain": None})
            assert answer.status_code == status, password
    async with registered(node, VERSIONS, answer.cookies[node.cookie_name]) as client:
        assert await client.ask("x") == "2 1 x"


async def test_tokens_open_what_they_opened_and_no_more(start: StartNode, made: Made) -> None:
    node = await start(home=made.home, node=None)
    tokens = made.facts["tokens"]
    async with registered(node, VERSIONS, tokens["whole"]) as client:
        assert await client.ask("x") == "2 1 x"
    async with registered(node, VERSIONS, tokens["scoped"]):
        assert "4005" in await refused(node, VERSIONS, tokens["scoped"])
    assert f"it is for {VERSIONS}" in await refused(node, A, tokens["scoped"])
    assert "was revoked" in await refused(node, VERSIONS, tokens["revoked"])
    async with httpx.AsyncClient(
        verify=TRUSTS_NOBODY, trust_env=False, base_url=node.url, timeout=PATIENCE
    ) as client:
        bearer = {"Authorization": f"Bearer {tokens['whole']}"}
        renewed = (await client.post("/token", headers=bearer)).json()["token"]
    async with registered(node, VERSIONS, renewed) as client:
        assert (await node.cli("revoke", tokens["whole"])).code == 0
        assert (await client.closed())[0] == 1008, "it is of the same family"
    assert "was revoked" in await refused(node, VERSIONS, renewed)


@pytest.mark.thorough
async def test_logins_last_or_have_to_be_made_again_as_the_changelog_says(
    start: StartNode, made: Made
) -> None:
    secret = (made.home / "token.secret").read_bytes()
    claims = jwt.decode(made.facts["session"], secret, algorithms=["HS256"])
    claims.update({name: int(time.time()) + 3600 for name in ("expiration", "ends") if name in claims})
    session = jwt.encode(claims, secret, algorithm="HS256")
    node = await start(home=made.home, node=None)
    if made.version in LOGINS_END:
        assert "log in again" in await refused(node, VERSIONS, session)
    else:
        async with registered(node, VERSIONS, session) as client:
            assert await client.ask("x") == "2 1 x"


async def refused(node: Daemon, process: str, token: str) -> str:
    """The code and reason with which a registration is refused."""
    async with bare(node) as socket:
        await socket.send(register_message(token, process))
        code, reason = await close_of(socket)
        return f"{code} {reason}"


async def test_state_values_and_files_are_there(start: StartNode, made: Made) -> None:
    node = await start(home=made.home, node=None)
    for process in (A, B, CHILD):
        assert await ask(node, process, "get") == f"state of {process.partition(':')[0]}"
    for key, value in made.content("values").items():
        assert await blob(node, "kv", {"db": "d", "action": {"Get": {"key": key}}}) == value
    assert (await value_of(node, A, "expires"))[1] == "in time"
    for path, content in made.content("files").items():
        assert await blob(node, "vfs", {"path": f"{DRIVE}/{path}", "action": "Read"}) == content
    names = {entry["path"].rpartition("/")[2] for entry in (await listed(node, DRIVE))["ReadDir"]}
    assert names == {"text.txt", "empty", "folder", "empty-folder"}
    assert await listed(node, f"{DRIVE}/empty-folder") == {"ReadDir": []}


async def value_of(node: Daemon, process: str, key: str) -> Any:
    return await module(node, "kv", {"db": "d", "action": {"Get": {"key": key}}}, process=process)


async def listed(node: Daemon, folder: str) -> Any:
    return await module(node, "vfs", {"path": folder, "action": "ReadDir"}, process=A)


async def blob(node: Daemon, name: str, request: Any) -> bytes:
    """The blob that a module answers a puppet with."""
    body = json.dumps(request, separators=(",", ":"), ensure_ascii=False)
    (response,) = await node.ask("send", address=A, body=f"ask {name}:distro:sys 20 {body}", seconds=20)
    return base64.b64decode(response["blob"]["bytes_base64"])


@pytest.mark.thorough
async def test_what_is_due_comes_and_what_has_expired_is_gone(start: StartNode, made: Made) -> None:
    """Times are of the clock on the wall, so they go on while no node runs."""
    made.database(
        "UPDATE timers SET due = 1 WHERE id = 'soon'",
        "UPDATE timers SET due = 1e11 WHERE id = 'later'",
        "UPDATE kv SET expires = 1 WHERE key = CAST('expires' AS BLOB)",
    )
    node = await start(home=made.home, node=None)
    lines = await journal(node, A, 'strange {"Timer":{"id":"soon"}}')
    assert not any("later" in line for line in lines)
    assert await value_of(node, A, "expires") == {"Err": "KeyNotFound"}
    assert await node.terminate() == 0
    assert made.database("SELECT id, due FROM timers") == [("later", 1e11)]
    assert made.database("PRAGMA integrity_check") == [("ok",)]


async def test_capabilities_and_children_are_there(start: StartNode, made: Made) -> None:
    node = await start(home=made.home, node=None)
    assert await ask(node, P, f"ask {A} 20 say handed") == "handed"
    assert await ask(node, P, f"ask {B} 20 say public") == "public"
    assert await ask(node, P, f"ask {CHILD} 20 say granted") == "granted"
    assert await ask(node, P, f"ask {VERSIONS} 20 say x") == "failed not-authorised say x"
    assert await ask(node, B, "bind /path") == NOT_AUTHORISED, "it gave that up"
    for process, params in ((B, '{"shelf":1}'), (P, '"messaging"')):
        (origin,) = [
            item["from"]
            for item in await explained(node, process)
            if (item["issuer"], item["params"]) == (f"{node.node}@{A}", params)
        ]
        assert origin == ("it saved it" if made.version in NO_GIVERS else f"{node.node}@{A} handed it to it")
    assert (await node.ps())[CHILD]["on_exit"] == "restart"
    assert await module(node, "kv", {"db": "d", "action": "Open"}, process=CHILD) == "Ok"
    assert await ask(node, CHILD, f"ask {P} 20 say x") == "failed not-authorised say x"


async def test_packages_are_there_with_the_version_before(start: StartNode, made: Made) -> None:
    node = await start(home=made.home, node=None)
    listed = {item["package"]: item for item in await node.ask("packages")}
    assert set(listed) == {KEPT, PEER, COUNTER}
    versions = [(listed[COUNTER][name]) for name in ("version", "running_version", "previous_version")]
    assert versions == ["0.2.0", "0.2.0", "0.1.0"]
    token = await node.token()
    for version in "1", "2":
        await node.ask("rollback", package=COUNTER)
        async with registered(node, VERSIONS, token) as client:
            assert str(await client.ask("x")).split(" ")[0] == version


@pytest.mark.thorough
@pytest.mark.parametrize("running", [True, False])
async def test_what_an_uninstalled_package_stored_waits_for_it_without_its_rights(
    start: StartNode, made: Made, running: bool
) -> None:
    arguments = ("install", "--home", made.home, made.folder / "gone.zip", "--yes")
    if not running:
        assert (await run_command(made.home, *arguments)).code == 0
    node = await start(home=made.home, node=None)
    if running:
        assert (await run_command(made.home, *arguments)).code == 0
    assert await ask(node, G, "get") == "state of g"
    assert (await value_of(node, G, "k"))[1] == "value of g"
    assert f"{node.node}@{A}" not in {item["issuer"] for item in await explained(node, G)}
    assert f"{node.node}@{G}" not in {item["issuer"] for item in await explained(node, P)}, "what it gave"
    assert (await ask(node, G, f"ask {A} 20 say x")) == "failed not-authorised say x"
    path = f"/{GONE}/drive/file"
    assert (await module(node, "vfs", {"path": path, "action": "Read"}, process=G))[1] == "file of g"


@pytest.mark.thorough
async def test_a_package_that_runs_as_it_is_named_keeps_its_rights(start: StartNode, made: Made) -> None:
    """Nothing notes that it was there before, as nothing did for 0.1.0 that another was uninstalled."""
    file = made.home / "installed.json"
    installed = json.loads(file.read_text())
    version = installed["packages"].pop(PEER)["current"]["hash"]
    named = shutil.copytree(made.home / "packages" / version, made.folder / "peer")
    file.write_text(json.dumps(installed))
    node = await start(named, home=made.home, node=None)
    assert await ask(node, P, f"ask {A} 20 say handed") == "handed"
    assert await node.terminate() == 0
    node = await start(home=made.home, node=None)
    assert await node.terminate() == 0
    node = await start(named, home=made.home, node=None)
    assert await ask(node, P, f"ask {A} 20 say handed") == "handed", "that is looked at once"


async def test_nothing_in_the_home_is_left_open_to_others(start: StartNode, made: Made) -> None:
    (made.home / "compiled").unlink()  # so that the node makes its own
    await start(home=made.home, node=None)
    modes = {
        str(path.relative_to(made.home)): stat.S_IMODE(path.lstat().st_mode)
        for path in [made.home, *await asyncio.to_thread(lambda: list(made.home.rglob("*")))]
    }
    assert {"state.sqlite", "installed.json", "node.name", "guesthouse.toml", "logs/node.jsonl"} <= set(modes)
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


def test_the_same_home_is_packed_into_the_same_bytes(tmp_path: Path) -> None:
    archives = []
    for time_of_files, names in enumerate((("b", "a"), ("a", "b"))):
        folder = tmp_path / names[0]
        home = folder / "home"
        (home / "compiled").mkdir(parents=True)
        for name in names:
            (home / name).write_text(name)
            (home / name).chmod(0o640)
            os.utime(home / name, (time_of_files, time_of_files))
        for name in ("gone.zip", "made.json"):
            (folder / name).touch()
        pack(folder, folder / "archive")
        archives.append(folder / "archive")
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        modes = {member.name: member.mode for member in tar if member.name.startswith("home/")}
    assert modes == {"home/a": 0o640, "home/b": 0o640}, "what is compiled is left out"
