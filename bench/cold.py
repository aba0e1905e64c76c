"""Cold starts: a guest in a running worker, and a whole node with ten packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Final

import compiled as compiled_parts
from guesthouse.link.to_node import Push, Started
from results import Column, Effort, Goal, Result, Table
from run import only
from servers import SAMPLES, component, environment, guesthouse, package
from worker_link import Worker, compiled, worker

SMALL: Final = "C guest"
PYTHON: Final = "Python guest"
_GUESTS: Final = {SMALL: "echo-c", PYTHON: "echo"}
_STARTS_A_ROUND: Final = 10
_PYTHON_SAMPLES: Final = ("chat", "counter", "echo", "extension-demo", "seed-chat")
_C_PACKAGES: Final = 5
_CHANNEL: Final = 7


def run(effort: Effort) -> Result:
    """Measure guests, then nodes."""
    result = Result("cold", "Cold starts")
    guests = Table("a cached component to its first message handled", [Column("time", "ms", 2)])
    for _ in range(effort.rounds):
        for name, guest in _GUESTS.items():
            path = compiled(component(guest))
            with worker() as one:
                guests.add(f"Guesthouse, {name}, new to its worker", time=1000 * first_message(one, path))
                one.start(path)  # keeps the component loaded
                one.expect(Started)
                for _ in range(effort.count(_STARTS_A_ROUND)):
                    guests.add(
                        f"Guesthouse, {name}, known to its worker", time=1000 * first_message(one, path)
                    )
    nodes = Table("the command to `ready`", [Column("time", "ms", 0)])
    with tempfile.TemporaryDirectory(prefix="guesthouse-bench-") as folder:
        homes = {
            "Guesthouse, no package": Path(folder) / "empty",
            "Guesthouse, 10 packages": _installed(Path(folder), effort),
        }
        for _ in range(effort.rounds + 1):  # the first run compiles and creates files
            for name, home in homes.items():
                nodes.add(name, time=1000 * _ready(home))
    for cells in nodes.rows.values():
        del cells["time"][0]
    result.tables = [guests, nodes]
    known = {name: guests.rounds(f"Guesthouse, {name}, known to its worker", "time") for name in _GUESTS}
    result.goals = [
        Goal("C guest, first message handled", 1.0, known[SMALL], unit="ms"),
        Goal("Python guest, first message handled", 4.0, known[PYTHON], unit="ms"),
        Goal(
            "node with 10 packages, ready", 400.0, nodes.rounds("Guesthouse, 10 packages", "time"), unit="ms"
        ),
    ]
    result.notes.append(
        "The ten packages are the five Python samples and five C guests; a component that a worker has not had "
        "yet is mapped and linked once for all of its guests."
    )
    return result


def first_message(one: Worker, path: Path) -> float:
    """Seconds from START to the answer of the first message; the guest is stopped afterwards."""
    begin = perf_counter()
    handle = one.start(path)
    one.expect(Started)
    one.open(handle, _CHANNEL)
    one.push(handle, _CHANNEL, b"hello")
    one.expect(Push)
    seconds = perf_counter() - begin
    one.stop(handle)
    return seconds


def _ready(home: Path) -> float:
    """Seconds from the command to the `ready` line."""
    begin = perf_counter()
    with guesthouse(home=home):
        return perf_counter() - begin


def _installed(folder: Path, effort: Effort) -> Path:
    """A home with ten packages installed; fewer Python ones with less effort, as they take long to compile."""
    python = round(effort.scale * len(_PYTHON_SAMPLES))
    packages = [package(name) for name in _PYTHON_SAMPLES[:python]]
    packages += [_renamed("echo-c", f"small-{number}", folder) for number in range(_C_PACKAGES)]
    home = folder / "home"
    compiled_parts.give(home)
    for each in packages:
        command = [sys.executable, "-m", "guesthouse", "install", "--home", str(home), str(each)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        if done.returncode:
            raise SystemExit(f"{each} cannot be installed: {done.stderr}")
    compiled_parts.keep(home)
    return home


def _renamed(sample: str, name: str, folder: Path) -> Path:
    """A sample package under another name, with the same component."""
    manifest = (package(sample) / "package.toml").read_text().partition("[process.build]")[0]
    target = folder / name
    (target / "build").mkdir(parents=True)
    (target / "package.toml").write_text(manifest.replace(f'"{sample}"', f'"{name}"'))
    shutil.copy(SAMPLES / sample / "build" / f"{sample}.wasm", target / "build")
    return target


if __name__ == "__main__":
    only(run)
