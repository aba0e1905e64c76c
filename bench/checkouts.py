"""Compares the CPU time per message of this checkout and others, to show whether a change made it more expensive.

    python bench/checkouts.py FOLDER… [--rounds N] [--seconds S] [--connections N] [--bytes N] [--binary] [--session]
    python bench/checkouts.py --python ENVIRONMENT/bin/python… [--rounds N] …

Each folder is a checkout with a `.venv` of its own and its samples built. With `--python` it is this checkout, run by
other interpreters, in whose environments it is installed. Nodes run side by side and are loaded in turn (A B C A B C
…). CPU time is compared, because messages per second depend on the machine's other load.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import compiled
from load import load
from servers import ROOT, Server, environment
from usage import children, cpu_seconds

SAMPLES: Final = ("echo-c", "echo")
SIZE: Final = 128
_STOP_SECONDS: Final = 20


@contextlib.contextmanager
def node_of(checkout: Path, python: Path | None = None) -> Iterator[Server]:
    """A node of a checkout, with one worker and the samples that echo; by its own interpreter or another."""
    with tempfile.TemporaryDirectory(prefix="guesthouse-bench-") as home:
        compiled.give(Path(home))
        folders = [str(checkout / "sample_processes" / name) for name in SAMPLES]
        command = [str(python or checkout / ".venv/bin/python"), "-m", "guesthouse", "run", "--home", home]
        command += ["--port", "0", "--workers", "1", *folders]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("ready"):
                raise SystemExit(f"the node of {checkout} did not start: `guesthouse run` there says why")
            yield Server("ws://" + urlsplit(line.split()[1]).netloc, process.pid)
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
            if process.stdout is not None:
                process.stdout.close()


def version_of(python: Path) -> str:
    """The name of an interpreter, such as `Python 3.13.0`."""
    return subprocess.run([python, "-V"], check=True, capture_output=True, text=True).stdout.strip()


def spent(server: Server) -> tuple[float, float]:
    """CPU seconds of the node and of its worker so far."""
    return cpu_seconds(server.pid), sum(map(cpu_seconds, children(server.pid)))


def main() -> None:
    """Measure and print each round, then the medians."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="other checkouts")
    parser.add_argument("--python", nargs="+", type=Path, default=[], help="other interpreters")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load in each measurement")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--bytes", type=int, default=SIZE, help="of a message")
    parser.add_argument("--binary", action="store_true", help="instead of text")
    parser.add_argument("--session", action="store_true", help="by resumable channels")
    options: Any = parser.parse_args()
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with contextlib.ExitStack() as stack:
        nodes = {
            folder.name: stack.enter_context(node_of(folder))
            for folder in (ROOT, *map(Path.resolve, options.folders))
        }
        for python in options.python:
            nodes[version_of(python)] = stack.enter_context(node_of(ROOT, python))
        for _ in range(options.rounds):
            for sample in SAMPLES:
                for name, node in nodes.items():
                    before = spent(node)
                    path = f"/{sample}:{sample}:guesthouse.os/public"
                    messages = load(
                        node.url + path, options.connections, options.bytes, options.seconds,
                        text=not options.binary, session=options.session,
                    )["messages"]  # fmt: skip
                    took = [
                        1e6 * (now - then) / messages for then, now in zip(before, spent(node), strict=True)
                    ]
                    found.setdefault((sample, name), []).append((took[0], took[1]))
                    print(f"{sample:8} {name:16} {messages:8} messages, µs of CPU each: "
                          f"node {took[0]:6.2f}, worker {took[1]:6.2f}", flush=True)  # fmt: skip
    print("\nmedians, µs of CPU a message; of this checkout to the others, of the ratios of the rounds")
    for (sample, name), rounds in found.items():
        node_cost, worker_cost = (median(column) for column in zip(*rounds, strict=True))
        print(f"{sample:8} {name:16} node {node_cost:6.2f}, worker {worker_cost:6.2f}", end="")
        pairs = list(zip(found[sample, ROOT.name], rounds, strict=True))
        of_node, of_worker = (median(own[at] / other[at] for own, other in pairs) for at in (0, 1))
        print("" if name == ROOT.name else f": {of_node:.2f}x, {of_worker:.2f}x")


if __name__ == "__main__":
    main()
