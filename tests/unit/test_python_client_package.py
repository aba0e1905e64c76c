"""The package of the Python client says what is so: its name, what it needs, and that it is typed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/python"


def project(path: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return metadata


def test_it_is_named_and_needs_what_the_host_needs() -> None:
    client, host = project(CLIENT / "pyproject.toml"), project(ROOT / "pyproject.toml")
    assert client["name"] == "guesthouse-client"
    for field in ("version", "requires-python", "license"):
        assert client[field] == host[field]
    assert set(client["dependencies"]) <= set(host["dependencies"])
    assert set(client["optional-dependencies"]["encryption"]) <= set(host["dependencies"])


def test_what_is_packed_is_there_and_typed() -> None:
    assert (CLIENT / project(CLIENT / "pyproject.toml")["readme"]).is_file()
    assert (CLIENT / "guesthouse_client/py.typed").is_file()


def test_it_imports_nothing_of_the_host_and_its_session_no_io() -> None:
    for path in (CLIENT / "guesthouse_client").glob("*.py"):
        imported = re.findall(r"^\s*(?:from|import) ([\w.]+)", path.read_text(), re.MULTILINE)
        assert not [name for name in imported if name.split(".")[0] in ("guesthouse", "guesthouse_sdk")], path
        if path.name in ("_session.py", "_kept.py", "_control.py", "_inbox.py", "_backoff.py"):
            io = {"asyncio", "socket", "ssl", "time", "websockets"}
            assert not io & {name.split(".")[0] for name in imported}, path


def test_the_documentation_has_each_option() -> None:
    text = (ROOT / "docs/clients.md").read_text()
    section = text[text.index("\n## Python\n") : text.index("\n## Requests\n")]
    source = (CLIENT / "guesthouse_client/channel.py").read_text()
    signature = source[source.index("class connect:") :]
    signature = signature[signature.index("def __init__") : signature.index(") -> None:")]
    options = set(re.findall(r"^        (\w+): ", signature, re.MULTILINE))
    assert {"url", "on_lost"} <= options
    assert {option for option in options if f"`{option}" not in section} == set()
