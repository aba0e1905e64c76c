"""The SDK for Rust: its own tests and those of the sample, run by cargo, and what it has to agree with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest
from tests.rust import cargo, needs_cargo
from tests.wit import read_wit

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
SDK: Final = ROOT / "guest_sdk/rust"
CHAT: Final = ROOT / "sample_processes/chat-rust"
CRATES: Final = (SDK, CHAT, HERE / "app")


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("crate", [HERE / "app", CHAT], ids=["sdk", "sample"])
def test_its_own_tests_pass(crate: Path) -> None:
    needs_cargo()
    said = cargo(crate, "test", "--locked", "--quiet")
    assert re.search(r"test result: ok. \d\d passed; 0 failed; 0 ignored", said), said
    assert "warning" not in said


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_examples_in_its_documentation_are_right() -> None:
    needs_cargo()
    said = cargo(SDK, "test", "--locked", "--quiet", "--doc")
    assert re.search(r"test result: ok. \d+ passed; 0 failed", said), said


def test_the_page_of_the_sample_is_that_of_the_chat_in_python() -> None:
    ours, theirs = (
        {file.name: file.read_bytes() for file in (ROOT / f"sample_processes/{name}/ui").iterdir()}
        for name in ("chat-rust", "chat")
    )
    assert ours == theirs


def test_the_fake_host_has_each_call_of_the_contract() -> None:
    """That each is of the contract's types is checked by the compiler, which takes one or the other."""
    calls = (SDK / "src/testing/calls.rs").read_text()
    modules = dict(re.findall(r"^pub mod (\w+) \{\n(.*?)^\}", calls, re.MULTILINE | re.DOTALL))
    for name, interface in read_wit(ROOT / "wit").interfaces.items():
        functions = {function.replace("-", "_") for function in interface.functions}
        module = re.split("[/@]", name)[1].replace("-", "_")
        if functions and module != "guest":
            assert functions == set(re.findall(r"^    pub fn (\w+)", modules[module], re.MULTILINE)), name


def test_all_crates_lock_the_same_versions() -> None:
    """So that what one has compiled is there for the others."""
    found: dict[str, set[str]] = {}
    for crate in CRATES:
        for package in tomllib.loads((crate / "Cargo.lock").read_text())["package"]:
            found.setdefault(package["name"], set()).add(f"{package['version']} {package.get('checksum')}")
    assert {name: versions for name, versions in found.items() if len(versions) > 1} == {}
