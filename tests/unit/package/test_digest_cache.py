"""What one run of a node learns of components, and the next relies on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guesthouse.package.compile import digest_cache
from guesthouse.package.compile.digest_cache import DigestCache
from guesthouse.package.compile.mac import MacKey

from .test_private_files import after_a_step, sha256


class Home:
    """A home, and its components."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.cache.mkdir(mode=0o700)
        self.kept = folder / "cache.digests"
        self.key = MacKey(folder / "cache.key")
        self.component = folder / "component.wasm"
        self.component.write_bytes(b"content")

    def run(self, *paths: Path) -> list[str]:
        """One run of a node, which asks for components."""
        digests = DigestCache(self.kept, self.key)
        found = []
        for path in paths or (self.component,):
            with path.open("rb") as file:
                found.append(digests.of_open(path, file))
            digests.keep(self.cache)
        return found


@pytest.fixture
def home(tmp_path: Path, later: None) -> Home:
    return Home(tmp_path)


def test_a_component_is_read_by_the_first_run_alone(home: Home, reads: list[int]) -> None:
    assert home.run() == home.run() == [sha256(b"content")]
    assert len(reads) == 1
    assert home.kept.stat().st_mode & 0o077 == 0
    assert list(home.cache.iterdir()) == []


def test_one_that_changed_in_between_is_read_again(home: Home, reads: list[int]) -> None:
    home.run()
    status = home.component.stat()
    after_a_step(home.component)
    home.component.write_bytes(b"another")
    os.utime(home.component, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert home.run() == home.run() == [sha256(b"another")]
    assert len(reads) == 2


def test_another_file_in_its_place_is_read(home: Home, reads: list[int]) -> None:
    other = home.component.with_name("other")
    other.write_bytes(b"changed")
    home.run()
    other.rename(home.component)
    assert home.run() == [sha256(b"changed")]


@pytest.mark.parametrize("first", [os.ST_RDONLY, 0])
def test_one_of_an_image_is_read_by_each_run_as_images_choose_its_times(
    first: int, home: Home, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for flags in (first, os.ST_RDONLY, os.ST_RDONLY):
        mounted = SimpleNamespace(f_flag=flags | os.ST_NODEV)
        monkeypatch.setattr(os, "fstatvfs", lambda _, mounted=mounted: mounted)
        assert home.run(home.component, home.component) == [sha256(b"content")] * 2
    assert len(reads) == 3


def spoil_digest(kept: dict[str, Any]) -> None:
    kept["digests"][0][2] = sha256(b"evil")


def spoil_mac(kept: dict[str, Any]) -> None:
    kept["mac"] = "0" * 64


def of_no_form(kept: dict[str, Any]) -> None:
    kept["digests"] = 3


@pytest.mark.parametrize("spoil", [spoil_digest, spoil_mac, of_no_form, dict.clear])
def test_what_no_node_wrote_is_not_relied_on(
    home: Home, reads: list[int], spoil: Callable[[dict[str, Any]], None]
) -> None:
    home.run()
    kept = json.loads(home.kept.read_text())
    spoil(kept)
    home.kept.write_text(json.dumps(kept))
    assert home.run() == home.run() == [sha256(b"content")]
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_file_that_is_damaged_costs_a_read(home: Home, reads: list[int], content: bytes) -> None:
    home.run()
    home.kept.write_bytes(content)
    assert home.run() == [sha256(b"content")]
    assert len(reads) == 2


def test_a_file_that_others_may_write_is_not_relied_on(home: Home, reads: list[int]) -> None:
    home.run()
    home.kept.chmod(0o666)
    home.run()
    assert len(reads) == 2


def test_a_record_of_another_home_is_not_relied_on(home: Home, reads: list[int]) -> None:
    home.run()
    home.key = MacKey(home.cache.with_name("other.key"))
    home.run()
    assert len(reads) == 2


def test_no_more_are_kept_than_fit_and_the_latest_are(
    home: Home, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_cache, "MOST_KEPT", 2)
    components = [home.component.with_name(f"c{number}") for number in range(3)]
    for number, each in enumerate(components):
        each.write_bytes(b"%d" % number)
    home.run(*components)
    assert [path for path, _, _ in json.loads(home.kept.read_text())["digests"]] == list(
        map(str, components[1:])
    )
    home.run(*components)
    assert len(reads) == 4


def test_a_node_runs_although_nothing_can_be_kept(home: Home, reads: list[int]) -> None:
    home.cache.rmdir()
    assert home.run() == home.run() == [sha256(b"content")]
    assert len(reads) == 2


def test_what_was_just_changed_is_not_kept(tmp_path: Path, reads: list[int]) -> None:
    home = Home(tmp_path)
    home.run()
    home.run()
    assert len(reads) == 2
