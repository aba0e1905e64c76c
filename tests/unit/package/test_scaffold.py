"""What `guesthouse new` writes can be built, and its own test passes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from guesthouse.core.errors import BadProcessId
from guesthouse.package.build.build_package import build_package
from guesthouse.package.build.bundler import Bundler
from guesthouse.package.build.javascript import node_of_wheel
from guesthouse.package.build.scaffold import scaffold
from guesthouse.package.build.template_names import TEMPLATES
from guesthouse.package.errors import PackageError
from guesthouse.package.format.load import read_manifest

MODULES = Path(__file__).parents[2] / "e2e/node_modules"


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_package_has_a_manifest_that_is_read_and_a_source_that_exists(
    tmp_path: Path, template: str
) -> None:
    folder = scaffold("hello", "a.os", template, tmp_path)
    (process,) = read_manifest(folder).processes
    assert str(process.id) == "hello:hello:a.os"
    assert process.build is not None
    assert (folder / process.build.source).is_file()


def of(language: str) -> list[str]:
    """The templates in a language."""
    return [name for name in TEMPLATES if name.partition("-")[0] == language]


@pytest.mark.parametrize("template", TEMPLATES)
def test_nothing_of_a_template_is_left_in_the_text(tmp_path: Path, template: str) -> None:
    folder = scaffold("hello", "a.os", template, tmp_path)
    for path in filter(Path.is_file, folder.rglob("*")):
        assert "{name}" not in path.read_text()
        assert path.suffix != ".template"
    with_page = template.endswith("-chat") and not template.startswith("rust")
    assert (folder / "ui/index.html").is_file() is with_page


@pytest.mark.parametrize("template", of("c"))
def test_a_new_c_package_builds(tmp_path: Path, template: str) -> None:
    folder = build_package(scaffold("hello", "a.os", template, tmp_path))
    assert (folder / "build/hello.wasm").read_bytes().startswith(b"\0asm")


@pytest.mark.slow
@pytest.mark.parametrize("template", [*of("cpp"), *of("go")])
def test_a_new_package_of_a_compiled_language_builds(tmp_path: Path, template: str) -> None:
    if template.startswith("go") and shutil.which("go") is None:
        pytest.skip("Go is not installed")
    folder = build_package(scaffold("hello", "a.os", template, tmp_path))
    assert (folder / "build/hello.wasm").read_bytes().startswith(b"\0asm")


@pytest.mark.parametrize("template", of("python"))
def test_a_new_python_package_passes_its_own_test(tmp_path: Path, template: str) -> None:
    folder = scaffold("hello", "a.os", template, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "guesthouse.pytest_plugin", "-p", "no:cacheprovider"],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("template", [*of("typescript"), *of("javascript")])
def test_a_new_javascript_package_passes_its_own_test_and_what_is_in_it_can_be_built(
    tmp_path: Path, template: str
) -> None:
    folder = scaffold("hello", "a.os", template, tmp_path)
    (folder / "node_modules").symlink_to(MODULES)
    (process,) = read_manifest(folder).processes
    assert process.build is not None
    with closing(Bundler()) as bundler:
        assert bundler.bundle(folder / process.build.source, "quickjs", print)["bundle.js"]
    node = node_of_wheel()
    assert node is not None
    (test,) = (folder / "tests").iterdir()
    commands = [["--test", str(test)]]
    if template.startswith("typescript"):
        commands.append(["node_modules/typescript/bin/tsc", "--noEmit"])
    for command in commands:
        done = subprocess.run([node, *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("template", ["typescript", "javascript"])
def test_a_new_javascript_package_names_the_tools_that_the_tests_use(tmp_path: Path, template: str) -> None:
    folder = scaffold("hello", "a.os", template, tmp_path)
    package = json.loads((folder / "package.json").read_text())
    tested = json.loads((MODULES.parent / "package.json").read_text())["dependencies"]
    assert package["name"] == "hello"
    assert {tool: tested[tool] for tool in package["devDependencies"]} == package["devDependencies"]


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    with pytest.raises(PackageError, match="choose another name"):
        scaffold("hello", "a.os", "c", tmp_path)


def test_a_name_that_no_process_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadProcessId):
        scaffold("../up", "a.os", "c", tmp_path)
    assert not any(tmp_path.iterdir())
