"""The Pythons that are supported are the same wherever they are named; `make test-pythons` finds those of a machine."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path

from tests.pythons.__main__ import SUPPORTED, TRIED, Interpreter, ask, candidates, newest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_package_readme_and_continuous_integration_name_the_same() -> None:
    classifiers = re.findall(
        r"'Programming Language :: Python :: (3\.\d+)'", str(PROJECT["project"]["classifiers"])
    )
    assert tuple(classifiers) == SUPPORTED
    assert PROJECT["project"]["requires-python"] == f">={SUPPORTED[0]}"
    readme = (ROOT / "README.md").read_text()
    assert f"CPython {', '.join(SUPPORTED[:-1])} or {SUPPORTED[-1]}" in readme
    matrix = (ROOT / ".github/workflows/tests.yml").read_text()
    named = ", ".join(f'"{each}"' for each in SUPPORTED)
    assert f"python: [{named}]" in matrix
    assert re.findall(r'- python: "(3\.\d+)', matrix) == list(TRIED)


def test_this_python_is_found_on_the_path_and_in_pyenv(tmp_path: Path) -> None:
    on_path, of_pyenv = (
        tmp_path / "bin" / f"python{HERE}",
        tmp_path / "pyenv/versions/x/bin" / f"python{HERE}",
    )
    for link in (on_path, of_pyenv):
        link.parent.mkdir(parents=True)
        link.symlink_to(os.path.realpath(sys.executable))
    environment = {"PATH": str(on_path.parent), "PYENV_ROOT": str(tmp_path / "pyenv")}
    found = candidates(environment, tmp_path)
    assert found[:2] == [of_pyenv, on_path]
    asked = ask(on_path)
    assert asked is not None
    assert (asked.minor, asked.version[:3], asked.lacks) == (HERE, sys.version_info[:3], None)


def test_what_is_no_python_is_none(tmp_path: Path) -> None:
    program = tmp_path / "python3.12"
    program.write_text("#!/bin/sh\necho nonsense\n")
    program.chmod(0o755)
    assert ask(program) is None
    program.write_text("#!/bin/sh\nexit 3\n")
    assert ask(program) is None
    assert ask(tmp_path / "none") is None


def test_the_newest_of_a_version_that_can_be_used_is_taken() -> None:
    def of(micro: int, lacks: str | None = None, level: str = "final") -> Interpreter:
        return Interpreter(Path(f"/{micro}"), (3, 14, micro, level, 0), lacks)

    assert newest([of(1), of(2), of(9, "it has no venv"), of(0)]) == {"3.14": of(2)}
    assert newest([of(9, "it has no venv")])["3.14"].lacks
    assert newest([of(0), of(0, level="candidate")]) == {"3.14": of(0)}
