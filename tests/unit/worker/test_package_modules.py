"""What the components of a package may have mapped in one worker, with a real worker."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from guesthouse.core.exit_cause import ExitCause
from guesthouse.worker.limits.package_modules import MAX_MODULES

from .guests import ECHO, process
from .process import Worker

MODULES: Final = 100
EACH: Final = MODULES + 3
"""Also its own, that with its memory, and its gate."""
ROOM: Final = MAX_MODULES // EACH
OTHER: Final = "n.os@other:others:guesthouse.os"


def with_modules(count: int) -> str:
    """A guest that waits for messages, of so many more core modules."""
    more = "".join(f"(core module $m{n}) (core instance (instantiate $m{n}))" for n in range(count))
    text = process(("messaging.receive",), "(call $receive (i32.const 4096))")
    return text.replace("(core module $main", f"{more} (core module $main", 1)


def copied(compiled: Path, number: int) -> Path:
    """Another component of the same content."""
    for file in compiled.parent.glob(f"{compiled.stem}.*"):
        shutil.copyfile(file, file.with_name(f"copy{number}{file.name.removeprefix(compiled.stem)}"))
    return compiled.with_name(f"copy{number}{compiled.suffix}")


def open_files(worker: Worker) -> int:
    return len(os.listdir(f"/proc/{worker.subprocess.pid}/fd"))


@pytest.mark.slow
def test_a_package_has_so_many_modules_in_a_worker_and_others_start_all_the_same(worker: Worker) -> None:
    compiled = worker.compiled(with_modules(MODULES))
    before = open_files(worker)
    running = [worker.start(copied(compiled, number)).started() for number in range(ROOM)]
    held = open_files(worker)
    assert held - before == ROOM * EACH

    one_more = copied(compiled, ROOM)
    for _ in range(3):
        cause, detail = worker.start(one_more).death()
        assert cause == ExitCause.NOT_STARTED
        assert f"has {EACH} core modules" in detail
        assert f"{(ROOM + 1) * EACH} in one worker, over {MAX_MODULES}" in detail
    assert open_files(worker) == held
    again = worker.start(copied(compiled, 0)).started()  # takes no more
    assert worker.start(one_more, our=OTHER).started().stop()[0] == ExitCause.STOPPED
    assert worker.start(ECHO, our=OTHER).started().stop()[0] == ExitCause.STOPPED

    again.stop()
    running.pop().stop()
    worker.start(one_more).started().stop()
    for each in running:
        each.stop()
    assert open_files(worker) == before
