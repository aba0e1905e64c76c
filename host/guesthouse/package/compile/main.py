"""The compiler subprocess: `python -m guesthouse.package.compile.main`.

It reads one component from standard input, writes the compiled code to standard output (a file) and a
description to a third descriptor, and exits; a refusal is one line on standard error and exit code 3.
The compiled code is a plan and one part for each core module, concatenated; the description has their sizes, and the
numbers of modules left uncompiled, which get subprocesses of their own (`job.py`).
wasmtime limits neither time nor memory of compiling, so this subprocess limits itself before it
reads a byte, and dies with its parent. Because a component could exploit the compiler, it is also confined
to those descriptors, as a worker is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import sys
from typing import Final

from guesthouse.linux import landlock, privileges, seccomp
from guesthouse.package.compile.job import NO_MEMORY, NO_ROOM, REFUSED, WRONG_ENGINE, Job, Task

_OUT_OF_MEMORY: Final = f"(os error {errno.ENOMEM})"
"""The end of wasmtime's message for an error of the operating system."""

_FIRST_TO_GO: Final = 800
"""When the machine runs out of memory, compilers are killed before workers."""


def main(argument: str) -> int:
    """Run one job; returns the exit code."""
    job = Job.from_argument(argument)
    _limit(job)
    _confine()
    try:
        content = sys.stdin.buffer.read(job.component_bytes + 1)
        if len(content) > job.component_bytes:
            return _refuse("is too big")
        return _compile(content, job)
    except MemoryError:
        os._exit(NO_MEMORY)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            os._exit(NO_ROOM)  # without flushing, which would fail too
        if error.errno == errno.ENOMEM:
            os._exit(NO_MEMORY)
        raise


def _limit(job: Job) -> None:
    privileges.give_up_privileges()
    privileges.end_with_parent()
    if os.getppid() != job.parent:  # the parent died before the line above
        os._exit(REFUSED)
    privileges.volunteer_for_oom(_FIRST_TO_GO)
    for limit, value, last in (
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_AS, job.memory_bytes, job.memory_bytes),
        # The soft limit's signal is distinct; at the hard limit the kernel kills, as others may, too.
        (resource.RLIMIT_CPU, job.cpu_seconds, job.cpu_seconds + 1),
        (resource.RLIMIT_FSIZE, job.output_bytes, job.output_bytes),
    ):
        _, most = resource.getrlimit(limit)
        if most == resource.RLIM_INFINITY:
            most = last
        resource.setrlimit(limit, (min(value, most), min(last, most)))


def _confine() -> None:
    # Imported now, because no file can be opened afterwards, but not before the limits are set.
    import guesthouse.package.compile.compile
    import guesthouse.wasm.layout_check  # noqa: F401

    privileges.hide_from_others()
    # Workers report what the kernel lacks.
    landlock.restrict(None)
    seccomp.restrict()


def _compile(content: bytes, job: Job) -> int:
    # Imported late, so that the limits apply to loading, too.
    from wasmtime import WasmtimeError

    from guesthouse.package.compile.compile import NOTHING, compile_component, compile_module, find_fault
    from guesthouse.wasm.errors import BoundaryError
    from guesthouse.wasm.layout_check import check_layout

    try:
        check_layout()
    except BoundaryError as error:
        return _refuse(_one_line(str(error)), WRONG_ENGINE)
    try:
        match job.task:
            case Task.COMPONENT:
                compiled = compile_component(content, share=True)
            case Task.FAULT:
                find_fault(content)
            case Task.MODULE:
                compiled = compile_module(content)
            case Task.CHECK:
                compiled = NOTHING
    except (WasmtimeError, ValueError, BoundaryError) as error:
        if _OUT_OF_MEMORY in str(error):
            return NO_MEMORY
        return _refuse(_one_line(str(error)))
    reply = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "description": compiled.description.to_json(),
        "sizes": [len(part) for part in compiled.parts],
        "handed_back": sorted(compiled.handed_back),
    }
    with open(job.reply_fd, "w", encoding="utf-8") as file:
        json.dump(reply, file)
    for part in compiled.parts:
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()
    return 0


def _refuse(reason: str, code: int = REFUSED) -> int:
    sys.stderr.write(reason)
    return code


def _one_line(text: str) -> str:
    """Wasmtime's error and its causes in one line."""
    lines = [line.strip() for line in text.splitlines()]
    return ": ".join(line for line in lines if line and line != "Caused by:")[:500]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
