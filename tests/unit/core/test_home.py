from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from guesthouse.core import atomic_file, private
from guesthouse.core.home import Home, HomeError, is_of_a_node


def test_a_new_home_is_its_users_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    home.prepare()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_a_home_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Home(tmp_path).prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"cannot be used as the node's home: .*give another --home"):
        Home(tmp_path / "file").prepare()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give a folder to another user")
def test_a_home_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(HomeError, match="belongs to another user"):
        Home(tmp_path).prepare()


def test_a_second_node_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    refused = pytest.raises(HomeError, match=rf"another node \(pid {os.getpid()}\) runs on")
    with Home(tmp_path).locked(), refused, Home(tmp_path).locked():
        pass
    with Home(tmp_path).locked():
        pass


def test_the_lock_ends_with_its_holder_even_when_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom guesthouse.core.home import Home\n"
        "with Home(Path(sys.argv[1])).locked():\n    print('locked', flush=True)\n    time.sleep(3600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(HomeError), Home(tmp_path).locked():
            pass
        holder.kill()
    with Home(tmp_path).locked():
        pass


def test_a_control_socket_works_in_a_home_with_a_very_long_path(tmp_path: Path) -> None:
    home = Home(tmp_path.joinpath(*(["a-long-name-in-the-path"] * 10)))
    home.prepare()
    assert len(str(home.control_socket)) > 150
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with home.control_address() as address:
            server.bind(address)
        server.listen()
        with home.control_address() as address:
            client.connect(address)
    assert home.control_socket.is_socket()


def test_the_name_of_the_node_is_remembered(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.remembered_node() is None
    home.remember_node("my.os")
    assert home.remembered_node() == "my.os"
    home.remember_node("other.os")
    assert home.remembered_node() == "other.os"


def test_the_name_of_the_node_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To sync it takes as long as much of a start."""
    home = Home(tmp_path)
    home.remember_node("my.os")
    written: list[Path] = []
    monkeypatch.setattr(atomic_file, "replace", lambda path, _: written.append(path))
    Home(tmp_path).remember_node("my.os")
    assert written == []
    (tmp_path / "link").write_text("my.os")
    (tmp_path / "node.name").unlink()
    (tmp_path / "node.name").symlink_to(tmp_path / "link")
    home.remember_node("my.os")
    assert written == [tmp_path / "node.name"]


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


def test_what_a_node_keeps_is_closed_to_others_and_nothing_else_is_touched(tmp_path: Path) -> None:
    for name in (
        "state.sqlite",
        "state.sqlite-wal",
        "logs/node.1.jsonl",
        "packages/abc/ui/index.html",
        "notes.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o644)
    (tmp_path / "packages/abc/run").write_text("")
    (tmp_path / "packages/abc/run").chmod(0o755)
    (tmp_path / "packages/link").symlink_to(tmp_path / "notes.txt")
    found = Home(tmp_path).close_to_others()
    assert {"state.sqlite", "state.sqlite-wal", "logs", "packages/abc/ui/index.html"} <= set(found)
    after = modes(tmp_path)
    assert after.pop("notes.txt") == 0o644
    after.pop("packages/link")
    assert after["packages/abc/run"] == 0o700
    assert {name: mode for name, mode in after.items() if mode & 0o077} == {}
    assert Home(tmp_path).close_to_others() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to give a file to another user")
def test_what_another_user_put_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token.secret").write_bytes(b"x" * 32)
    os.chown(tmp_path / "token.secret", 12345, 12345)
    with pytest.raises(
        HomeError, match=r"token.secret belongs to another user: make it accessible to this user only .*"
    ):
        Home(tmp_path).close_to_others()


def test_a_folder_that_is_somebodys_own_has_few_names_of_a_node() -> None:
    assert [
        name for name in (".ssh", ".bashrc", "Documents", ".new", "lock.txt", "state") if is_of_a_node(name)
    ] == []


def test_a_home_whose_path_is_not_utf8_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with pytest.raises(HomeError, match="is not UTF-8, which"):
        Home(path).prepare()
    assert not path.exists()


@pytest.mark.parametrize(
    "name", ["token.secret", "state.sqlite", "logs/node.jsonl", "packages/abc/package.toml"]
)
@pytest.mark.parametrize("mode", [0o602, 0o666, 0o646])
def test_what_others_could_have_changed_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(b"x" * 32)
    path.chmod(mode)
    with pytest.raises(
        HomeError, match=rf"{name} is writable by others .*: make it accessible to this user only"
    ):
        Home(tmp_path).close_to_others()
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(mode & 0o700)
    assert Home(tmp_path).close_to_others() == []


@pytest.mark.parametrize("alone", [True, False])
def test_what_a_group_could_have_changed_is_refused_unless_it_is_the_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    path = tmp_path / "guesthouse.toml"
    path.write_text("")
    path.chmod(0o664)
    monkeypatch.setattr(private, "_own_group", lambda _: path.stat().st_gid if alone else None)
    if alone:
        assert Home(tmp_path).close_to_others() == [path.name]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    else:
        with pytest.raises(HomeError, match="is writable by others"):
            Home(tmp_path).close_to_others()


def test_a_home_that_others_could_write_to_is_closed_while_it_is_empty_and_then_refused(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o777)
    Home(tmp_path).prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    (tmp_path / "installed.json").write_text("{}")
    tmp_path.chmod(0o777)
    with pytest.raises(HomeError, match="was writable by others, who may have changed its files"):
        Home(tmp_path).prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o777


@pytest.mark.parametrize(
    "name", ["token.secret", "node.ed25519", "local.secret", "password.argon2", "api.keys"]
)
def test_a_secret_that_is_a_link_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").write_bytes(b"x" * 32)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HomeError, match=f"{name} is a link, but secrets must be files of the home"):
        Home(tmp_path).close_to_others()
