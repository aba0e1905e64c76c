"""The contract, what the host offers and what the C SDK asks for are one; so are the folders and their description."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.wit import read_wit

from guesthouse.link.calls import CALLS, BindHttpPath, ClearState
from guesthouse.wasm.abi.value_budget import MAX_VALUES
from guesthouse.wasm.values import MAX_LIST
from guesthouse.worker.calls import (
    capabilities,
    http_server,
    messaging,
    offered,
    spawning,
    system,
    tracing,
)

ROOT = Path(__file__).parents[2]
WIT = read_wit(ROOT / "wit")
IMPORTS = [
    (name, WIT.interfaces[name]) for name in WIT.worlds["process"].imports if WIT.interfaces[name].functions
]


@pytest.mark.parametrize("name", [name for name, _ in IMPORTS])
def test_every_call_of_the_contract_is_offered(name: str) -> None:
    assert [function for function in WIT.interfaces[name].functions if not offered(name, function)] == []


@pytest.mark.parametrize("module", [messaging, http_server, system, capabilities, spawning, tracing])
def test_the_host_offers_nothing_beyond_the_contract(module: object) -> None:
    interface = vars(module)["INTERFACE"]
    (contract,) = (found for name, found in IMPORTS if name.partition("@")[0] == interface)
    assert set(vars(module)["CALLS"]) == set(contract.functions)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in CALLS if kind.interface], ids=lambda kind: kind.__name__)
def test_a_call_for_the_node_is_known_to_its_declaration_and_to_what_carries_it_out(kind: type) -> None:
    host = ROOT / "host/guesthouse"
    uses = re.compile(rf"\b{kind.__name__}\b")
    files = {str(file.relative_to(host)) for file in host.rglob("*.py") if uses.search(file.read_text())}
    by_hand = {"worker/calls/http_server.py"} if kind is BindHttpPath else set()  # static content
    by_hand |= {"worker/calls/kinode.py"} if kind is ClearState else set()  # which has no error for it
    assert "link/calls.py" in files
    assert len({file.partition("/")[0] for file in files - by_hand}) == 2, files
    assert files & {"kernel/messaging/worker_operations.py", "core/ports.py"} == set()


def test_the_c_sdk_imports_every_call_of_the_contract_and_no_other() -> None:
    sources = sorted((ROOT / "guest_sdk/c/src").iterdir())
    text = "\n".join(source.read_text() for source in sources)
    interfaces = dict(re.findall(r'#define (\w+) "(guesthouse:process/[^"]+)"', text))
    used = re.findall(r'^IMPORT\((\w+), "([a-z-]+)"\)', text, re.MULTILINE)
    contract = {(name, function) for name, interface in IMPORTS for function in interface.functions}
    of_run = {(name, function) for name, function in contract if function == "our"}  # `gh_run` is given it
    assert len(of_run) == 1
    assert sorted((interfaces[name], function) for name, function in used) == sorted(contract - of_run)


def test_every_function_of_the_c_sdk_is_used_by_its_test_guest() -> None:
    header = (ROOT / "guest_sdk/c/include/guesthouse.h").read_text()
    declared = set(re.findall(r"^[a-z].*?\b(gh_\w+)\(", header, re.MULTILINE)) - {"gh_run"}
    guest = ROOT / "tests/unit/guest_sdk_c/every_call/src"
    text = "\n".join(source.read_text() for source in guest.glob("*.c"))
    assert len(declared) > 40
    assert {name for name in declared if f"{name}(" not in text} == set()


def test_the_folders_that_the_architecture_names_exist() -> None:
    table = re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    named = [folder for row in table for folder in re.findall(r"`([\w/]+/)`", row)]
    assert "host/guesthouse/kernel/" in named
    for folder in named:
        assert (ROOT / folder).is_dir() or (ROOT / "host/guesthouse" / folder).is_dir(), folder


def test_what_one_call_may_pass_is_what_contract_and_documentation_say() -> None:
    for path in ("wit/world.wit", "docs/protocol.md"):
        text = " ".join((ROOT / path).read_text().replace("///", "").split())
        assert f"at most {MAX_LIST:,} elements" in text, path
        assert f"{MAX_VALUES:,} values" in text, path


def test_what_is_built_is_not_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = [Path(name) for name in listed.stdout.split("\0") if name]  # none outside of a checkout
    assert [
        str(file)
        for file in files
        if {"target", "node_modules"} & set(file.parts) or file.suffix in (".wasm", ".rlib")
    ] == []
    assert [
        str(file) for file in files if (ROOT / file).is_file() and (ROOT / file).stat().st_size > 1 << 20
    ] == []


def test_no_two_conftests_have_one_name() -> None:
    """pytest refuses the second, but only in a run that takes both: `make test`."""
    names: dict[str, Path] = {}
    for file in sorted((ROOT / "tests").rglob("conftest.py")):
        folder = file.parent
        while (folder / "__init__.py").exists():
            folder = folder.parent
        name = ".".join(file.relative_to(ROOT if folder == file.parent else folder).with_suffix("").parts)
        assert name not in names, (
            f"{file} and {names[name]} are both {name}: remove __init__.py from one of the folders"
        )
        names[name] = file
