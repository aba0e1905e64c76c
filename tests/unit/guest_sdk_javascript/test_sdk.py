"""The SDK for JavaScript: its own tests, which run in Node.js, and its types."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tests.contract_typescript import declared, written
from tests.wit import read_wit

from .conftest import HERE, ROOT, run_node

SDK = ROOT / "guest_sdk/javascript"
CHAT = ROOT / "sample_processes/chat-js"
TESTS = ("sdk.test.ts", "modules.test.ts")
TSC = ("node_modules/typescript/bin/tsc", "--noEmit")


@pytest.mark.slow
def test_its_own_tests_pass(folder: Path) -> None:
    for name in ("app.ts", "counting.ts", "modules.ts", "object.js", *TESTS):
        shutil.copy(HERE / name, folder)
    done = run_node(folder, "--test", "--test-reporter=spec", *TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.thorough
@pytest.mark.slow
def test_the_tests_of_the_sample_pass(folder: Path) -> None:
    shutil.copy(CHAT / "app.ts", folder)
    shutil.copytree(CHAT / "tests", folder / "tests")
    done = run_node(folder, "--test", "--test-reporter=spec", "tests/chat.test.ts")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.thorough
@pytest.mark.slow
def test_sdk_sample_and_tests_have_no_wrong_types(folder: Path) -> None:
    shutil.copy(CHAT / "app.ts", folder / "chat.ts")
    shutil.copy(HERE / "app.ts", folder)
    options = json.loads((CHAT / "tsconfig.json").read_text())["compilerOptions"]
    strictest = json.loads((SDK / "tsconfig.json").read_text())["compilerOptions"]
    files = ["app.ts", "chat.ts", f"{SDK}/src/testing.ts", f"{SDK}/src/entry.ts"]
    for chosen in (options, strictest):
        (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": chosen, "files": files}))
        done = run_node(folder, *TSC)
        assert done.returncode == 0, done.stdout


def test_the_page_of_the_sample_is_that_of_the_chat_in_python() -> None:
    for file in (ROOT / "sample_processes/chat/ui").iterdir():
        assert (CHAT / "ui" / file.name).read_bytes() == file.read_bytes()
    assert len(list((CHAT / "ui").iterdir())) == len(list((ROOT / "sample_processes/chat/ui").iterdir()))


def test_the_types_of_the_contract_declare_what_it_has() -> None:
    interfaces = read_wit(ROOT / "wit").interfaces
    for name, interface in interfaces.items():
        file = SDK / f"contract/interfaces/{re.sub('[:/]', '-', name.partition('@')[0])}.d.ts"
        assert declared(file) == written(interface), name
    assert len(list((SDK / "contract/interfaces").iterdir())) == len(interfaces)


def test_the_sample_is_built_with_the_versions_that_the_tests_use() -> None:
    tested = json.loads((ROOT / "tests/e2e/package.json").read_text())["dependencies"]
    named = json.loads((CHAT / "package.json").read_text())["devDependencies"]
    assert {tool: tested[tool] for tool in named} == named
