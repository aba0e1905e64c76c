"""What `guesthouse new` writes can be built, and its own test passes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path, PurePosixPath

import pytest
from tests.tiers import thorough_after, thorough_but

from guesthouse.core.errors import BadProcessId
from guesthouse.package.build.build_package import build_package
from guesthouse.package.build.bundler import Bundler
from guesthouse.package.build.javascript import link_sdk, node_of_wheel
from guesthouse.package.build.scaffold import scaffold
from guesthouse.package.build.sdk_files import sdk_folder
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
        assert "{" not in path.name
    assert "/build/" in (folder / ".gitignore").read_text().splitlines()
    with_page = template.endswith("-chat") and not template.startswith("rust")
    assert (folder / "ui/index.html").is_file() is with_page


@pytest.mark.slow
@pytest.mark.parametrize("template", thorough_after(1, of("c")))
def test_a_new_c_package_builds(tmp_path: Path, template: str) -> None:
    folder = build_package(scaffold("hello", "a.os", template, tmp_path))
    assert (folder / "build/hello.wasm").read_bytes().startswith(b"\0asm")


@pytest.mark.slow
@pytest.mark.parametrize("template", thorough_after(1, of("python")))
def test_a_new_python_package_passes_its_own_test(tmp_path: Path, template: str) -> None:
    passes(scaffold("hello.world~1", "a.os", template, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("template", thorough_but([*of("c"), *of("cpp"), *of("go")], "c"))
def test_a_new_package_of_a_compiled_language_is_built_and_passes_its_own_test(
    tmp_path: Path, template: str
) -> None:
    if template.startswith("go") and shutil.which("go") is None:
        pytest.skip("Go is not installed")
    passes(scaffold("std", "a.os", template, tmp_path))
    assert (tmp_path / "std/build/std.wasm").read_bytes().startswith(b"\0asm")


@pytest.mark.parametrize(
    ("name", "crate"),
    [
        ("hello", "hello"),
        ("9lives", "process-9lives"),
        ("a.b~c", "a-b-c"),
        ("guesthouse", "process-guesthouse"),
    ],
)
def test_the_crate_of_a_package_has_a_name_that_cargo_takes(tmp_path: Path, name: str, crate: str) -> None:
    folder = scaffold(name, "a.os", "rust", tmp_path)
    assert f'name = "{crate}"' in (folder / "Cargo.toml").read_text()
    assert read_manifest(folder).processes[0].wasm == PurePosixPath(f"build/{name}.wasm")


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_readme_says_how_its_test_is_run(tmp_path: Path, template: str) -> None:
    folder = scaffold("hello", "a.os", template, tmp_path)
    command = {"rust": "cargo test", "typescript": "npm test", "javascript": "npm test"}
    readme = (folder / "README.md").read_text()
    assert f"    {command.get(template.partition('-')[0], 'pytest')} " in readme
    if template.endswith("-http"):
        assert 'curl -X PUT -d \'{"text": "hello"}\' http://127.0.0.1:8080/hello:hello:a.os/note' in readme


def passes(folder: Path) -> None:
    """Run the tests of a new package, as its README says."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "guesthouse.pytest_plugin", "-p", "no:cacheprovider"],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("template", thorough_but([*of("typescript"), *of("javascript")], "typescript"))
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
    script = json.loads((folder / "package.json").read_text())["scripts"]["test"]
    assert script.startswith("node --import @guesthouse/sdk/typescript --test tests/*.test.")
    commands = [["--import", "@guesthouse/sdk/typescript", "--test", str(test)]]
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
    assert package["devDependencies"].pop("@guesthouse/sdk") == "file:.guesthouse/javascript"
    assert {tool: tested[tool] for tool in package["devDependencies"]} == package["devDependencies"]
    assert (folder / ".guesthouse/javascript").resolve() == sdk_folder("javascript")


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_npm_links_the_sdk_and_leaves_it_there(tmp_path: Path) -> None:
    folder = scaffold("hello", "a.os", "javascript", tmp_path)
    package = json.loads((folder / "package.json").read_text())
    package["devDependencies"] = {"@guesthouse/sdk": package["devDependencies"]["@guesthouse/sdk"]}
    (folder / "package.json").write_text(json.dumps(package))
    sdk = folder / "node_modules/@guesthouse/sdk"
    for _ in range(2):  # the second finds a `node_modules` that is there
        command = ["npm", "install", "--offline", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        assert sdk.resolve() == sdk_folder("javascript")
    (folder / ".guesthouse/javascript").unlink()  # as in a clone, until it is built
    link_sdk(folder, sdk_folder("javascript"))
    assert sdk.resolve() == sdk_folder("javascript")


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    with pytest.raises(PackageError, match="choose another name"):
        scaffold("hello", "a.os", "c", tmp_path)


def test_a_name_that_no_process_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadProcessId):
        scaffold("../up", "a.os", "c", tmp_path)
    assert not any(tmp_path.iterdir())
