"""The registry of installed packages: its transitions, its file, and what is left when a writer is killed."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.node.package_hosts import had_host_of
from guesthouse.package.errors import PackageError
from guesthouse.package.store.installed import (
    INSTALLED_NAME,
    MOST_GONE,
    Installation,
    Installed,
    Version,
    parse_package_id,
    read_installed,
    write_installed,
)

ONE, TWO, THREE = (Version(f"0.{number}.0", f"{number:064x}") for number in (1, 2, 3))
CHAT, ECHO = "chat:guesthouse.os", "echo:guesthouse.os"


def test_the_version_before_is_kept_and_no_other() -> None:
    installed = Installed().with_version(CHAT, ONE).with_version(CHAT, TWO).with_version(CHAT, THREE)
    assert installed.get(CHAT) == Installation(THREE, TWO)
    assert installed.hashes() == {TWO.hash, THREE.hash}


def test_installing_the_same_content_again_changes_nothing() -> None:
    installed = Installed().with_version(CHAT, ONE).with_version(CHAT, TWO)
    assert installed.with_version(CHAT, TWO) == installed


def test_rolling_back_twice_is_back_again() -> None:
    installed = Installed().with_version(CHAT, ONE).with_version(CHAT, TWO)
    assert installed.rolled_back(CHAT).get(CHAT) == Installation(ONE, TWO)
    assert installed.rolled_back(CHAT).rolled_back(CHAT) == installed


def test_what_was_never_installed_over_another_cannot_be_rolled_back() -> None:
    with pytest.raises(PackageError, match="has no previous version"):
        Installed().with_version(CHAT, ONE).rolled_back(CHAT)


@pytest.mark.parametrize("act", [lambda it: it.rolled_back(CHAT), lambda it: it.without(CHAT, purge=True)])
def test_what_is_not_installed_is_named(act: object) -> None:
    with pytest.raises(PackageError, match=f"{CHAT} is not installed"):
        act(Installed().with_version(ECHO, ONE))  # type: ignore[operator]


def test_uninstalling_one_leaves_the_others_and_notes_what_is_to_be_purged() -> None:
    installed = Installed().with_version(CHAT, ONE).with_version(ECHO, TWO)
    left = installed.without(CHAT, purge=False)
    kept = Installed().with_version(ECHO, TWO).packages
    assert left == Installed(kept, left=frozenset({CHAT}), gone=(CHAT,))
    assert left.purged() == Installed(kept, gone=(CHAT,))
    assert installed.without(CHAT, purge=True).purging == {CHAT}
    assert left.purging_left(CHAT) == Installed(kept, frozenset({CHAT}), frozenset({CHAT}), (CHAT,))


def test_what_0_1_0_wrote_does_not_say_what_was_uninstalled_until_that_is_found_out(tmp_path: Path) -> None:
    version = {"version": ONE.version, "hash": ONE.hash}
    written = {"format": 1, "packages": {CHAT: {"current": version, "previous": None}}, "purging": []}
    (tmp_path / "installed.json").write_text(json.dumps(written))
    installed = read_installed(tmp_path)
    assert not installed.notes_left
    assert installed.with_version(CHAT, TWO).left == frozenset()
    new = installed.with_version(ECHO, ONE)
    assert new.left == {ECHO}, "it may have been uninstalled before"
    write_installed(tmp_path, new)
    assert read_installed(tmp_path) == new
    known = new.with_left({"a:b.os"})
    assert known.left == {ECHO, "a:b.os"}
    assert known.notes_left
    assert known.with_version("x-1:y", ONE).left == known.left


def test_of_those_that_are_gone_the_latest_are_remembered() -> None:
    installed = Installed(gone=tuple(f"p{number}:x.os" for number in range(MOST_GONE)))
    for package_id in (CHAT, "p7:x.os"):
        installed = installed.with_version(package_id, ONE).without(package_id, purge=False)
    assert len(installed.gone) == MOST_GONE
    assert installed.gone[0] == "p1:x.os"
    assert installed.gone[-2:] == (CHAT, "p7:x.os")


@pytest.mark.parametrize(
    ("gone", "had"),
    [
        ((), None),
        (("other:x.os",), None),
        (("echo-c:x.os",), "echo-c:x.os"),
        (("Echo:c.x.os", "echo:c.x.os"), None),
        (("echo:c.x.os", "Echo:c.x.os", "other:x.os"), "Echo:c.x.os"),
    ],
)
def test_who_had_a_host_last_is_known(gone: tuple[str, ...], had: str | None) -> None:
    assert had_host_of("echo:c.x.os", gone) == had


_VERSIONS = st.builds(Version, st.text(max_size=8), st.from_regex(r"\A[0-9a-f]{64}\Z"))
_IDS = st.sampled_from([CHAT, ECHO, "a:b.os", "x-1:y"])
_INSTALLATIONS = st.builds(Installation, _VERSIONS, st.none() | _VERSIONS)


@given(
    installed=st.builds(
        Installed,
        st.dictionaries(_IDS, _INSTALLATIONS),
        st.frozensets(_IDS),
        st.frozensets(_IDS),
        st.lists(_IDS, unique=True).map(tuple),
        st.booleans(),
    )
)
@pytest.mark.slow
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, installed: Installed) -> None:
    home = tmp_path_factory.mktemp("home")
    write_installed(home, installed)
    assert read_installed(home) == installed


def test_without_a_file_nothing_is_installed(tmp_path: Path) -> None:
    assert read_installed(tmp_path) == Installed()


GOOD = {"format": 1, "packages": {CHAT: {"current": {"version": "1", "hash": "0" * 64}, "previous": None}}}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        json.dumps(GOOD),
        json.dumps(GOOD | {"purging": ["no id"]}),
        json.dumps(GOOD | {"purging": [], "format": 2}),
        json.dumps(GOOD | {"purging": []}).replace("0" * 64, "../" * 21 + "x"),
        json.dumps(GOOD | {"purging": []}).replace(CHAT, "chat"),
        json.dumps(GOOD | {"purging": []}) + " " * 5_000_000,
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / INSTALLED_NAME).write_text(content)
    with pytest.raises(PackageError, match="is damaged: remove it"):
        read_installed(tmp_path)


@pytest.mark.parametrize("text", ["", "chat", "a:b:c", "../x:y", "x:y/z"])
def test_a_package_id_has_two_parts(text: str) -> None:
    with pytest.raises(PackageError, match="write package:publisher"):
        parse_package_id(text)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    write_installed(tmp_path, Installed().with_version(CHAT, ONE))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(PackageError, match="cannot be written"):
            write_installed(tmp_path, Installed().with_version(CHAT, TWO))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == [INSTALLED_NAME]
    assert read_installed(tmp_path).get(CHAT).current == ONE


_WRITER = """
import sys
from pathlib import Path
from guesthouse.package.store.installed import Installed, Version, write_installed
number = 0
while True:
    number += 1
    installed = Installed()
    for name in range(200):
        installed = installed.with_version(f"p{name}:a.os", Version(str(number), f"{number:064x}"))
    write_installed(Path(sys.argv[1]), installed)
    print(number, flush=True)
"""


@pytest.mark.thorough
@pytest.mark.slow
def test_a_writer_killed_at_random_moments_leaves_one_whole_file(tmp_path: Path) -> None:
    seed = random.Random(7)
    for _ in range(40):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "1\n"
            time.sleep(seed.random() * 0.03)  # the moment is what is random here
            writer.send_signal(signal.SIGKILL)
            told = writer.stdout.read().split()
        packages = read_installed(tmp_path).packages
        (number,) = {int(item.current.version) for item in packages.values()}
        assert len(packages) == 200
        assert number >= int(told[-1] if told else "1")
