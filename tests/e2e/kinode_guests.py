"""Applications of the Kinode OS, built from the facts of its interface: C, WIT and `pkg/`, and nothing of
Guesthouse in them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guesthouse.package.build.componentize import make_component

SOURCES: Final = Path(__file__).parent / "guests/kinode"
PUBLISHER: Final = "test.os"
_FLAGS: Final = ("--target=wasm32-freestanding", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-function",
                 "-nostdlib", "-fno-builtin", "-Wl,--no-entry", "-Wl,--strip-all")  # fmt: skip
_BUILD_SECONDS: Final = 120
_GATE: Final = re.compile(r" *// (since|until) (\S+)$")


@dataclass(frozen=True, slots=True)
class Era:
    """One version of the interface, and of the WASI that its applications were built with."""

    name: str
    package: str
    order: int
    """Its place among the versions, as `standard.h` counts them."""
    wasi: str
    http_server: str
    """What its applications call the node's HTTP server."""

    @property
    def process(self) -> str:
        """The id of its game."""
        return f"game:{self.name}:{PUBLISHER}"


RC: Final = "0.2.0-rc-2023-11-10"
ERAS: Final = (
    Era("kinode-7", "kinode:process@0.7.0", 7, RC, "http_server:sys:nectar"),
    Era("kinode-8", "kinode:process@0.8.0", 8, "0.2.0", "http_server:distro:sys"),
    Era("kinode-1", "kinode:process@1.0.0", 10, "0.2.3", "http-server:distro:sys"),
    Era("hyperware-1", "hyperware:process@1.0.0", 20, "0.2.6", "http-server:distro:sys"),
)
_MODULES: Final = (
    *(f"{name}:distro:sys" for name in ("kv", "timer", "sqlite", "eth", "net", "http-client", "terminal")),
    "homepage:homepage:sys",
)
_VERSIONS: Final = {"0.7.0": 7, "0.8.0": 8, "1.0.0": 10, "2.0.0": 20}


def build_process(era: Era, source: Path, *flags: str) -> bytes:
    """A component of one era out of one C file."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        _write_wit(folder, era)
        core = folder / "core.wasm"
        defines = (f"-DERA={era.order}", f'-DWASI="{era.wasi}"', f'-DSTANDARD="{_standard(era)}"', *flags)
        command = (sys.executable, "-m", "ziglang", "cc", *_FLAGS, *defines, str(source), "-o", str(core))
        subprocess.run(command, check=True, timeout=_BUILD_SECONDS)
        return make_component(core, folder, "process", str(source))


def build_python(era: Era, app: Path, output: Path) -> Path:
    """A component of one era out of one Python file, built by componentize-py as it comes."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        wit = _wit_of(era).splitlines()
        text = "\n".join(line for line in wit if not line.startswith("  import wasi:"))  # it brings its own
        (folder / "standard.wit").write_text(text)
        command = ("componentize-py", "-d", str(folder), "-w", "process", "componentize", app.stem)
        tool = (str(Path(sys.executable).with_name(command[0])), *command[1:])
        subprocess.run((*tool, "-p", str(app.parent), "-o", str(output)), check=True, timeout=_BUILD_SECONDS)
    return output


def build_package(era: Era, folder: Path) -> Path:
    """The application's package as the Kinode OS lays it out."""
    pkg = folder / "pkg"
    (pkg / "ui").mkdir(parents=True)
    (pkg / "ui/index.html").write_text("<!doctype html><title>Game</title>")
    (pkg / "ui/game.js").write_text("// the page's own script\n")
    for name in ("game", "referee"):
        (pkg / f"{name}.wasm").write_bytes(build_process(era, SOURCES / f"src/{name}.c"))
    (pkg / "manifest.json").write_text(json.dumps([_entry("game", "Restart"), _entry("referee", "None")]))
    (folder / "metadata.json").write_text(json.dumps(_metadata(era)))
    return folder


def build_asker(era: Era, folder: Path) -> Path:
    """A package whose one process asks what it is told to ask."""
    pkg = folder / "pkg"
    pkg.mkdir(parents=True)
    (pkg / "asker.wasm").write_bytes(build_process(era, SOURCES / "src/asker.c"))
    (pkg / "manifest.json").write_text(json.dumps([_entry("asker", "Restart", *_MODULES)]))
    (folder / "metadata.json").write_text(json.dumps(_metadata(era)))
    return folder


def _entry(name: str, on_exit: str, *more: str) -> dict[str, object]:
    return {
        "process_name": name,
        "process_wasm_path": f"/{name}.wasm",
        "on_exit": on_exit,
        "request_networking": False,
        "request_capabilities": [
            "http-server:distro:sys",
            "vfs:distro:sys",
            {"process": "vfs:distro:sys", "params": {"root": True}},
            *more,
        ],
        "grant_capabilities": ["http-server:distro:sys"],
        "public": False,
    }


def _metadata(era: Era) -> dict[str, object]:
    return {
        "name": "A game",
        "description": "Everyone moves",
        "image": "",
        "properties": {
            "package_name": era.name,
            "publisher": PUBLISHER,
            "current_version": "0.1.0",
            "mirrors": [],
            "code_hashes": {"0.1.0": ""},
        },
    }


def _standard(era: Era) -> str:
    name, version = era.package.split("@")
    return f"{name}/standard@{version}"


def _write_wit(folder: Path, era: Era) -> None:
    (folder / "standard.wit").write_text(_wit_of(era))
    wasi = (SOURCES / "wasi.wit.in").read_text().replace("$WASI", era.wasi)
    for name in ("random", "clocks"):
        package = folder / "deps" / name
        package.mkdir(parents=True)
        (package / "package.wit").write_text(wasi.replace("$NAME", name))


def _wit_of(era: Era) -> str:
    standard = (SOURCES / "standard.wit.in").read_text()
    lines = "\n".join(line for line in standard.splitlines() if _is_of(era, line))
    return lines.replace("$PACKAGE", era.package).replace("$WASI", era.wasi)


def _is_of(era: Era, line: str) -> bool:
    gate = _GATE.search(line)
    if gate is None:
        return True
    order = _VERSIONS[gate[2]]
    return era.order >= order if gate[1] == "since" else era.order <= order
