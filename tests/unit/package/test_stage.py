"""What `guesthouse install` unpacks: the same content below the same hash, whatever form it came in."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from guesthouse.core.config import PackageLimits, Settings
from guesthouse.core.home import Home
from guesthouse.node.offline_installer import install_without_node
from guesthouse.package.errors import CompileError, PackageError
from guesthouse.package.format.load import load_package, read_manifest
from guesthouse.package.format.pack import write_archive
from guesthouse.package.store.stage import prune, stage, staged

from .conftest import MakePackage, write_zip
from .test_kinode import members

LIMITS = PackageLimits()


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_staged_as_its_archive_is_and_without_sources(
    make_package: MakePackage, tmp_path: Path
) -> None:
    folder = make_package()
    written(folder, {"src/secret.py": b"source", "pkg/data.txt": b"on the drive", ".hidden": b""})
    write_archive(folder, read_manifest(folder), tmp_path / "it.zip")
    package = stage(str(folder), LIMITS, tmp_path / "unpacked")
    assert stage(str(tmp_path / "it.zip"), LIMITS, tmp_path / "unpacked") == package
    assert package.source.parent == tmp_path / "unpacked"
    assert {"package.toml", "pkg/data.txt"} < names(package.source)
    assert not names(package.source) & {"src/secret.py", ".hidden"}
    assert [path.name for path in (tmp_path / "unpacked").iterdir()] == [package.source.name]


def test_what_is_staged_does_not_change_with_the_folder(make_package: MakePackage, tmp_path: Path) -> None:
    folder = make_package()
    package = stage(str(folder), LIMITS, tmp_path / "unpacked")
    shutil.rmtree(folder)
    assert staged(package.source.name, LIMITS, tmp_path / "unpacked") == package


@pytest.mark.parametrize("prefix", ["pkg/", ""])
def test_a_package_of_the_kinode_os_is_staged_whole(tmp_path: Path, prefix: str) -> None:
    files = members(prefix=prefix)
    folder = written(tmp_path / "chat", files)
    if prefix:
        written(folder, {"chat/src/lib.rs": b"source", "target/big": b"built"})
    package = stage(str(folder), LIMITS, tmp_path / "unpacked")
    assert (package.id, package.version) == ("chat:template.os", "0.1.0")
    assert names(package.source) == set(files)
    write_zip(tmp_path / "chat.zip", files)
    assert stage(str(tmp_path / "chat.zip"), LIMITS, tmp_path / "unpacked").version == "0.1.0"


@pytest.mark.parametrize("place", ["pkg/it", "ui/it", "pkg/deep/it"])
def test_a_package_folder_with_what_is_no_file_is_refused_without_waiting(
    make_package: MakePackage, tmp_path: Path, place: str
) -> None:
    folder = written(make_package(), {"pkg/deep/data": b""})
    os.mkfifo(folder / place)
    with pytest.raises(PackageError, match=f"{place} cannot be in a package: it is a FIFO .*; remove it"):
        stage(str(folder), LIMITS, tmp_path / "unpacked")
    (folder / place).unlink()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / place))
    with pytest.raises(PackageError, match=f"{place} cannot be in a package: it is a socket"):
        stage(str(folder), LIMITS, tmp_path / "unpacked")
    (folder / place).unlink()
    assert stage(str(folder), LIMITS, tmp_path / "unpacked")
    assert len(list((tmp_path / "unpacked").iterdir())) == 1


def test_a_manifest_may_be_a_link_within_the_package_and_nothing_else(
    make_package: MakePackage, tmp_path: Path
) -> None:
    folder = make_package()
    manifest = folder / "package.toml"
    manifest.rename(folder / "build/manifest.toml")
    manifest.symlink_to("build/manifest.toml")
    assert stage(str(folder), LIMITS, tmp_path / "unpacked").id == "chat:guesthouse.os"
    manifest.unlink()
    manifest.symlink_to((folder / "build/manifest.toml").rename(tmp_path / "outside.toml"))
    with pytest.raises(PackageError, match="leads out of the package"):
        stage(str(folder), LIMITS, tmp_path / "unpacked")
    manifest.unlink()
    os.mkfifo(manifest)
    with pytest.raises(PackageError, match=r"it is a FIFO .*; put a file in its place"):
        stage(str(folder), LIMITS, tmp_path / "unpacked")


def test_a_folder_that_is_too_large_is_refused_before_it_is_read(
    make_package: MakePackage, tmp_path: Path
) -> None:
    folder = written(make_package(), {"pkg/data": b""})
    os.truncate(folder / "pkg/data", 1 << 40)
    with pytest.raises(PackageError, match=r"has over 268435456 bytes: .* package\.unpacked_bytes"):
        stage(str(folder), LIMITS, tmp_path / "unpacked")
    os.truncate(folder / "pkg/data", 0)
    written(folder, {f"pkg/{number}": b"" for number in range(20)})
    with pytest.raises(PackageError, match=r"has over 20 files: .* package\.files"):
        stage(str(folder), replace(LIMITS, files=20), tmp_path / "unpacked")
    assert not list((tmp_path / "unpacked").iterdir())


def test_a_folder_that_grows_while_it_is_packed_is_refused(make_package: MakePackage, tmp_path: Path) -> None:
    folder = written(make_package(), {"pkg/data": b""})
    grown = False

    def grow() -> None:
        nonlocal grown
        if not grown:
            os.truncate(folder / "pkg/data", 1 << 40)
        grown = True

    with pytest.raises(PackageError, match="has over 268435456 bytes"):
        write_archive(folder, read_manifest(folder), tmp_path / "it.zip", LIMITS, grow)
    assert not (tmp_path / "it.zip").exists()


def test_what_is_no_package_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.wasm").write_bytes(b"\0asm")
    (tmp_path / "empty").mkdir()
    for argument in ("x.wasm", "absent", "empty"):
        with pytest.raises(PackageError):
            stage(str(tmp_path / argument), LIMITS, tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists() or not list((tmp_path / "unpacked").iterdir())


def test_a_place_that_cannot_be_written_is_named(make_package: MakePackage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PackageError, match="cannot be unpacked to"):
        stage(str(make_package()), LIMITS, tmp_path / "file")


def test_pruning_keeps_what_is_needed(tmp_path: Path) -> None:
    for name in ("a", "b", ".partial-x"):
        (tmp_path / name).mkdir()
    prune(tmp_path, ["a"])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    prune(tmp_path / "absent", [])


MANIFEST_OF_NOTHING = b'[package]\nname = "x"\npublisher = "a.os"\nversion = "1"\n'
REFUSED = {
    "a manifest that is none": {"package.toml": b"a = [[["},
    "no manifest": {"readme": b"text"},
    "no process": {"package.toml": MANIFEST_OF_NOTHING},
    "no component": {
        "package.toml": MANIFEST_OF_NOTHING + b'[[process]]\nname = "x"\nwasm = "build/x.wasm"\n'
    },
    "a part of the node": {
        "package.toml": MANIFEST_OF_NOTHING.replace(b'"x"', b'"distro"').replace(b"a.os", b"sys")
        + b'[[process]]\nname = "kv"\nwasm = "x.wasm"\n',
        "x.wasm": b"",
    },
}


@pytest.mark.parametrize("files", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("load", [stage, load_package], ids=["install", "run"])
def test_an_archive_that_is_refused_leaves_nothing_unpacked(
    tmp_path: Path, load: Callable[..., object], files: dict[str, bytes]
) -> None:
    archive = write_zip(tmp_path / "x.zip", files)
    with pytest.raises(PackageError):
        load(str(archive), LIMITS, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_an_archive_that_was_unpacked_before_stays_when_it_is_refused_now(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "chat.zip", members())
    package = stage(str(archive), LIMITS, tmp_path / "unpacked")
    with pytest.raises(PackageError, match="processes"):
        stage(str(archive), replace(LIMITS, component_bytes=1, processes=0), tmp_path / "unpacked")
    assert package.source.is_dir()


@pytest.mark.slow
def test_a_package_that_cannot_be_compiled_leaves_nothing_unpacked(
    make_package: MakePackage, tmp_path: Path
) -> None:
    folder = make_package()
    for component in folder.rglob("*.wasm"):
        component.write_bytes(b"\0asm\x0d\0\1\0 and what is no section")
    home = Home(tmp_path / "home")
    with pytest.raises(CompileError):
        install_without_node(home, Settings(), str(folder))
    assert list(home.unpacked.iterdir()) == []
