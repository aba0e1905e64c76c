"""Rust to components: what is built when, and what is said when it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.rust import TARGET_FOLDER, cargo, needs_cargo

from guesthouse.package.build.build_package import build_package, needs_build
from guesthouse.package.build.rust import crate_folder, diagnostics, link_sdk
from guesthouse.package.build.rust_templates import RUST_TEMPLATES
from guesthouse.package.build.scaffold import scaffold
from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.errors import BuildError

_MANIFEST = """\
[package]
name = "crate"
publisher = "a.os"
version = "0.1.0"

[[process]]
name = "crate"
wasm = "build/crate.wasm"

[process.build]
language = "rust"
source = "src/lib.rs"
"""
_CARGO = '[package]\nname = "NAME"\nversion = "0.1.0"\nedition = "2024"\n[lib]\ncrate-type = ["cdylib"]\n'


@pytest.fixture
def crate(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A crate without dependencies, which is built in a second.

    Each test's has a name of its own: to cargo, crates of one name and one target folder are one crate, and one that
    was written before a neighbour's was built would count as built.
    """
    needs_cargo()
    folder = tmp_path / "package"
    (folder / "src").mkdir(parents=True)
    (folder / "package.toml").write_text(_MANIFEST)
    (folder / "Cargo.toml").write_text(_CARGO.replace("NAME", request.function.__name__))
    (folder / "src/lib.rs").write_text("#[unsafe(no_mangle)]\npub fn one() -> i32 {\n    1\n}\n")
    return folder


@pytest.mark.slow
def test_only_what_changed_is_built(crate: Path) -> None:
    said: list[str] = []
    build_package(crate, report=said.append)
    assert (crate / "build/crate.wasm").read_bytes().startswith(b"\0asm")
    assert any("Compiling test_only_what_changed_is_built" in line for line in said)
    assert not needs_build(crate)  # though cargo wrote a Cargo.lock meanwhile
    (crate / "target").mkdir()
    (crate / "target/made").write_text("")
    assert not needs_build(crate)
    lock = crate / "Cargo.lock"
    lock.write_text(lock.read_text() + "\n")
    assert needs_build(crate)


@pytest.mark.slow
def test_each_error_is_shown_once_file_and_line_first(crate: Path) -> None:
    (crate / "src/lib.rs").write_text("mod inner;\n\nfn wrong() -> u8 {\n    nothing\n}\n")
    (crate / "src/inner.rs").write_text("fn unused() {}\nfn also() { let a: u8 = 1.5; }\n")
    said: list[str] = []
    with pytest.raises(BuildError, match="cannot be built: fix the errors above"):
        build_package(crate, report=said.append)
    starts = ("src/lib.rs:4:5: error[E0425]: cannot find value `nothing` in this scope",)
    for start in starts:
        assert sum(line.startswith(start) for line in said) == 1, said
    assert sum("cannot find value" in line for line in said) == 1
    assert any(line.lstrip().startswith("4 |     nothing") for line in said)
    assert not any("could not compile" in line or "aborting due to" in line for line in said)


@pytest.mark.slow
def test_warnings_of_a_build_that_succeeds_are_shown(crate: Path) -> None:
    (crate / "src/lib.rs").write_text("fn unused() {}\n")
    said: list[str] = []
    build_package(crate, report=said.append)
    assert said.count("src/lib.rs:1:4: warning[dead_code]: function `unused` is never used") == 1
    assert not any("generated 1 warning" in line for line in said)


@pytest.mark.slow
def test_a_crate_that_is_no_component_is_told_what_it_needs(crate: Path) -> None:
    (crate / "Cargo.toml").write_text(_CARGO.replace("NAME", "plain").replace("cdylib", "rlib"))
    with pytest.raises(BuildError, match="needs exactly one library, of crate-type cdylib"):
        build_package(crate)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("template", RUST_TEMPLATES)
def test_a_new_package_passes_its_own_tests(tmp_path: Path, template: str) -> None:
    needs_cargo()
    folder = scaffold(f"new-{template}", "a.os", template, tmp_path)
    said = cargo(folder, "test", "--quiet", "--offline")
    assert "test result: ok." in said
    assert "warning" not in said


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_new_package_is_built(tmp_path: Path) -> None:
    needs_cargo()
    folder = build_package(scaffold("new", "a.os", "rust", tmp_path))
    assert 50_000 < (folder / "build/new.wasm").stat().st_size < 400_000
    assert not needs_build(folder)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_crate_that_exports_no_process_is_told_how_to(tmp_path: Path) -> None:
    needs_cargo()
    folder = scaffold("hello", "a.os", "rust", tmp_path)
    source = folder / "src/lib.rs"
    source.write_text(source.read_text().replace("guesthouse::export!(Echo);", ""))
    with pytest.raises(BuildError, match=r"exports no process: write `guesthouse::export!\(YourType\);`"):
        build_package(folder)


def test_a_crate_finds_the_sdk_by_a_link_that_is_made_anew(tmp_path: Path) -> None:
    folder = scaffold("hello", "a.os", "rust", tmp_path)
    link = folder / ".guesthouse/rust"
    assert link.resolve() == sdk_folder("rust").resolve()
    link.unlink()
    link.symlink_to("/nowhere")
    link_sdk(folder)
    assert (link / "Cargo.toml").is_file()
    link.unlink()
    link.mkdir()  # the author's own
    link_sdk(folder)
    assert not link.is_symlink()


def test_a_crate_that_names_no_link_gets_none(tmp_path: Path) -> None:
    (tmp_path / "Cargo.toml").write_text(_CARGO)
    link_sdk(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Cargo.toml"]


def test_the_crate_of_a_source_is_the_nearest_around_it(tmp_path: Path) -> None:
    (tmp_path / "crates/one/src").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "crates/one"):
        (folder / "Cargo.toml").write_text("")
    assert crate_folder(tmp_path / "crates/one/src/lib.rs") == tmp_path / "crates/one"
    assert crate_folder(tmp_path / "crates/one") == tmp_path / "crates/one"
    assert crate_folder(tmp_path / "crates/one/Cargo.toml") == tmp_path / "crates/one"
    assert crate_folder(tmp_path / "crates") == tmp_path / "crates"


def test_what_is_no_message_of_the_compiler_is_passed_over(tmp_path: Path) -> None:
    messages = [
        "no JSON",
        "[1]",
        json.dumps({"reason": "build-finished", "success": False}),
        json.dumps(
            {
                "reason": "compiler-message",
                "manifest_path": str(tmp_path / "Cargo.toml"),
                "message": {
                    "level": "error",
                    "message": "linking failed",
                    "code": None,
                    "spans": [],
                    "rendered": "error: linking failed\n  = note: why\n\n",
                },
            }
        ),
    ]
    assert list(diagnostics("\n".join(messages), tmp_path)) == ["error: linking failed", "  = note: why"]


def test_tests_keep_what_cargo_builds_in_one_folder() -> None:
    assert TARGET_FOLDER.parts[-2:] == ("build", "cargo")
