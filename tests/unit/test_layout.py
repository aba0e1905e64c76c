"""The contract, what the host offers and what the C SDK asks for are one; so are the folders and their description."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guesthouse.package.wit import read_wit
from guesthouse.worker.calls import capabilities, http_server, messaging, offered, spawning, system

ROOT = Path(__file__).parents[2]
WIT = read_wit(ROOT / "wit")
IMPORTS = [
    (name, WIT.interfaces[name]) for name in WIT.worlds["process"].imports if WIT.interfaces[name].functions
]


@pytest.mark.parametrize("name", [name for name, _ in IMPORTS])
def test_every_call_of_the_contract_is_offered(name: str) -> None:
    assert [function for function in WIT.interfaces[name].functions if not offered(name, function)] == []


@pytest.mark.parametrize("module", [messaging, http_server, system, capabilities, spawning])
def test_the_host_offers_nothing_beyond_the_contract(module: object) -> None:
    interface = vars(module)["INTERFACE"]
    (contract,) = (found for name, found in IMPORTS if name.partition("@")[0] == interface)
    assert set(vars(module)["CALLS"]) == set(contract.functions)


def test_the_c_sdk_imports_calls_of_the_contract() -> None:
    source = (ROOT / "guest_sdk/c/src/guesthouse.c").read_text()
    interfaces = dict(re.findall(r'#define (\w+) "(guesthouse:process/[^"]+)"', source))
    used = re.findall(r'^IMPORT\((\w+), "([a-z-]+)"\)', source, re.MULTILINE)
    assert len(used) > 10
    for interface, function in used:
        assert function in WIT.interfaces[interfaces[interface]].functions


def test_the_folders_that_the_architecture_names_exist() -> None:
    table = re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    named = [folder for row in table for folder in re.findall(r"`([\w/]+/)`", row)]
    assert "host/guesthouse/kernel/" in named
    for folder in named:
        assert (ROOT / folder).is_dir() or (ROOT / "host/guesthouse" / folder).is_dir(), folder
