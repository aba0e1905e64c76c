"""`python -m tests.fuzz`: fuzz for as long as it is told, guided by coverage, one OS process a target.

What it learns stays in `.fuzz/TARGET/` and is taken up by the next run. An input that breaks a promise is
put among the seeds of its target, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from .catalogue import SEEDS, Target, targets
from .mutation import MOST_BYTES

CORPUS: Final = Path(".fuzz")
_LIBFUZZER: Final = ("-timeout=25", "-rss_limit_mb=4096", f"-max_len={MOST_BYTES}", "-print_final_stats=1")


def main(arguments: list[str]) -> int:
    """Run the targets that are named, or all, one after the other."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, in all")
    parser.add_argument("--target", action="append", help="a target; may be given again")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.only:
        fuzz(given.only, 60 * given.minutes)
        return 0  # never reached: libFuzzer ends the process
    known = targets()
    wanted = given.target or list(known)
    if unknown := set(wanted) - known.keys():
        print(f"no target {', '.join(sorted(unknown))}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    broken = [name for name in wanted if not holds(known[name], given.minutes / len(wanted))]
    print(
        f"{len(wanted) - len(broken)} of {len(wanted)} targets held",
        *(f"broken: {name}" for name in broken),
        sep="\n",
    )
    return 1 if broken else 0


def holds(target: Target, minutes: float) -> bool:
    """Fuzz one target in a subprocess. Returns whether nothing was found."""
    began = time.monotonic()
    command = (sys.executable, "-m", "tests.fuzz", "--only", target.name, "--minutes", str(minutes))
    with tempfile.TemporaryDirectory(
        prefix="guesthouse-fuzz-"
    ) as folder:  # libFuzzer ends without tidying up
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False
        )
    output = done.stdout.decode(errors="replace")
    runs = next((line.split()[-1] for line in output.splitlines() if "number_of_executed_units" in line), "?")
    print(f"{target.name:24} {runs:>10} inputs in {time.monotonic() - began:4.0f} s", flush=True)
    if done.returncode:
        print(*output.splitlines()[-60:], sep="\n")
    return done.returncode == 0


def fuzz(name: str, seconds: float) -> None:
    """Fuzz one target in this OS process, which ends with it."""
    import atheris  # type: ignore[import-untyped] # it has no types of its own

    with atheris.instrument_imports(include=["guesthouse"]):
        run = targets()[name].run
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = (
        *_LIBFUZZER,
        f"-max_total_time={max(1, round(seconds))}",
        f"-artifact_prefix={SEEDS / name}/broke-",
    )
    atheris.Setup([sys.argv[0], *options, str(corpus), str(SEEDS / name)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
