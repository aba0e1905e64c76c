"""All tests: `python -m tests.whole JOBS [PYTEST_ARG…]`, which is `make test` without lint.

JOBS run side by side, and those marked `alone` after them. On a machine with four CPUs or more one of these runs beside
the others at a time, and those that were disturbed run again when all is over. When a few failed, they run twice more,
by themselves: those that pass both times are unreliable, which is a fault of the test or a race in the host, and are
listed as such at the end; anything else fails the run. With STRICT=1 whatever fails first fails the run.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from tests.conftest import AGAIN, DISTURBED, FAILED, ids_in

ROOT: Final = Path(__file__).parents[1]
CACHE: Final = ROOT / ".pytest_cache"
LAST: Final = "v/cache/lastfailed"
RUNS_AGAIN: Final = 2
MOST_AGAIN: Final = 5
"""More than that is no accident."""
CPUS: Final = len(os.sched_getaffinity(0))
CPUS_BESIDE: Final = 4
"""On fewer, what measures and the rest only hold each other up."""
_PASSED, _FAILED, _NONE = 0, 1, 5
"""Exit codes of pytest."""


def run(*arguments: str, tests: str | None = None) -> int:
    """Run pytest and return its exit code."""
    environment = {**os.environ, "TESTS": tests} if tests else None
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=environment, check=False
    ).returncode


def failures() -> tuple[str, ...] | None:
    """The ids of the tests that failed; None when something else did, such as a module or a process of the run."""
    last = CACHE / LAST
    counted = json.loads(last.read_text()) if last.exists() else {}
    ids = ids_in(CACHE / "d" / FAILED)
    return tuple(sorted(ids)) if len(ids) == len(counted) else None


def passes_again(ids: Sequence[str], more: Sequence[str]) -> bool:
    """Whether those that failed pass each further time."""
    print(f"== {len(ids)} failed: again, by themselves, {RUNS_AGAIN} times", flush=True)
    return all(run(*more, tests=AGAIN) == _PASSED for _ in range(RUNS_AGAIN))


def run_apart(jobs: str, more: Sequence[str]) -> set[int]:
    """Run what measures after all else, and return the exit codes."""
    return {
        run("-m", "not alone", "-n", jobs, "--dist", "loadgroup", "--durations=25", *more),
        run("-m", "alone", "--durations=25", *more),
    }


def run_beside(jobs: str, more: Sequence[str]) -> set[int]:
    """Run what measures beside the rest, and what the rest disturbed again; return the exit codes."""
    processes = str(int(jobs) + 1)
    codes = {run("-n", processes, "--dist", "loadgroup", "--durations=25", *more, tests="beside")}
    if disturbed := ids_in(CACHE / "d" / DISTURBED):
        print(f"== {len(disturbed)} that measure were disturbed: again, alone", flush=True)
        code = run("--durations=25", *more, tests="disturbed")
        codes.add(_FAILED if code == _NONE else code)  # what is not found again has not passed
    return codes


def main(jobs: str, *more: str) -> int:
    """Run everything and return the exit code."""
    shutil.rmtree(CACHE / "d" / FAILED, ignore_errors=True)
    (CACHE / LAST).unlink(missing_ok=True)
    codes = (run_beside if CPUS >= CPUS_BESIDE else run_apart)(jobs, more) - {_NONE}
    if codes <= {_PASSED}:
        return _PASSED if codes else _NONE
    ids = failures()
    if not codes <= {_PASSED, _FAILED} or not ids or len(ids) > MOST_AGAIN or os.environ.get("STRICT") == "1":
        return _FAILED
    if not passes_again(ids, more):
        return _FAILED
    print("== passed, but these tests are unreliable: each failed once and then passed", *ids, sep="\n   ")
    return _PASSED


def _stop(number: int, _: FrameType | None) -> None:
    """End pytest, too, rather than leave it running."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main(*sys.argv[1:]))
