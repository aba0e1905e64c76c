"""Harms in the ways that Python has, each named by the request that asks for it."""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from guesthouse_sdk import Address, IncomingRequest, Process, Response


def small_allocations() -> None:
    """Objects without end; the interpreter is refused more and dies of it, or says MemoryError."""
    kept: list[Any] = []
    while True:
        kept.append([kept, str(len(kept)), {len(kept): object()}])


def recursion() -> None:
    """As deep as the interpreter lets it, and deeper."""
    sys.setrecursionlimit(10**9)

    def deeper(depth: int) -> int:
        return deeper(depth + 1) + 1

    deeper(0)


def exits() -> None:
    """Leave through WASI."""
    os._exit(3)


def raises() -> None:
    """Leave in the way that interpreters are left."""
    raise SystemExit(3)


def sleeps() -> None:
    """Sleep for ever."""
    time.sleep(2**31)


def spins() -> None:
    """Ask for the time, again and again."""
    while True:
        time.monotonic()


def prints() -> None:
    """Say much that is worth nothing."""
    while True:
        print("x" * random.randrange(10_000), file=random.choice([sys.stdout, sys.stderr]))


def reaches_out() -> str:
    """Look for whatever a sandbox might have left open."""
    found = [*os.environ, *sys.argv[1:]]
    for look in (
        lambda: os.listdir("/"),
        lambda: open("/etc/passwd").read(),  # noqa: SIM115 - it must not get so far
        lambda: socket.create_connection(("127.0.0.1", 22), 1),
        lambda: socket.getaddrinfo("localhost", 80),
    ):
        try:
            found.append(repr(look()))
        except (OSError, LookupError):
            continue
    return ",".join(found)


HARMS: dict[str, Callable[[], Any]] = {
    harm.__name__: harm
    for harm in (small_allocations, recursion, exits, raises, sleeps, spins, prints, reaches_out)
}


class Hydra(Process):
    """Does what it is asked."""

    def on_request(self, source: Address, request: IncomingRequest) -> Response:
        return Response().body(str(HARMS[request.body.decode()]()).encode())


main = Hydra
