"""Builds processes in Rust, by cargo, and shows what it says: each error once, with its file and line first."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from guesthouse.package.build.running import Report, replace_output, run_tool
from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.errors import BuildError

RUST_TARGET: Final = "wasm32-wasip2"
SDK_LINK: Final = ".guesthouse/rust"
"""Where a crate of `guesthouse new` finds the SDK: a link in its folder, which `guesthouse build` makes."""
LOCK: Final = "Cargo.lock"
_ENTRY: Final = b"guesthouse:process/guest@"
"""The interface that a process exports; its name is in each component that does."""
_DEPTH: Final = 4
"""How far above its `src/lib.rs` a crate's folder is looked for."""

_NO_TARGET: Final = re.compile(r"target may not be installed|can't find crate for `(?:core|std)`")
"""rustc's message for a missing target."""
_NO_NETWORK: Final = re.compile(r"spurious network error|failed to download|you're using offline mode")
"""cargo's messages for crates that it cannot get."""
_SUMMARY: Final = re.compile(
    r"error: could not compile `|error: aborting due to |warning: `[^`]+` \(.*\) generated "
)
"""What cargo and rustc count in the end, when each was shown."""


def build_rust(source: Path, output: Path, report: Report) -> None:
    """Build a Rust process.

    Args:
        source: the entry file of a crate, one `cdylib`, or the folder of its `Cargo.toml`.
        output: where the component is written.
        report: called with the tools' messages.

    Raises:
        BuildError: the source is wrong, or a tool is missing.
    """
    folder = crate_folder(source)
    link_sdk(folder)
    command = ["cargo", "build", "--release", "--target", RUST_TARGET, "--message-format", "json"]
    try:
        out = run_tool(
            command,
            folder,
            lambda line: None if _SUMMARY.match(line) else report(line),
            cwd=folder,
            messages=lambda said: diagnostics(said, folder),
        )
    except BuildError as error:
        raise _explained(error, folder) from None
    made = [
        name for message in _messages(out) for name in message.get("filenames", ()) if name.endswith(".wasm")
    ]
    if len(made) != 1:
        raise BuildError(
            f"{folder} builds {len(made)} components: it needs exactly one library, of crate-type cdylib"
        )
    content = Path(made[0]).read_bytes()
    if _ENTRY not in content and SDK_LINK in (folder / "Cargo.toml").read_text(errors="replace"):
        raise BuildError(
            f"{folder} exports no process: write `guesthouse::export!(YourType);` in its src/lib.rs"
        )
    replace_output(output, content)


def _explained(error: BuildError, folder: Path) -> BuildError:
    if str(error).startswith("cargo is not installed"):
        return BuildError(
            f"cargo is not installed, and {folder} needs it: install Rust from https://rustup.rs"
        )
    if _NO_TARGET.search(error.output):
        return BuildError(
            f"{folder} needs Rust's target {RUST_TARGET}: install it with 'rustup target add {RUST_TARGET}'"
        )
    if _NO_NETWORK.search(error.output):
        return BuildError(
            f"{folder} depends on crates that are not on this machine, and they cannot be downloaded: "
            "run 'cargo fetch' in it once with a network; then it is built without"
        )
    return error


def crate_folder(source: Path) -> Path:
    """The folder of the crate: `source`, or the nearest around it that has a `Cargo.toml`."""
    around = [source] if source.is_dir() else list(source.parents)[:_DEPTH]
    return next((folder for folder in around if (folder / "Cargo.toml").is_file()), around[0])


def compiler_version(source: Path) -> str:
    """What `rustc --version` says in the crate's folder, which may choose a compiler; nothing if there is none."""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            ["rustc", "--version"],  # noqa: S607 - that of the author's PATH, as cargo takes it
            cwd=crate_folder(source),
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
    return ""


def diagnostics(out: str, folder: Path) -> Iterator[str]:
    """What the compiler said, from cargo's messages in JSON: for each error or warning its place and text in one line,
    then the lines that show it.
    """
    for message in _messages(out):
        if message.get("reason") != "compiler-message":
            continue
        found = message["message"]
        rendered = str(found.get("rendered") or "").rstrip().splitlines()
        if found["level"] not in ("error", "warning") or (rendered and _SUMMARY.match(rendered[0])):
            continue
        code = f"[{found['code']['code']}]" if found.get("code") else ""
        place = next((span for span in found["spans"] if span["is_primary"]), None)
        if place is None:
            yield from rendered
            continue
        root = Path(message["manifest_path"]).parent
        path = root / place["file_name"]
        shown = path.relative_to(folder) if path.is_relative_to(folder) else path
        at = f"{shown}:{place['line_start']}:{place['column_start']}"
        yield f"{at}: {found['level']}{code}: {found['message']}"
        yield from rendered[2:]  # without the same text and place


def _messages(out: str) -> Iterator[dict[str, Any]]:
    for line in out.splitlines():
        with suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


def link_sdk(folder: Path) -> None:
    """Let a crate whose `Cargo.toml` names `.guesthouse/rust` find this SDK there, which no registry has."""
    with suppress(OSError):
        if SDK_LINK not in (folder / "Cargo.toml").read_text(errors="replace"):
            return
        sdk, link = sdk_folder("rust"), folder / SDK_LINK
        if link.is_symlink() and link.readlink() == sdk:
            return
        if link.exists() and not link.is_symlink():
            return
        link.parent.mkdir(exist_ok=True)
        partial = link.with_name(".rust")
        partial.unlink(missing_ok=True)
        partial.symlink_to(sdk)
        partial.replace(link)
