"""TypeScript to components: what is built when, and what is said when it cannot be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.tiers import thorough_after

from guesthouse.package.build import javascript
from guesthouse.package.build.build_package import build_package, needs_build
from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.errors import BuildError

pytestmark = pytest.mark.slow

MODULES = Path(__file__).parents[2] / "e2e/node_modules"
_MANIFEST = """\
[package]
name = "app"
publisher = "a.os"
version = "0.1.0"

[[process]]
name = "app"
wasm = "build/app.wasm"

[process.build]
language = "javascript"
source = "app.ts"
"""
_APP = """\
import { Process } from "@guesthouse/sdk";

export default class App extends Process {}
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "package.toml").write_text(_MANIFEST)
    (folder / "app.ts").write_text(_APP)
    (folder / "node_modules").symlink_to(MODULES)
    return folder


def failure(app: Path) -> list[str]:
    """What a build that fails says."""
    with pytest.raises(BuildError) as caught:
        build_package(app)
    assert "cannot be built: fix the errors above" in str(caught.value)
    return caught.value.output.splitlines()


@pytest.mark.thorough
def test_only_what_changed_is_built_and_editors_find_the_sdk(app: Path) -> None:
    build_package(app)
    assert not needs_build(app)
    assert (app / "node_modules/@guesthouse/sdk").resolve() == sdk_folder("javascript")
    for name, text in (
        ("app.ts", _APP + "// edited\n"),
        ("package.toml", _MANIFEST + 'engine = "quickjs"\n'),
    ):
        (app / name).write_text(text)
        assert needs_build(app)
        build_package(app)
        assert not needs_build(app)


@pytest.mark.thorough
def test_another_version_of_a_tool_builds_again(app: Path) -> None:
    build_package(app)
    (app / "node_modules").unlink()
    shutil.copytree(MODULES / "esbuild", app / "node_modules/esbuild")
    assert needs_build(app)


def test_a_mistake_is_told_with_its_place_first(app: Path) -> None:
    (app / "app.ts").write_text(_APP + "let let;\nimport nothing from './nothing.ts';\n")
    first, shown, *_ = failure(app)
    assert first.split("/")[-1].startswith("app.ts:4:5: error:")
    assert shown == "  let let;"


@pytest.mark.thorough
def test_what_fails_while_the_component_is_made_is_told_in_the_lines_of_the_source(app: Path) -> None:
    (app / "app.ts").write_text(
        _APP + 'function wrong(): never {\n  throw new Error("at the top");\n}\nwrong();\n'
    )
    said = "\n".join(failure(app))
    assert "at the top" in said
    assert "app.ts:5" in said


@pytest.mark.thorough
def test_an_app_that_exports_nothing_is_told_what_to_export(app: Path) -> None:
    (app / "app.ts").write_text("export const nothing = 1;\n")
    said = "\n".join(failure(app))
    assert "app.ts: it cannot be made a component: the app has no default export" in said
    assert "app.ts:1)" in said
    assert "guesthouse-entry" not in said


@pytest.mark.parametrize(
    ("module", "remedy"),
    thorough_after(
        1,
        [
            ("lodash/fp", "run 'npm install lodash' in the package's folder"),
            ("@a/b/c", "run 'npm install @a/b' in the package's folder"),
            ("node:fs", "components have no modules of Node.js"),
            ("fs/promises", "components have no modules of Node.js"),
            ("./inner", ""),
        ],
        names=2,
    ),
)
def test_a_module_that_is_not_found_is_told_with_what_to_do(app: Path, module: str, remedy: str) -> None:
    (app / "app.ts").write_text(f'import x from "{module}";\nconsole.log(x);\n{_APP}')
    said = failure(app)
    assert f'app.ts:1:15: error: Could not resolve "{module}"' in said[0]
    notes = [line for line in said if line.startswith("  note: ")]
    assert len(notes) == bool(remedy)
    assert all(remedy in note for note in notes)


def test_a_tool_that_is_not_there_is_named_with_how_to_get_it(app: Path) -> None:
    (app / "node_modules").unlink()
    assert failure(app) == [
        f"{app}/app.ts needs esbuild, which is not installed: run 'npm install' in its package's folder"
    ]


def test_without_nodejs_it_is_named(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(javascript, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match=r"Node.js is not installed, and .*app.ts needs it"):
        build_package(app)
