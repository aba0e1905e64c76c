"""What the sandbox costs: echo through Guesthouse beside a bare `websockets` server, in one run.

Rounds are interleaved (A B C A B C …), so that a noisy machine is noisy for all; medians are shown
with the lowest and the highest round. Ratios are against the bare server.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from servers import ROOT, bare_websockets, guesthouse

RESULTS = ROOT / "bench" / "results"
BARE = "bare websockets"
SHAPES = ((1, 128), (50, 128))
"""Connections, and bytes of text."""

Round = dict[str, float]


def load(url: str, connections: int, size: int, seconds: float) -> Round:
    """Load one server for some seconds from a process of its own."""
    command = [sys.executable, str(ROOT / "bench/load.py"), url, "--connections", str(connections)]
    command += ["--bytes", str(size), "--seconds", str(seconds)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: Round = json.loads(output)
    return result


def measure(rounds: int, seconds: float) -> dict[str, dict[str, list[Round]]]:
    """All servers, all shapes, interleaved; by shape and server."""
    results: dict[str, dict[str, list[Round]]] = {}
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(guesthouse("echo-c", "echo"))
        servers = {
            BARE: stack.enter_context(bare_websockets()),
            "guesthouse, C guest": f"{node}/echo-c:echo-c:guesthouse.os/public",
            "guesthouse, Python guest": f"{node}/echo:echo:guesthouse.os/public",
        }
        for connections, size in SHAPES:
            shape = results.setdefault(
                f"{connections} connections, {size} B text", {name: [] for name in servers}
            )
            for _ in range(rounds):
                for name, url in servers.items():
                    shape[name].append(load(url, connections, size, seconds))
    return results


def show(results: dict[str, dict[str, list[Round]]]) -> None:
    """Print a table for each shape."""
    for shape, servers in results.items():
        table = Table(title=f"echo, {shape}")
        for column in ("", "messages/s", "(low…high)", "ratio", "p50 µs", "ratio", "p99 µs", "load CPU"):
            table.add_column(column, justify="left" if not column else "right")
        base = {key: median(servers[BARE], key) for key in ("messages_per_second", "p50_us")}
        for name, rounds in servers.items():
            rates = [one["messages_per_second"] for one in rounds]
            rate, p50 = statistics.median(rates), median(rounds, "p50_us")
            table.add_row(
                name,
                f"{rate:,.0f}",
                f"{min(rates):,.0f}…{max(rates):,.0f}",
                f"{rate / base['messages_per_second']:.2f}x",
                f"{p50:.0f}",
                f"{p50 / base['p50_us']:.2f}x",
                f"{median(rounds, 'p99_us'):.0f}",
                f"{median(rounds, 'load_cpu'):.0%}",
            )
        Console(width=120).print(table)


def median(rounds: list[Round], key: str) -> float:
    """The median of one figure over the rounds."""
    return statistics.median(one[key] for one in rounds)


def save(results: dict[str, dict[str, list[Round]]], path: Path) -> None:
    """Write all rounds, with what they were measured on."""
    path.parent.mkdir(exist_ok=True)
    about = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    path.write_text(json.dumps({"about": about, "rounds": results}, indent=1) + "\n")


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of load in each round")
    options = parser.parse_args()
    results = measure(options.rounds, options.seconds)
    show(results)
    save(results, RESULTS / "echo.json")


if __name__ == "__main__":
    main()
