"""Real builds: sources to components, only what changed, and archives whose bytes say nothing of when."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from guesthouse.core.config import PackageLimits
from guesthouse.package.build import rust, sdk_files, toolchains
from guesthouse.package.build.build_package import build_package, needs_build
from guesthouse.package.build.scaffold import scaffold
from guesthouse.package.errors import BuildError, PackageError
from guesthouse.package.format.load import load_package

from .conftest import MANIFEST, MakePackage

SAMPLES = Path(__file__).parents[3] / "sample_processes"


@pytest.fixture
def echo_c(tmp_path: Path) -> Path:
    """A copy of the C sample, not built yet."""
    return Path(
        shutil.copytree(SAMPLES / "echo-c", tmp_path / "echo-c", ignore=shutil.ignore_patterns("build"))
    )


def built(folder: Path) -> list[str]:
    """What a build reports."""
    lines: list[str] = []
    build_package(folder, report=lines.append)
    return lines


@pytest.mark.slow
def test_a_c_package_is_built_and_loads(echo_c: Path) -> None:
    assert len(built(echo_c)) == 1
    (process,) = load_package(str(echo_c), PackageLimits(), echo_c).processes
    assert process.component.read_bytes().startswith(b"\x00asm\x0d\x00\x01\x00")


@pytest.mark.slow
def test_only_what_changed_is_built(echo_c: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(echo_c)
    assert built(echo_c) == []
    source = echo_c / "src" / "echo.c"
    for change in (
        lambda: source.write_text(source.read_text() + "\n"),
        lambda: (echo_c / "src" / "more.h").write_text("\n"),
        lambda: (echo_c / "build" / "echo-c.wasm").write_bytes(b"damaged"),
        lambda: (echo_c / "build" / "echo-c.wasm").unlink(),
    ):
        change()
        assert len(built(echo_c)) == 1
        assert built(echo_c) == []
    sdk = Path(shutil.copytree(sdk_files.sdk_folder("c"), tmp_path / "sdk"))
    header = sdk / "include" / "guesthouse.h"
    header.write_text(header.read_text() + "\n")
    monkeypatch.setattr("guesthouse.package.build.build_package.sdk_folder", lambda language: sdk)
    assert len(built(echo_c)) == 1


@pytest.mark.slow
def test_hidden_files_are_no_sources(echo_c: Path) -> None:
    """An editor's lock, which is a link that leads nowhere, and what macOS keeps beside a file."""
    (echo_c / "src/.#echo.c").symlink_to("somebody@somewhere.1234")
    (echo_c / "src/._echo.c").write_bytes(b"\0\5\x16\7")
    (echo_c / "src/.old.c").write_text("not C")
    assert len(built(echo_c)) == 1
    assert built(echo_c) == []


@pytest.mark.slow
def test_a_source_whose_name_is_not_utf8_is_one(echo_c: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(echo_c / "src") + b"/\xff.h"))
    strange.write_text("\n")
    assert len(built(echo_c)) == 1
    assert built(echo_c) == []
    strange.write_text("\n\n")
    assert len(built(echo_c)) == 1


@pytest.mark.slow
def test_a_damaged_note_of_what_was_built_is_built_over(echo_c: Path) -> None:
    built(echo_c)
    (echo_c / "build/.echo-c.wasm.inputs").write_bytes(b"\xff")
    assert len(built(echo_c)) == 1


@pytest.mark.slow
def test_the_same_source_makes_the_same_component(echo_c: Path) -> None:
    wasm = echo_c / "build" / "echo-c.wasm"
    built(echo_c)
    first = wasm.read_bytes()
    wasm.unlink()
    built(echo_c)
    assert wasm.read_bytes() == first


@pytest.mark.slow
def test_a_mistake_in_the_source_is_shown_and_the_old_component_stays(echo_c: Path) -> None:
    built(echo_c)
    before = (echo_c / "build" / "echo-c.wasm").read_bytes()
    source = echo_c / "src" / "echo.c"
    source.write_text(source.read_text().replace("gh_receive()", "gh_recieve()"))
    with pytest.raises(BuildError) as caught:
        built(echo_c)
    assert "echo.c" in str(caught.value)
    assert "gh_recieve" in caught.value.output
    assert (echo_c / "build" / "echo-c.wasm").read_bytes() == before


@pytest.mark.slow
def test_a_function_that_nobody_defines_is_named(echo_c: Path) -> None:
    source = echo_c / "src" / "echo.c"
    source.write_text("int fly(void);\n" + source.read_text().replace("for (;;) {", "for (;;) { fly();"))
    with pytest.raises(BuildError) as caught:
        built(echo_c)
    assert "fly" in str(caught.value) + caught.value.output


@pytest.mark.slow
def test_an_archive_loads_and_its_bytes_do_not_depend_on_when(echo_c: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.zip", tmp_path / "sub" / "other.zip"
    assert build_package(echo_c, one) == one
    (echo_c / "package.toml").touch()
    build_package(echo_c, other)
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as archive:
        assert archive.namelist() == ["build/echo-c.wasm", "package.toml"]
    (process,) = load_package(str(one), PackageLimits(), tmp_path / "unpacked").processes
    assert str(process.id) == "echo-c:echo-c:guesthouse.os"


def test_an_archive_has_the_components_that_its_processes_may_spawn_and_no_other_files(
    make_package: MakePackage, tmp_path: Path
) -> None:
    folder = make_package()
    component = b"\0asm\x0d\0\x01\0"
    for name, content in (
        *(("worker.wasm", component), ("core.wasm", b"\0asm\x01\0\0\0"), (".hidden.wasm", component)),
        *(("notes.txt", component), ("empty.wasm", b"")),
    ):
        (folder / "build" / name).write_bytes(content)
    build_package(folder, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert {name for name in archive.namelist() if name.startswith("build/")} == {
            "build/chat.wasm",
            "build/worker.wasm",
        }


def test_an_archive_has_the_pages_and_nothing_hidden(make_package: MakePackage, tmp_path: Path) -> None:
    folder = make_package()
    (folder / "ui" / "deep").mkdir()
    (folder / "ui" / "deep" / "a.js").write_text("1")
    (folder / "ui" / ".secret").write_text("1")
    (folder / "ui" / ".git").mkdir()
    (folder / "ui" / ".git" / "config").write_text("1")
    build_package(folder, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist() == ["build/chat.wasm", "package.toml", "ui/deep/a.js", "ui/index.html"]
    load_package(str(tmp_path / "x.zip"), PackageLimits(), tmp_path / "unpacked")


def test_a_page_that_links_out_of_the_package_stays_out_of_the_archive(
    make_package: MakePackage, tmp_path: Path
) -> None:
    folder = make_package()
    (tmp_path / "private").write_text("secret")
    (folder / "ui" / "leak.txt").symlink_to(tmp_path / "private")
    with pytest.raises(PackageError, match="leads out of the package"):
        build_package(folder, tmp_path / "x.zip")


def test_a_page_folder_that_is_a_link_is_refused(make_package: MakePackage, tmp_path: Path) -> None:
    folder = make_package()
    (tmp_path / "elsewhere").mkdir()
    (folder / "ui" / "assets").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match="is a link to a folder"):
        build_package(folder, tmp_path / "x.zip")


def test_a_page_whose_name_no_archive_may_have_is_named(make_package: MakePackage, tmp_path: Path) -> None:
    folder = make_package()
    (folder / "ui" / "a:b.html").write_text("x")
    with pytest.raises(PackageError, match="rename it"):
        build_package(folder, tmp_path / "x.zip")


def test_a_process_without_source_or_component_is_named(make_package: MakePackage) -> None:
    folder = make_package()
    (folder / "build" / "chat.wasm").unlink()
    with pytest.raises(BuildError, match="has no"):
        build_package(folder)


def test_a_missing_source_is_named(make_package: MakePackage) -> None:
    folder = make_package(MANIFEST + '[process.build]\nlanguage = "c"\nsource = "src/chat.c"\n')
    with pytest.raises(BuildError, match=r"chat\.c"):
        build_package(folder)


def test_a_missing_tool_says_how_to_get_it(echo_c: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains, "find_spec", lambda name: None)
    with pytest.raises(BuildError, match=r"pip install 'guesthouse\[build\]'"):
        build_package(echo_c)


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_rust_without_its_target_says_how_to_get_it(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cargo that knows the language but not the target, as a fresh rustup installs it."""
    folder = make_package(MANIFEST + '[process.build]\nlanguage = "rust"\nsource = "crate"\n')
    (folder / "crate" / "src").mkdir(parents=True)
    (folder / "crate" / "Cargo.toml").write_text(
        '[package]\nname = "x"\nversion = "0.1.0"\nedition = "2021"\n[lib]\ncrate-type = ["cdylib"]\n'
    )
    (folder / "crate" / "src" / "lib.rs").write_text("")
    monkeypatch.setattr(rust, "RUST_TARGET", "wasm32-unknown-emscripten")
    with pytest.raises(BuildError) as caught:
        build_package(folder)
    assert "rustup target add wasm32-unknown-emscripten" in str(caught.value)


@pytest.mark.slow
def test_a_c_package_without_the_entry_is_told_to_write_it(echo_c: Path) -> None:
    (echo_c / "src/echo.c").write_text("int nothing;\n")
    with pytest.raises(BuildError, match=r"it has no process: write `void gh_run\(const gh_address \*our\)`"):
        build_package(echo_c)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_cpp_package_without_a_process_is_told_how_to_name_it(tmp_path: Path) -> None:
    folder = scaffold("hello", "a.os", "cpp", tmp_path)
    source = folder / "src/hello.cpp"
    source.write_text(source.read_text().replace("GUESTHOUSE_PROCESS(Echo)", ""))
    with pytest.raises(BuildError, match=r"it has no process: .*GUESTHOUSE_PROCESS\(YourClass\)"):
        build_package(folder)


def test_go_that_is_not_installed_is_named_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scaffold("hello", "a.os", "go", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=r"install Go 1.24 or newer from https://go.dev/dl"):
        build_package(folder)


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_the_workspace_that_a_build_of_go_writes_is_no_source_and_one_of_the_author_is(
    tmp_path: Path,
) -> None:
    folder = build_package(scaffold("hello", "a.os", "go", tmp_path))
    workspace = folder / "go.work"
    assert workspace.is_file()
    assert not needs_build(folder)
    workspace.write_text(workspace.read_text().partition("\n")[2])
    assert needs_build(folder)


@pytest.mark.parametrize(
    "said",
    [
        "As a reminder, you're using offline mode (--offline) which can sometimes cause surprising failures",
        "warning: spurious network error (1 try remaining): [7] Could not connect to server",
    ],
)
def test_crates_that_cannot_be_downloaded_are_told_with_what_to_do(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    folder = make_package(MANIFEST + '[process.build]\nlanguage = "rust"\nsource = "crate"\n')
    (folder / "crate").mkdir()
    (tmp_path / "bin").mkdir()
    cargo = tmp_path / "bin/cargo"
    cargo.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 101\n')
    cargo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{cargo.parent}:/usr/bin:/bin")
    with pytest.raises(BuildError, match="run 'cargo fetch' in it once with a network"):
        build_package(folder)


def test_rust_without_cargo_says_so(make_package: MakePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_package(MANIFEST + '[process.build]\nlanguage = "rust"\nsource = "crate"\n')
    (folder / "crate").mkdir()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=r"cargo is not installed, and .*crate needs it: install Rust from "):
        build_package(folder)
