"""`python -m tests.conformance ws://HOST:PORT/PATH`: run the suite against a server that echoes."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from rich.console import Console

from .case import Grade
from .groups import all_cases
from .opening import Target
from .report import as_json, print_report
from .runner import AT_ONCE, SECONDS, run_cases


def main() -> int:
    """Run the suite. Returns 1 when a case failed, and 2 when there is no server."""
    arguments = _arguments()
    try:
        target = Target.of(arguments.url, arguments.max_message)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    cases = [case for case in all_cases(target) if case.id.startswith(tuple(arguments.only or [""]))]
    began = time.perf_counter()
    try:
        results = asyncio.run(run_cases(cases, target, at_once=arguments.at_once, seconds=arguments.seconds))
    except* OSError as errors:
        print(f"{arguments.url}: {errors.exceptions[0]}: is the server running?", file=sys.stderr)
        return_code = 2
    else:
        print_report(results, Console(), time.perf_counter() - began)
        if arguments.json is not None:
            arguments.json.write_text(as_json(results, arguments.url))
        return_code = int(any(result.verdict.grade is Grade.FAILED for result in results))
    return return_code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("url", help="a ws:// URL whose server echoes text and binary messages")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    parser.add_argument(
        "--only",
        action="append",
        metavar="PREFIX",
        help="run cases whose id begins so, such as 6. (repeatable)",
    )
    parser.add_argument(
        "--max-message",
        type=int,
        default=1024 * 1024,
        metavar="BYTES",
        help="largest message that the server takes",
    )
    parser.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N", help="cases under way at a time")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="how long the server may take for what is expected of it",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
