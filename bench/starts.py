"""What starts cost in CPU, beside other checkouts: `python bench/starts.py [--rounds 15] FOLDER…`.

Each folder is a checkout with its `.venv`. Runs are interleaved, and a figure is the median. CPU time is counted by the
kernel, of a node and of its workers until the line `ready`, and of whole commands.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Final

_COMMANDS: Final = (("ps",), ("ps", "--json"), ("token",), ("--help",))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("folders", nargs="+", type=Path)
    given = parser.parse_args()
    seconds: dict[tuple[str, Path], list[float]] = defaultdict(list)
    for number in range(given.rounds + 1):  # the first round writes bytecode
        for folder in given.folders:
            for what, taken in _one_round(folder.absolute()).items():
                if number:
                    seconds[what, folder].append(taken)
    for (what, folder), figures in sorted(seconds.items()):
        print(f"{what:<12} {folder!s:<30} {1000 * median(figures):6.0f} ms")


def _one_round(folder: Path) -> dict[str, float]:
    """Seconds of CPU by what took them."""
    guesthouse = [str(folder / ".venv/bin/python"), "-m", "guesthouse"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="guesthouse-bench-") as place:
        home = ["--home", f"{place}/home"]
        node = subprocess.Popen(
            [*guesthouse, "run", *home, "--port", "0", "--workers", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert node.stdout is not None
        with node, node.stdout:
            try:
                assert node.stdout.readline().startswith(b"ready ")
                workers = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
                found = {"node": _cpu(node.pid), "worker": sum(map(_cpu, map(int, workers)))}
                for command in _COMMANDS:
                    before = _cpu_of_children()
                    where = [] if command == ("--help",) else home
                    subprocess.run(
                        [*guesthouse, *command, *where], capture_output=True, env=environment, check=True
                    )
                    found[" ".join(command)] = _cpu_of_children() - before
            finally:
                node.send_signal(signal.SIGTERM)
    return found


def _cpu(pid: int) -> float:
    """Seconds that all threads of an OS process have had so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
