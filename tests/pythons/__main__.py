"""The tests with every Python that is found here: `python -m tests.pythons [VERSION]… [-- PYTEST_ARG…]`.

Interpreters are looked for in pyenv's versions, on the PATH and among Debian's; the newest of each version is taken.
Each gets a virtual environment of its own in `build/pythons`, made anew when `pyproject.toml` has changed. Without
arguments for pytest those tests run that see an interpreter's own behaviour: unit, boundary and some of a whole node.

A version that Guesthouse supports and that is not found is named, and does not fail. One that is newer than those is
tried where it is found, and reported: it does not fail either.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
ENVIRONMENTS: Final = ROOT / "build/pythons"
SUPPORTED: Final = ("3.11", "3.12", "3.13", "3.14")
TRIED: Final = ("3.15",)
"""Newer than what is supported: tried, and reported."""

TESTS: Final = (
    *("tests/unit", "tests/boundary"),
    *("tests/e2e/test_channels.py", "tests/e2e/test_confinement.py", "tests/e2e/test_packages.py"),
    *("tests/e2e/test_http_protocol.py", "tests/e2e/test_runtime_modules.py", "tests/e2e/test_lifecycle.py"),
    *("tests/clients/test_python_session.py", "tests/clients/test_python_client.py"),
)

_ASKED: Final = """
import ctypes, json, platform, sys, sysconfig
try:
    import ensurepip, venv
    lacks = None
except ImportError as error:
    lacks = f"it has no {error.name}"
if platform.python_implementation() != "CPython":
    lacks = f"it is {platform.python_implementation()}"
elif sysconfig.get_config_var("Py_GIL_DISABLED"):
    lacks = "it runs without the GIL"
print(json.dumps([list(sys.version_info), lacks]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine. `lacks` says why it cannot be used, if so."""

    path: Path
    version: tuple[int, int, int, str, int]
    lacks: str | None

    @property
    def minor(self) -> str:
        """Such as `3.14`."""
        return f"{self.version[0]}.{self.version[1]}"


def main(arguments: Sequence[str]) -> int:
    """Try each; returns the exit code."""
    wanted, pytest_args = _options(arguments)
    found = newest(asked for path in candidates(os.environ, Path.home()) if (asked := ask(path)) is not None)
    outcomes: dict[str, str] = {}
    failed = False
    for minor in wanted:
        interpreter = found.get(minor)
        if interpreter is None or interpreter.lacks:
            outcomes[minor] = (
                "not found" if interpreter is None else f"{interpreter.path}: {interpreter.lacks}"
            )
            continue
        print(f"== Python {minor}: {interpreter.path}", flush=True)
        began = time.monotonic()
        code = _try(interpreter, pytest_args)
        outcomes[minor] = f"{'failed' if code else 'passed'} in {time.monotonic() - began:.0f} s"
        failed |= code != 0 and minor in SUPPORTED
    for minor, outcome in outcomes.items():
        print(f"== Python {minor}: {outcome}", flush=True)
    return 1 if failed else 0


def candidates(environment: Mapping[str, str], user_home: Path) -> list[Path]:
    """Where the interpreters of those versions may be."""
    pyenv = Path(environment.get("PYENV_ROOT") or user_home / ".pyenv") / "versions"
    names = [f"python{minor}" for minor in (*SUPPORTED, *TRIED)]
    folders = [Path(folder) for folder in environment.get("PATH", "").split(os.pathsep) if folder]
    folders += [folder for folder in (Path("/usr/bin"), Path("/usr/local/bin")) if folder not in folders]
    found = [home / "bin" / name for home in sorted(pyenv.glob("*")) for name in names]
    found += [folder / name for folder in folders if folder.name != "shims" for name in names]
    return [path for path in found if path.is_file()]


def ask(path: Path) -> Interpreter | None:
    """What an interpreter says of itself; None when it does not run."""
    try:
        said = subprocess.check_output([path, "-I", "-c", _ASKED], stderr=subprocess.DEVNULL, timeout=60)
        version, lacks = json.loads(said)
        major, minor, micro, level, serial = version
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Interpreter(path, (major, minor, micro, level, serial), lacks)


def newest(interpreters: Iterable[Interpreter]) -> dict[str, Interpreter]:
    """The newest of each version, one that can be used before one that cannot."""
    best: dict[str, Interpreter] = {}
    for each in interpreters:
        known = best.get(each.minor)
        if known is None or (each.lacks is None, each.version) > (known.lacks is None, known.version):
            best[each.minor] = each
    return best


def _options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The versions, and what comes after `--`: pytest's."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__.splitlines()[0])
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help=f"[default: {' '.join(SUPPORTED + TRIED)}]"
    )
    versions = parser.parse_args(arguments[:at]).versions or [*SUPPORTED, *TRIED]
    if unknown := set(versions) - {*SUPPORTED, *TRIED}:
        parser.error(f"{', '.join(sorted(unknown))}: give some of {', '.join(SUPPORTED + TRIED)}")
    return versions, list(arguments[at + 1 :])


def _try(interpreter: Interpreter, pytest_args: Sequence[str]) -> int:
    """Install into an environment and test there; returns the exit code of what failed first."""
    folder = ENVIRONMENTS / interpreter.minor
    python = folder / "bin/python"
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet")
    steps: list[tuple[str | Path, ...]] = []
    if not _is_installed(folder, interpreter):
        steps += [
            (interpreter.path, "-m", "venv", "--clear", folder),
            (*pip, "--upgrade", "pip>=25.1"),
            (*pip, "--editable", f"{ROOT}[build]"),
            (
                *pip,
                "--group",
                f"{ROOT / 'pyproject.toml'}:dev",
                "--group",
                f"{ROOT / 'pyproject.toml'}:bench",
                "--editable",
                f"{ROOT / 'clients/python'}[encryption]",
            ),
            (python, "-c", f"open({str(_mark(folder, interpreter))!r}, 'w')"),
        ]
    steps += [
        *((python, "-m", "guesthouse", "build", sample.parent) for sample in _unbuilt()),
        (python, "-m", "pytest", "-o", f"cache_dir={folder / 'pytest_cache'}", *(pytest_args or TESTS)),
    ]
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    for step in steps:
        if code := subprocess.run(step, cwd=ROOT, env=environment, check=False).returncode:
            return code
    return 0


def _mark(folder: Path, interpreter: Interpreter) -> Path:
    """The file that says what was installed, for which interpreter."""
    return folder / f"installed-{'.'.join(map(str, interpreter.version))}"


def _is_installed(folder: Path, interpreter: Interpreter) -> bool:
    mark = _mark(folder, interpreter)
    return mark.is_file() and mark.stat().st_mtime > (ROOT / "pyproject.toml").stat().st_mtime


def _unbuilt() -> list[Path]:
    """The samples, each by its manifest, that have no component yet."""
    manifests = sorted(ROOT.glob("sample_processes/*/package.toml"))
    return [manifest for manifest in manifests if not any(manifest.parent.glob("build/*.wasm"))]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
