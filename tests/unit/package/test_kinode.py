"""Packages as the Kinode OS lays them out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from guesthouse.core.address import ProcessId
from guesthouse.core.capabilities import KERNEL, MESSAGING, NETWORK, SPAWN
from guesthouse.core.config import PackageLimits
from guesthouse.package.build.build_package import build_package
from guesthouse.package.errors import PackageError
from guesthouse.package.format.load import load_package

from .conftest import GUEST, write_zip

LIMITS = PackageLimits()
METADATA: dict[str, Any] = {
    "name": "Chat",
    "description": "Talk\n\tto  others",
    "image": "",
    "external_url": "https://example.org",
    "properties": {
        "package_name": "chat",
        "publisher": "template.os",
        "current_version": "0.1.0",
        "mirrors": [],
        "code_hashes": {"0.1.0": ""},
        "wit_version": 1,
        "dependencies": [],
    },
}
ENTRY: dict[str, Any] = {
    "process_name": "chat",
    "process_wasm_path": "/chat.wasm",
    "on_exit": "Restart",
    "request_networking": True,
    "request_capabilities": [
        "http-server:distro:sys",
        {"process": "vfs:distro:sys", "params": {"root": True}},
    ],
    "grant_capabilities": ["terminal:terminal:sys"],
    "public": True,
}


def members(entries: Any = None, metadata: Any = None, *, prefix: str = "pkg/") -> dict[str, bytes]:
    """The files of a package."""
    manifest = [ENTRY] if entries is None else entries
    return {
        "metadata.json": json.dumps(METADATA if metadata is None else metadata).encode(),
        f"{prefix}manifest.json": json.dumps(manifest).encode(),
        f"{prefix}chat.wasm": bytes(wasmtime.wat2wasm(GUEST)),
        f"{prefix}ui/index.html": b"<p>hello</p>",
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def load(path: Path, tmp_path: Path) -> Any:
    return load_package(str(path), LIMITS, tmp_path / "unpacked")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("prefix", ["pkg/", ""])
def test_a_package_loads_as_a_folder_and_as_a_zip(tmp_path: Path, prefix: str, zipped: bool) -> None:
    files = members(prefix=prefix)
    place = write_zip(tmp_path / "chat.zip", files) if zipped else write(tmp_path / "chat", files)
    package = load(place, tmp_path)
    assert (package.name, package.publisher, package.version) == ("chat", "template.os", "0.1.0")
    assert package.description == "Talk to others"
    (spec,) = package.processes
    assert (str(spec.id), spec.on_exit, spec.public) == ("chat:chat:template.os", "restart", True)
    assert (spec.component.name, spec.component.is_file()) == ("chat.wasm", True)
    assert (spec.ui / "index.html").read_text() == "<p>hello</p>"


def test_metadata_may_be_beside_the_manifest(tmp_path: Path) -> None:
    files = members()
    files["pkg/metadata.json"] = files.pop("metadata.json")
    assert load(write(tmp_path / "chat", files), tmp_path).name == "chat"


def test_files_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    folder = write(tmp_path / "chat", members())
    for path in (folder / "metadata.json", folder / "pkg/manifest.json"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(folder, tmp_path).name == "chat"


@pytest.mark.parametrize("name", ["metadata.json", "pkg/manifest.json"])
@pytest.mark.parametrize("content", ["9" * 5000, "[" * 100_000], ids=["digits", "nesting"])
def test_numbers_and_nesting_of_any_size_are_one_line_of_error(
    tmp_path: Path, name: str, content: str
) -> None:
    folder = write(tmp_path / "chat", members())
    (folder / name).write_text(content)
    with pytest.raises(PackageError, match="is not JSON") as caught:
        load(folder, tmp_path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("version", "shown"), [([0, 2, 0], "0.2.0"), ("1.2", "1.2"), (None, "0"), ([3], "3")]
)
def test_metadata_of_the_first_packages_is_read(tmp_path: Path, version: Any, shown: str) -> None:
    metadata = {"package": "chat", "publisher": "template.os", "description": "Talk", "version": version}
    files = members(metadata={key: value for key, value in metadata.items() if value is not None})
    files["pkg/metadata.json"] = files.pop("metadata.json")
    loaded = load(write(tmp_path / "chat", files), tmp_path)
    assert (loaded.name, loaded.publisher, loaded.version) == ("chat", "template.os", shown)


def test_on_exit_goes_by_its_first_name_too(tmp_path: Path) -> None:
    entry = {("on_panic" if key == "on_exit" else key): value for key, value in ENTRY.items()}
    (spec,) = load(write(tmp_path / "chat", members([entry])), tmp_path).processes
    assert spec.on_exit == "restart"


def test_the_ui_is_that_of_the_process_with_the_name_of_the_package_or_else_the_first(tmp_path: Path) -> None:
    helper, other = ENTRY | {"process_name": "helper"}, ENTRY | {"process_name": "other"}
    for number, (entries, expected) in enumerate((([helper, ENTRY], "chat"), ([other, helper], "other"))):
        package = load(write(tmp_path / str(number), members(entries)), tmp_path)
        assert [spec.id.process_name for spec in package.processes if spec.ui is not None] == [expected]


def test_what_a_manifest_asks_for_is_requested_and_spawning_besides(tmp_path: Path) -> None:
    (spec,) = load(write(tmp_path / "chat", members()), tmp_path).processes
    http_server, vfs = ProcessId("http-server", "distro", "sys"), ProcessId("vfs", "distro", "sys")
    assert set(spec.requests) == {
        (http_server, MESSAGING), (vfs, '{"root":true}'), (KERNEL, NETWORK), (KERNEL, SPAWN)
    }  # fmt: skip
    assert spec.grants == ((ProcessId("terminal", "terminal", "sys"), MESSAGING),)


def test_what_is_left_out_of_the_manifest_is_the_least(tmp_path: Path) -> None:
    entry = {"process_name": "chat", "process_wasm_path": "chat.wasm"}
    (spec,) = load(write(tmp_path / "chat", members([entry])), tmp_path).processes
    assert (spec.on_exit, spec.public) == ("none", False)


@pytest.mark.parametrize(
    ("value", "expected"), [("None", "none"), ("Restart", "restart"), ({"Requests": []}, "none")]
)
def test_on_exit_is_read(tmp_path: Path, value: object, expected: str) -> None:
    (spec,) = load(write(tmp_path / "chat", members([ENTRY | {"on_exit": value}])), tmp_path).processes
    assert spec.on_exit == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"process_wasm_path": "/../chat.wasm"}, "not a path inside the package"),
        ({"process_wasm_path": "//chat.wasm"}, "not a path inside the package"),
        ({"process_wasm_path": "/.hidden.wasm"}, "not a path inside the package"),
        ({"process_wasm_path": "C:\\chat.wasm"}, "not a path inside the package"),
        ({"process_wasm_path": 7}, "lacks 'process_wasm_path'"),
        ({"process_wasm_path": "/none.wasm"}, "does not exist"),
        ({"process_name": "a:b"}, "is not a process id"),
        ({"process_name": "\n"}, "is not a process id"),
        ({"process_name": None}, "lacks 'process_name'"),
        ({"on_exit": "none"}, "'on_exit' is not"),
        ({"on_exit": {"Requests": [["a", "b", None]]}}, "'on_exit' is not"),
        ({"on_exit": 0}, "'on_exit' is not"),
        ({"public": 1}, "'public' is not true or false"),
        ({"request_networking": "yes"}, "'request_networking' is not true or false"),
        ({"request_capabilities": {"process": "a:b:c"}}, "is not a list"),
        ({"request_capabilities": ["vfs"]}, "is not a process id"),
        ({"grant_capabilities": [{"process": "a:b:c"}]}, "neither a process id nor"),
        ({"grant_capabilities": [7]}, "neither a process id nor"),
        ({"grant_capabilities": ["a:b:c"] * 257}, "at most 256"),
        ({"publik": True}, "unknown key 'publik'"),
    ],
)
def test_a_manifest_is_refused_for_anything_wrong_in_it(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(PackageError) as refused:
        load(write(tmp_path / "chat", members([ENTRY | change])), tmp_path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([], "no object 'properties'"),
        ({"properties": []}, "no object 'properties'"),
        ({"properties": {"publisher": "a.os"}}, "lacks 'package_name'"),
        ({"package": "a"}, "lacks 'publisher'"),
        ({"package": "a", "publisher": "a.os", "version": [1, -1]}, "not a version"),
        ({"package": "a", "publisher": "a.os", "version": [True]}, "not a version"),
        ({"package": "a", "publisher": "a.os", "version": []}, "not a version"),
        ({"package": "a", "publisher": "a.os", "version": [0] * 9}, "not a version"),
        ({"properties": {"package_name": "a"}}, "lacks 'publisher'"),
        ({"properties": {"package_name": "a b", "publisher": "a.os"}}, "is not a process id"),
        ({"properties": {"package_name": "a", "publisher": "../a"}}, "is not a process id"),
        (
            {"properties": {"package_name": "a", "publisher": "a.os", "current_version": "1\n2"}},
            "not a version",
        ),
        ({"properties": {"package_name": "a", "publisher": "a.os", "current_version": 1}}, "not a version"),
    ],
)
def test_metadata_is_refused_for_a_name_that_is_none(tmp_path: Path, metadata: Any, message: str) -> None:
    with pytest.raises(PackageError) as refused:
        load(write(tmp_path / "chat", members(metadata=metadata)), tmp_path)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[" * 100_000, "is not JSON"),
        (b'[{"process_name": "a", "process_name": "b"}]', "a duplicate key"),
        (b" " * 300_000, "is over"),
        (b"{}", "is not a list"),
        (b"[7]", "is not a list"),
        (b"[]", "has no process"),
    ],
)
def test_a_manifest_that_is_none_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    files = members() | {"pkg/manifest.json": content}
    with pytest.raises(PackageError) as refused:
        load(write(tmp_path / "chat", files), tmp_path)
    assert message in str(refused.value)
    assert len(str(refused.value)) < 500


def test_two_processes_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="twice"):
        load(write(tmp_path / "chat", members([ENTRY, ENTRY])), tmp_path)


def test_a_package_without_metadata_is_refused(tmp_path: Path) -> None:
    files = members()
    del files["metadata.json"]
    with pytest.raises(PackageError, match=r"has no metadata\.json"):
        load(write(tmp_path / "chat", files), tmp_path)


def test_a_link_out_of_the_package_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "chat", members())
    outside = tmp_path / "outside.wasm"
    (folder / "pkg/chat.wasm").rename(outside)
    (folder / "pkg/chat.wasm").symlink_to(outside)
    with pytest.raises(PackageError, match="leads out of the package"):
        load(folder, tmp_path)


def test_a_package_toml_is_read_before_a_manifest_json(tmp_path: Path) -> None:
    folder = write(tmp_path / "chat", members())
    (folder / "package.toml").write_text("")
    with pytest.raises(PackageError, match=r"package\.toml"):
        load(folder, tmp_path)


def test_building_such_a_package_needs_nothing_and_its_archive_is_its_own_zip(tmp_path: Path) -> None:
    folder = write(tmp_path / "chat", members())
    assert build_package(folder) == folder
    with pytest.raises(PackageError, match="zip the folder as it is"):
        build_package(folder, tmp_path / "out.zip")
