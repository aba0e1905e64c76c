"""The tests: `python -m tests.whole JOBS [PYTEST_ARG…]`, which is `make test` without lint.

With ALL=1 it is every test. Without, those marked `thorough` are left out, and what is tried with random examples or at
random moments is tried a quarter as often (`tests/examples.py`).

JOBS run side by side, and those marked `alone` after them, one at a time. On a machine with four CPUs or more one of
these runs beside the others at a time, and those that were disturbed run again when all is over. When a few failed,
they run twice more, by themselves: those that pass both times are unreliable, which is a fault of the test or a race
in the host, and are listed as such at the end; anything else fails the run. With STRICT=1 whatever fails first fails
the run.
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
NOT_THOROUGH: Final = "not thorough"
FEWER_EXAMPLES: Final = "0.25"
"""What is tried at random without ALL=1, as a part of what is tried with it."""
_PASSED, _FAILED, _NONE = 0, 1, 5
"""Exit codes of pytest."""


def everything() -> bool:
    """Whether every test runs, and not only the first tier."""
    return os.environ.get("ALL") == "1"


def selected(mark: str = "") -> tuple[str, ...]:
    """What tells pytest to run the tests that have a mark, or have `not` one, of those that are to run."""
    terms = [mark] if mark else []
    if not everything():
        terms.append(NOT_THOROUGH)
    return ("-m", " and ".join(terms)) if terms else ()


def run(*arguments: str, tests: str | None = None) -> int:
    """Run pytest and return its exit code."""
    environment = {**os.environ, **({"TESTS": tests} if tests else {})}
    if not everything():
        environment.setdefault("GUESTHOUSE_EXAMPLES", FEWER_EXAMPLES)
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
    """Run what measures after all else; return the exit codes."""
    return {
        run(*selected("not alone"), "-n", jobs, "--dist", "loadgroup", "--durations=25", *more),
        run(*selected("alone"), "--durations=25", *more),
    }


def run_beside(jobs: str, more: Sequence[str]) -> set[int]:
    """Run what measures beside the rest, and what the rest disturbed again; return the exit codes."""
    processes = str(int(jobs) + 1)
    shown = "--dist", "loadgroup", "--durations=25", *more
    return {run(*selected(), "-n", processes, *shown, tests="beside")} | run_disturbed(more)


def run_disturbed(more: Sequence[str]) -> set[int]:
    """Run those again, alone, whose measurements were too bad; return the exit codes."""
    codes = set[int]()
    if disturbed := ids_in(CACHE / "d" / DISTURBED):
        print(f"== {len(disturbed)} that measure were disturbed: again, alone", flush=True)
        code = run("--durations=25", *more, tests="disturbed")
        codes.add(_FAILED if code == _NONE else code)  # what is not found again has not passed
    return codes


def main(jobs: str, *more: str) -> int:
    """Run the tests and return the exit code."""
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
