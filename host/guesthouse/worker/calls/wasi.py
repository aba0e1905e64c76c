"""WASI 0.2 for guests: clocks, randomness, captured output, and nothing else.

Our own instead of wasmtime's, whose sleeps would block the worker's thread, whose output arrives on other
threads, and which grants all that it links. A sleeping guest is a fiber with a wake-up time.

Capability: none.
Errors: files, sockets and name look-ups answer with the interface's own "access denied".
Traps: `exit`; a call that cannot say "denied"; more resources than `process.wasi_handles`.
Blocks: `poll`, `block` and the blocking writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from guesthouse.core.exit_cause import ExitCause
from guesthouse.wasm.engine.host_functions import Beyond, HostFunction
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.types import EnumOf, FunctionType, ResultOf
from guesthouse.wasm.values import OK, Err, Ok
from guesthouse.worker.guest import Guest
from guesthouse.worker.served.wasi_types import FUNCTIONS

PREFIX: Final = "wasi:"
INTERFACES: Final = frozenset(("cli", "clocks", "filesystem", "io", "random", "sockets"))

_NANO: Final = 1_000_000_000
_MAX_RANDOM_BYTES: Final = 65_536
_WRITE_WINDOW: Final = 65_536
"""Bytes of output that a guest may write at once."""

RESOURCES: Final = {
    name: number
    for number, name in enumerate(
        (
            "error",
            "pollable",
            "input-stream",
            "output-stream",
            "descriptor",
            "directory-entry-stream",
            "network",
            "tcp-socket",
            "udp-socket",
            "incoming-datagram-stream",
            "outgoing-datagram-stream",
            "resolve-address-stream",
            "terminal-input",
            "terminal-output",
        ),
        start=1,
    )
}
"""The resource types of WASI 0.2 by number. A guest can come to hold only some of them."""


class Pollable(Struct, frozen=True):
    """Ready from a time of the monotonic clock on (nanoseconds); 0 is always ready."""

    ready_at: int


class OutputStream(Struct, frozen=True):
    """Standard output or standard error."""

    name: str


class InputStream(Struct, frozen=True):
    """Standard input, which is empty."""


# Clocks


def _now(guest: Guest) -> int:
    return guest.schedule.clock.monotonic_ns()


def _resolution(guest: Guest) -> int:
    return 1


def _subscribe_instant(guest: Guest, when: int) -> tuple[int, int]:
    return guest.resources.add(RESOURCES["pollable"], Pollable(_moment(when)))


def _subscribe_duration(guest: Guest, duration: int) -> tuple[int, int]:
    return guest.resources.add(RESOURCES["pollable"], Pollable(_now(guest) + _moment(duration)))


def _moment(value: int) -> int:
    """A comparable number: NaN at the head of the sleep queue would block all sleepers."""
    if type(value) is not int:
        raise TypeError("a time is a whole number of nanoseconds")
    return value


def _datetime(nanoseconds: int) -> dict[str, int]:
    return {"seconds": nanoseconds // _NANO, "nanoseconds": nanoseconds % _NANO}


# Polling


def _poll(guest: Guest, pollables: list[tuple[int, int]]) -> Any:
    if not pollables:
        raise GuestTrap(ExitCause.TRAP, "it polled an empty list of pollables, which waits for ever")
    times = [guest.resources.get(handle).ready_at for handle in pollables]

    def ready() -> list[int]:
        now = _now(guest)
        return [index for index, when in enumerate(times) if when <= now]

    return ready() or guest.sleep_until(min(times) / _NANO, lambda: ready() or [times.index(min(times))])


def _pollable_ready(guest: Guest, handle: tuple[int, int]) -> bool:
    ready: bool = guest.resources.get(handle).ready_at <= _now(guest)
    return ready


def _pollable_block(guest: Guest, handle: tuple[int, int]) -> Any:
    when = guest.resources.get(handle).ready_at
    return None if when <= _now(guest) else guest.sleep_until(when / _NANO, lambda: None)


# Streams


def _subscribe(guest: Guest, stream: tuple[int, int]) -> tuple[int, int]:
    guest.resources.get(stream)
    return guest.resources.add(RESOURCES["pollable"], Pollable(0))


def _check_write(guest: Guest, stream: tuple[int, int]) -> Ok:
    guest.resources.get(stream)
    return Ok(_WRITE_WINDOW)


def _write(guest: Guest, stream: tuple[int, int], data: bytes) -> Ok:
    _check_room(len(data))
    guest.log.stream(guest.resources.get(stream).name, data)
    return OK


def _check_room(count: int) -> None:
    """Writing more than `check-write` allowed traps, as the interface demands."""
    if count > _WRITE_WINDOW:
        raise GuestTrap(ExitCause.TRAP, f"it wrote {count} bytes at once; the limit is {_WRITE_WINDOW}")


def _flush(guest: Guest, stream: tuple[int, int]) -> Ok:
    guest.resources.get(stream)
    return OK


def _write_zeroes(guest: Guest, stream: tuple[int, int], count: int) -> Ok:
    _check_room(count)
    return _write(guest, stream, bytes(count))


def _end_of_input(guest: Guest, stream: tuple[int, int], count: int) -> Err:
    guest.resources.get(stream)
    return Err("closed")


def _output(name: str) -> Callable[[Guest], tuple[int, int]]:
    return lambda guest: guest.resources.add(RESOURCES["output-stream"], OutputStream(name))


# Randomness


def _random_bytes(guest: Guest, count: int) -> bytes:
    if count > _MAX_RANDOM_BYTES:
        raise GuestTrap(
            ExitCause.TRAP, f"it asked for {count} random bytes at once; the limit is {_MAX_RANDOM_BYTES}"
        )
    return os.urandom(count)


def _random_u64(guest: Guest) -> int:
    return int.from_bytes(os.urandom(8), "little")


# The command line


def _exit(guest: Guest, status: Ok | Err) -> None:
    _end(0 if isinstance(status, Ok) else 1)


def _exit_with_code(guest: Guest, code: int) -> None:
    _end(code)


def _end(code: int) -> None:
    cause = ExitCause.RETURNED if code == 0 else ExitCause.TRAP
    raise GuestTrap(cause, f"it exited with code {code}")


def _constant(value: Any, *, takes_none: bool = False) -> HostFunction:
    return HostFunction(lambda guest, *arguments: value, takes_none=takes_none)


_PLAIN: Final[dict[str, dict[str, HostFunction]]] = {
    "clocks/monotonic-clock": {
        "now": HostFunction(_now),
        "resolution": HostFunction(_resolution),
        "subscribe-instant": HostFunction(_subscribe_instant),
        "subscribe-duration": HostFunction(_subscribe_duration),
    },
    "clocks/wall-clock": {
        "now": HostFunction(lambda guest: _datetime(guest.schedule.clock.time_ns())),
        "resolution": _constant(_datetime(1)),
    },
    "io/poll": {
        "poll": HostFunction(_poll, blocks=True),
        "[method]pollable.ready": HostFunction(_pollable_ready),
        "[method]pollable.block": HostFunction(_pollable_block, blocks=True),
    },
    "io/error": {"[method]error.to-debug-string": _constant("denied")},
    "io/streams": {
        "[method]input-stream.read": HostFunction(_end_of_input),
        "[method]input-stream.blocking-read": HostFunction(_end_of_input),
        "[method]input-stream.skip": HostFunction(_end_of_input),
        "[method]input-stream.blocking-skip": HostFunction(_end_of_input),
        "[method]input-stream.subscribe": HostFunction(_subscribe),
        "[method]output-stream.check-write": HostFunction(_check_write),
        "[method]output-stream.write": HostFunction(_write, beyond=Beyond.MARK),
        "[method]output-stream.blocking-write-and-flush": HostFunction(_write, beyond=Beyond.MARK),
        "[method]output-stream.flush": HostFunction(_flush),
        "[method]output-stream.blocking-flush": HostFunction(_flush),
        "[method]output-stream.write-zeroes": HostFunction(_write_zeroes),
        "[method]output-stream.blocking-write-zeroes-and-flush": HostFunction(_write_zeroes),
        "[method]output-stream.subscribe": HostFunction(_subscribe),
    },
    "cli/environment": {
        "get-environment": _constant([]),
        "get-arguments": _constant([]),
        "initial-cwd": _constant(None),
    },
    "cli/exit": {"exit": HostFunction(_exit), "exit-with-code": HostFunction(_exit_with_code)},
    "cli/stdin": {
        "get-stdin": HostFunction(lambda guest: guest.resources.add(RESOURCES["input-stream"], InputStream()))
    },
    "cli/stdout": {"get-stdout": HostFunction(_output("stdout"))},
    "cli/stderr": {"get-stderr": HostFunction(_output("stderr"))},
    "cli/terminal-stdin": {"get-terminal-stdin": _constant(None)},
    "cli/terminal-stdout": {"get-terminal-stdout": _constant(None)},
    "cli/terminal-stderr": {"get-terminal-stderr": _constant(None)},
    "random/random": {
        "get-random-bytes": HostFunction(_random_bytes),
        "get-random-u64": HostFunction(_random_u64),
    },
    "random/insecure": {
        "get-insecure-random-bytes": HostFunction(_random_bytes),
        "get-insecure-random-u64": HostFunction(_random_u64),
    },
    "random/insecure-seed": {
        "insecure-seed": HostFunction(lambda guest: (_random_u64(guest), _random_u64(guest)))
    },
    "filesystem/preopens": {"get-directories": _constant([])},
    "filesystem/types": {"filesystem-error-code": _constant(None)},
    "sockets/instance-network": {
        "instance-network": HostFunction(
            lambda guest: guest.resources.add(RESOURCES["network"], "no network")
        )
    },
}

_DENIALS: Final = ("access-denied", "access", "not-permitted", "not-supported")
"""Error codes of WASI interfaces for denied calls, the most fitting first."""


def find(interface: str) -> tuple[dict[str, HostFunction] | None, dict[str, FunctionType]]:
    """The calls and types of a WASI 0.2 interface without its version; None for other interfaces."""
    if not is_denied(interface):
        return None, {}
    plain = interface.removeprefix(PREFIX)
    return _PLAIN.get(plain, {}), FUNCTIONS.get(plain, {})


def is_denied(interface: str) -> bool:
    """Whether unimplemented functions of this interface are denied, as opposed to unknown."""
    package, _, _ = interface.removeprefix(PREFIX).partition("/")
    return interface.startswith(PREFIX) and package in INTERFACES


def denied(interface: str, name: str, type_: FunctionType) -> HostFunction | None:
    """The substitute for an unimplemented function; None for one of an unknown interface."""
    if not is_denied(interface):
        return None
    result = type_.result
    if isinstance(result, ResultOf) and isinstance(result.err, EnumOf):
        for denial in _DENIALS:
            if denial in result.err.names:
                return _constant(Err(denial), takes_none=True)

    def trap(guest: Guest, *arguments: Any) -> None:
        raise GuestTrap(ExitCause.TRAP, f"it called {name} of {interface}, which no process is given")

    return HostFunction(trap, takes_none=True)


def drop(guest: Guest, type_number: int, number: int) -> None:
    """A guest dropped one of its resources."""
    guest.resources.drop(number)
