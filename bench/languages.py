"""Guests in each language: what they weigh, how fast they start and answer."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

from cold import first_message
from guesthouse.link.to_node import Started
from load import load
from results import Column, Effort, Result, Table
from run import only
from servers import ROOT, component, guesthouse
from usage import children, settled_kib
from worker_link import compiled, worker

GUESTS: Final = {
    "C": "echo-c",
    "C++": "echo-cpp",
    "Rust": "echo-rust",
    "Go": "echo-go",
    "TypeScript, JavaScript": "echo-js",
    "Python": "echo",
}
BASE: Final = "C"
CONNECTIONS: Final = 50
SIZE: Final = 128
MANY: Final = 200
"""Guests that memory is divided by."""
_MIB: Final = 1 << 20

_COLUMNS: Final = (
    Column("component", "MiB", 2),
    Column("first message", "ms", 2),
    Column("memory each", "KiB"),
    Column("messages/s"),
    Column("ratio to that of C", "x", 2),
)


def run(effort: Effort) -> Result:
    """Measure the languages whose tool chain is there."""
    result = Result("languages", "Guests in each language")
    table = Table("echo of 128 bytes, 50 connections", list(_COLUMNS))
    guests = {language: name for language, name in GUESTS.items() if _can_build(language)}
    for language, name in guests.items():
        wasm = component(name)
        table.add(
            language, component=wasm.stat().st_size / _MIB, memory_each=_memory(wasm, effort.count(MANY))
        )
        path = compiled(wasm)
        with worker() as one:
            one.start(path)  # keeps the component loaded
            one.expect(Started)
            for _ in range(effort.count(10)):
                table.add(language, first_message=1000 * first_message(one, path))
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(
            guesthouse(*(f"{name}:{name}:bench.os={component(name)}" for name in guests.values()))
        )
        for _ in range(effort.rounds):
            base = None
            for language, name in guests.items():
                url = f"{node.url}/{name}:{name}:bench.os/public"
                rate = load(url, CONNECTIONS, SIZE, effort.seconds)["messages_per_second"]
                base = base or rate
                table.add(language, messages_s=rate, ratio_to_that_of_C=rate / base)
    result.tables.append(table)
    result.notes.append(
        "First message: from the start of a guest whose component its worker has loaded. Memory: pages that no other "
        "process shares."
    )
    return result


def _can_build(language: str) -> bool:
    if language in ("Go", "Rust"):
        return shutil.which({"Go": "go", "Rust": "cargo"}[language]) is not None
    if language == "TypeScript, JavaScript":
        modules = ROOT / "tests/e2e/node_modules"
        link = ROOT / "bench/guests/echo-js/node_modules"
        if modules.is_dir() and not link.exists():
            link.symlink_to(modules)
        return link.exists()
    return True


def _memory(wasm: Path, count: int) -> float:
    """KiB of a guest: of many more than one, by number."""
    with contextlib.ExitStack() as stack:
        nodes = []  # both run before either is measured: they share pages of files
        for guests in (1, count + 1):
            names = (f"g{number}:g{number}:bench.os={wasm}" for number in range(guests))
            node = stack.enter_context(guesthouse(*names))
            load(f"{node.url}/g{guests - 1}:g{guests - 1}:bench.os/public", 1, SIZE, 0.5)
            nodes.append(node)
        one, all_ = (settled_kib(*children(node.pid)) for node in nodes)
    return (all_ - one) / count


if __name__ == "__main__":
    only(run)
