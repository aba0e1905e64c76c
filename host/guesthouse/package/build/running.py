"""Runs the tools of a build, and reports what they say."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from guesthouse.core import atomic_file
from guesthouse.package.errors import BuildError

BUILD_SECONDS: Final = 600
_KEPT_LINES: Final = 1000
"""Of a tool's messages, in the error."""

Report = Callable[[str], None]
"""Called with lines of progress and of the tools' messages."""


def run_tool(
    command: Sequence[str],
    source: Path,
    report: Report,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    messages: Callable[[str], Iterable[str]] = lambda out: (),
) -> str:
    """Run a tool and return its standard output; its standard error is reported as it comes, and in the end what
    `messages` finds in its standard output.

    Raises:
        BuildError: it is not installed, it failed or it took too long.
    """
    said = deque[str](maxlen=_KEPT_LINES)
    try:
        with (
            tempfile.TemporaryFile() as printed,
            subprocess.Popen(  # noqa: S603 - fixed tools, run for the author of the source
                command, cwd=cwd, env=env, stdout=printed, stderr=subprocess.PIPE, start_new_session=True
            ) as tool,
        ):
            late = threading.Timer(BUILD_SECONDS, _kill, (tool,))
            late.start()
            try:
                for line in _lines(tool):
                    said.append(line)
                    report(line)
                tool.wait()
            finally:
                in_time = late.is_alive()
                late.cancel()
                _kill(tool)
            printed.seek(0)
            out = printed.read().decode(errors="replace")
    except FileNotFoundError:
        raise BuildError(f"{command[0]} is not installed, and {source} needs it: install it first") from None
    if not in_time:
        raise BuildError(
            f"{source} took over {BUILD_SECONDS} s to build and was stopped: make it faster to build"
        )
    for line in messages(out):
        said.append(line)
        report(line)
    if tool.returncode == 0:
        return out
    if not said:  # some tools report errors on standard output
        for line in out.splitlines()[-_KEPT_LINES:]:
            said.append(line)
            report(line)
    where = "fix the errors above" if said else f"{Path(command[0]).name} ended with {tool.returncode}"
    raise BuildError(f"{source} cannot be built: {where}", "\n".join(said))


def _lines(tool: subprocess.Popen[bytes]) -> Iterator[str]:
    assert tool.stderr is not None  # noqa: S101 - it is a pipe
    for line in tool.stderr:
        yield line.decode(errors="replace").rstrip()


def _kill(tool: subprocess.Popen[bytes]) -> None:
    """Kill a tool and its children."""
    with suppress(ProcessLookupError):
        os.killpg(tool.pid, signal.SIGKILL)


def replace_output(output: Path, content: bytes) -> None:
    """Write a component in one step, for all to read."""
    output.parent.mkdir(parents=True, exist_ok=True)
    atomic_file.replace(output, content, atomic_file.FOR_ALL)
