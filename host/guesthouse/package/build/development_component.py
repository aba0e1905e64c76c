"""The components that run apps from their sources under `guesthouse run --dev`: one for each language and engine.

Each is built once, and cached by what it is built from: the SDK, the contract and the tools.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Final

from guesthouse.package.build.build_package import inputs_of_tools
from guesthouse.package.build.javascript import build_development_javascript
from guesthouse.package.build.running import Report, run_tool
from guesthouse.package.build.sdk_files import sdk_folder
from guesthouse.package.build.toolchains import need_componentize_py
from guesthouse.package.format.load import inside
from guesthouse.package.format.manifest import BuildSpec

_KEPT: Final = 8
"""Components that stay in the cache."""


def development_component(folder: Path, build: BuildSpec, report: Report) -> Path:
    """The component for a process, built unless it is cached. Blocks, for up to a minute when it is built.

    Raises:
        BuildError: it cannot be built.
    """
    source = inside(folder, build.source)
    engine = f"-{build.engine or 'quickjs'}" if build.language == "javascript" else ""
    key = hashlib.sha256(inputs_of_tools(folder, build).encode()).hexdigest()[:32]
    cache = _cache_folder()
    component = cache / f"{build.language}{engine}-{key}.wasm"
    if component.is_file():
        # The time of its last use; that of its content stays, by which a change would be recognised.
        os.utime(component, ns=(time.time_ns(), component.stat().st_mtime_ns))
        return component
    with (cache / "lock").open("w") as lock:  # another node may be building it just now
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not component.is_file():
            report(f"building what runs {build.language} from its sources, once")
            if build.language == "javascript":
                build_development_javascript(source, component, report, build.engine or "quickjs")
            else:
                _build_python(component, report)
            _prune(cache)
    return component


def _build_python(output: Path, report: Report) -> None:
    need_componentize_py()
    command = [sys.executable, "-m", "guesthouse_sdk.build", "--development", "-o", str(output)]
    run_tool(command, output, report, env=os.environ | {"PYTHONPATH": str(sdk_folder("python"))})


def _prune(cache: Path) -> None:
    """Delete what was not used for the longest time."""
    for old in sorted(cache.glob("*.wasm"), key=lambda path: path.stat().st_atime, reverse=True)[_KEPT:]:
        old.unlink(missing_ok=True)


def _cache_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "guesthouse" / "development"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
