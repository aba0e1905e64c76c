"""On the fresh system: `make run` until its login URL opens the node, and then Ctrl-C. Needs nothing but Python."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PROJECT: Final = Path("/root/guesthouse")
"""Where the repository lies on the fresh system."""

READY_SECONDS: Final = 1800
"""Everything is downloaded, built and compiled within it."""

_LOGIN: Final = re.compile(r"log in, once, within ten minutes: (\S+)")


def main() -> int:
    """Returns the exit code."""
    make = subprocess.Popen(
        ["make", "run", "PORT=0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert make.stdout is not None
    timer = threading.Timer(READY_SECONDS, os.killpg, (make.pid, signal.SIGKILL))
    timer.start()
    try:
        url = _login_url(make.stdout)
        if url is None:
            print("make run ended, or took too long, before it printed a login URL", flush=True)
            return 1
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(url, timeout=30) as page:
            print(f"the login URL leads to {page.url}, which answers {page.status}", flush=True)
            if page.url.endswith("/login"):
                return 1
        os.killpg(make.pid, signal.SIGINT)
        for line in make.stdout:
            print(line, end="", flush=True)
    finally:
        timer.cancel()
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGKILL)
        make.wait()
    return 0


def _login_url(lines: Iterable[str]) -> str | None:
    for line in lines:
        print(line, end="", flush=True)
        if found := _LOGIN.match(line):
            return found[1]
    return None


if __name__ == "__main__":
    sys.exit(main())
