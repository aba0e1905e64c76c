"""`python -m guesthouse.worker --link-fd N`: what the node starts; not for people."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys

from guesthouse.errors import GuesthouseError
from guesthouse.worker.runner import Worker

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def _give_up_rights() -> None:
    """A worker needs nothing but its link and the files it maps; it ends with the node."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def main(arguments: list[str]) -> int:
    """Serve the link whose descriptor the node passed."""
    if len(arguments) != 2 or arguments[0] != "--link-fd":
        print("this is started by `guesthouse run`, not by hand", file=sys.stderr)
        return 2
    _give_up_rights()
    link = socket.socket(fileno=int(arguments[1]))
    try:
        Worker(link).run()
    except GuesthouseError as error:
        print(error, file=sys.stderr)
        return 1
    except (BrokenPipeError, ConnectionResetError):
        return 0  # the node is gone
    return 0


if __name__ == "__main__":
    # Stores and fibers are not worth unwinding, and the libraries' own threads may outlive the
    # interpreter badly.
    sys.stdout.flush()
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
