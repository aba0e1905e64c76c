"""What a user may name, and what is said when it is not a package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from guesthouse.core.config import PackageLimits
from guesthouse.core.errors import BadProcessId
from guesthouse.package.errors import PackageError
from guesthouse.package.format.load import load_package
from guesthouse.package.store.stage import stage

from .conftest import MANIFEST, MakePackage, package_members, write_zip

LIMITS = PackageLimits()


@pytest.fixture
def unpack_dir(tmp_path: Path) -> Path:
    return tmp_path / "unpacked"


def refused(argument: str | Path, unpack_dir: Path, limits: PackageLimits = LIMITS) -> str:
    with pytest.raises(PackageError) as caught:
        load_package(str(argument), limits, unpack_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_a_package(make_package: MakePackage, unpack_dir: Path) -> None:
    folder = make_package()
    package = load_package(str(folder), LIMITS, unpack_dir)
    (process,) = package.processes
    assert (package.name, package.publisher, package.version) == ("chat", "guesthouse.os", "0.1.0")
    assert (package.description, package.source) == ("Talk", folder)
    assert process.component == folder / "build" / "chat.wasm"
    assert process.ui == folder / "ui"
    assert (str(process.id), process.on_exit, process.public) == ("chat:chat:guesthouse.os", "restart", True)


def test_an_archive_is_the_same_package(tmp_path: Path, unpack_dir: Path) -> None:
    archive = write_zip(tmp_path / "chat.zip", package_members())
    package = load_package(str(archive), LIMITS, unpack_dir)
    (process,) = package.processes
    assert package.source == archive
    assert process.component.is_relative_to(unpack_dir)
    assert process.component.read_bytes() == package_members()["build/chat.wasm"]
    assert process.ui is not None
    assert (process.ui / "index.html").is_file()


def test_a_bare_component_runs_under_its_own_name(guest: Path, unpack_dir: Path) -> None:
    (process,) = load_package(str(guest), LIMITS, unpack_dir).processes
    assert str(process.id) == "guest:guest:local.os"
    assert (process.on_exit, process.public, process.ui) == ("restart", False, None)


def test_a_bare_component_runs_under_a_given_name(guest: Path, unpack_dir: Path) -> None:
    package = load_package(f"p:pkg:pub.os={guest}", LIMITS, unpack_dir)
    assert (package.name, package.publisher) == ("pkg", "pub.os")
    assert str(package.processes[0].id) == "p:pkg:pub.os"


def test_a_path_with_an_equals_sign_is_a_path(guest: Path, unpack_dir: Path) -> None:
    odd = guest.with_name("a:b=c.wasm")
    guest.rename(odd)
    assert str(load_package(f"p:pkg:pub={odd}", LIMITS, unpack_dir).processes[0].id) == "p:pkg:pub"
    assert "a name that is invalid for a process" in refused(odd, unpack_dir)


def test_a_bad_process_id_is_named(guest: Path, unpack_dir: Path) -> None:
    with pytest.raises(BadProcessId, match="only:two"):
        load_package(f"only:two={guest}", LIMITS, unpack_dir)


@pytest.mark.parametrize(
    "name",
    [
        "http-server:distro:sys",
        "http_server:distro:sys",
        "http_server:sys:nectar",
        "encryptor:distro:sys",
        "chat:sys:nectar",
    ],
)
def test_no_process_takes_the_id_of_a_part_of_the_node(guest: Path, unpack_dir: Path, name: str) -> None:
    with pytest.raises(PackageError, match=f"{name} is a part of the node itself"):
        load_package(f"{name}={guest}", PackageLimits(), unpack_dir)


def test_a_component_that_was_not_built_says_how(make_package: MakePackage, unpack_dir: Path) -> None:
    folder = make_package()
    (folder / "build" / "chat.wasm").unlink()
    text = refused(folder, unpack_dir)
    assert "chat.wasm" in text
    assert f"guesthouse build {folder}" in text


def test_an_archive_without_its_component_says_so(tmp_path: Path, unpack_dir: Path) -> None:
    members = package_members()
    del members["build/chat.wasm"]
    assert "does not exist" in refused(write_zip(tmp_path / "chat.zip", members), unpack_dir)


def test_a_missing_ui_folder_is_named(make_package: MakePackage, unpack_dir: Path) -> None:
    folder = make_package(MANIFEST.replace('"ui"', '"web"'))
    assert "is not a folder" in refused(folder, unpack_dir)


@pytest.mark.parametrize("what", ["build", "build/chat.wasm", "ui"])
def test_a_link_out_of_the_package_is_refused(
    what: str, make_package: MakePackage, tmp_path: Path, unpack_dir: Path
) -> None:
    folder = make_package()
    outside = tmp_path / "outside"
    (folder / what).rename(outside)
    (folder / what).symlink_to(outside)
    assert "leads out of the package" in refused(folder, unpack_dir)


def test_a_link_within_the_package_is_followed(make_package: MakePackage, unpack_dir: Path) -> None:
    folder = make_package()
    (folder / "build" / "chat.wasm").rename(folder / "real.wasm")
    (folder / "build" / "chat.wasm").symlink_to(folder / "real.wasm")
    assert load_package(str(folder), LIMITS, unpack_dir).processes[0].component == folder / "real.wasm"


def test_a_pipe_is_not_read(make_package: MakePackage, unpack_dir: Path) -> None:
    folder = make_package()
    (folder / "build" / "chat.wasm").unlink()
    os.mkfifo(folder / "build" / "chat.wasm")
    assert "is not a file" in refused(folder, unpack_dir)


def test_a_component_over_the_limit_is_refused(guest: Path, unpack_dir: Path) -> None:
    size = guest.stat().st_size
    load_package(str(guest), replace(LIMITS, component_bytes=size), unpack_dir)
    text = refused(guest, unpack_dir, replace(LIMITS, component_bytes=size - 1))
    assert "package.component_bytes" in text


def test_what_is_no_package_is_told_apart(tmp_path: Path, unpack_dir: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    assert "has no package.toml" in refused(tmp_path / "empty", unpack_dir)
    assert "is not a package" in refused(tmp_path / "notes.txt", unpack_dir)
    assert "does not exist" in refused(tmp_path / "missing", unpack_dir)
    assert "does not exist" in refused(f"p:pkg:pub={tmp_path / 'missing.wasm'}", unpack_dir)
    assert "cannot be read" in refused("x" * 5000, unpack_dir)


@pytest.mark.parametrize("stages", [True, False])
@pytest.mark.parametrize(
    "members",
    [
        {"build/x.wasm": b"x"},
        {"package.toml": b"unknown = 1"},
        {name: content for name, content in package_members().items() if not name.endswith(".wasm")},
    ],
)
def test_what_is_wrong_with_an_archive_names_it_and_no_folder_that_is_gone(
    tmp_path: Path, unpack_dir: Path, members: dict[str, bytes], stages: bool
) -> None:
    archive = write_zip(tmp_path / "mine.zip", members)
    with pytest.raises(PackageError) as caught:
        (stage if stages else load_package)(str(archive), LIMITS, unpack_dir)
    assert str(archive) in str(caught.value)
    assert str(unpack_dir) not in str(caught.value)
