"""`passwords:distro:sys`: hashes of passwords by Argon2id, which a guest itself could only make slowly.

- `{"Hash": PASSWORD}`: `{"Hash": TEXT}`, with a new salt, in the form `$argon2id$v=19$m=…`.
- `{"Verify": {"password": PASSWORD, "hash": TEXT}}`: `{"Verify": {"matches": BOOL, "outdated": BOOL}}`. `outdated`: it
  was made with other parameters than `Hash` uses now, so hash the password again once it matches.

Nothing is kept. Errors: `Busy` (too many requests of the package wait), `InputError`, `IOError`. A hash from elsewhere
may cost at most 64 MiB of memory, with four passes over them: one that costs more is an `InputError`, and no work.

One password is hashed at a time, on a thread of low priority: it takes at most one CPU and 64 MiB. The packages take
turns, and each rests three times as long as its own password took.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic, thread_time
from typing import Any, Final

from msgspec import Struct

from guesthouse.core.address import ProcessId
from guesthouse.core.json_forms import BadRequest, encoded, error, field, parse, tagged
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.modules.module import ModuleContext, RuntimeModule
from guesthouse.modules.password_turns import PasswordTurns

PASSWORDS: Final = ProcessId("passwords", "distro", "sys")
MAX_BODY: Final = 16 * 1024
MAX_PASSWORD: Final = 1024
"""Bytes of a password in UTF-8."""
MAX_HASH: Final = 512
MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
"""With `MEMORY_KIB` and one lane, what OWASP recommends for Argon2id."""
MOST_KIB: Final = 64 * 1024
MOST_PASSES: Final = 4
MOST_LANES: Final = 4
_NICENESS: Final = 5


class _Job(Struct, frozen=True):
    request: ModuleRequest
    password: str
    hash: str | None
    """None: to be made."""
    lanes: int = 1


_Done = tuple[bytes, float]
"""An answer, and the seconds of a CPU that it took."""


class Passwords(RuntimeModule):
    """The module."""

    id = PASSWORDS

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._turns: PasswordTurns[_Job] = PasswordTurns(lambda job: job.request.waits())
        self._thread = ThreadPoolExecutor(1, "guesthouse passwords", _lower_priority)
        self._busy = False
        self._closed = False
        self._look_again: asyncio.TimerHandle | None = None

    @classmethod
    def make(cls, context: ModuleContext) -> Passwords:
        """See `RuntimeModule`."""
        return cls()

    def request(self, request: ModuleRequest) -> None:
        """See `Module`."""
        try:
            job = _job(request)
        except BadRequest as bad:
            request.answer(error("InputError", str(bad)), None)
            return
        if self._turns.add(request.source.process.package_id, job):
            self._next()
        else:
            request.answer(error("Busy"), None)

    def forget_package(self, package: str) -> None:
        """See `RuntimeModule`."""
        self._turns.forget(package)

    def close(self) -> None:
        """Stop after the password that is being hashed."""
        self._closed = True
        self._cancel_look()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _next(self) -> None:
        if self._busy or self._closed:
            return
        self._cancel_look()
        taken = self._turns.take(monotonic())
        if taken is None:
            when = self._turns.next_at()
            if when is not None:
                self._look_again = self._loop.call_later(max(0.0, when - monotonic()), self._next)
            return
        package, job = taken
        self._busy = True
        future = self._thread.submit(_timed, job)
        future.add_done_callback(partial(self._from_thread, package, job))

    def _from_thread(self, package: str, job: _Job, future: Future[_Done]) -> None:
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._done, package, job, future)

    def _done(self, package: str, job: _Job, future: Future[_Done]) -> None:
        self._busy = False
        if future.cancelled():
            return
        body, seconds = future.result()
        self._turns.done(package, monotonic(), seconds)
        job.request.answer(body, None)
        self._next()

    def _cancel_look(self) -> None:
        if self._look_again is not None:
            self._look_again.cancel()
            self._look_again = None


def _job(request: ModuleRequest) -> _Job:
    name, fields = tagged(parse(request.body, MAX_BODY))
    if name == "Hash":
        return _Job(request, _password(fields), None)
    if name != "Verify":
        raise BadRequest(f"no action is named {name[:40]}")
    password, text = _password(field(fields, "password", str)), field(fields, "hash", str)
    return _Job(request, password, text, _lanes(text))


def _password(value: Any) -> str:
    try:
        if isinstance(value, str) and 0 < len(value.encode()) <= MAX_PASSWORD:
            return value
    except UnicodeEncodeError:
        pass
    raise BadRequest(f"a password is a text of 1 to {MAX_PASSWORD} bytes")


def _lanes(text: str) -> int:
    """Check that a hash is one, and costs no more than it may; returns its number of lanes."""
    from argon2 import Type, extract_parameters
    from argon2.exceptions import InvalidHashError

    try:
        if len(text) > MAX_HASH or not text.isascii():
            raise BadRequest(f"a hash has at most {MAX_HASH} characters, in ASCII")
        found = extract_parameters(text)
    except (InvalidHashError, ValueError):
        raise BadRequest("the hash is not one of Argon2") from None
    cheap = 0 < found.memory_cost <= MOST_KIB and found.time_cost > 0
    if not cheap or found.memory_cost * found.time_cost > MOST_KIB * MOST_PASSES:
        raise BadRequest(f"the hash costs more than m={MOST_KIB}, t={MOST_PASSES}")
    if found.type is not Type.ID or not 0 < found.parallelism <= MOST_LANES:
        raise BadRequest(f"the hash is not of Argon2id with at most {MOST_LANES} lanes")
    return found.parallelism


def _timed(job: _Job) -> _Done:
    """Do a job. On a busy machine it takes longer than its CPU time, which is what counts; lanes are threads, whose CPU
    time is not seen here.
    """
    began, began_cpu = monotonic(), thread_time()
    try:
        body = _work(job)
    except Exception as problem:  # such as no memory: the module must go on
        body = error("IOError", f"the node could not hash it: {type(problem).__name__}")
    wall, cpu = monotonic() - began, thread_time() - began_cpu
    return body, cpu if job.lanes == 1 else wall


def _work(job: _Job) -> bytes:
    from argon2 import PasswordHasher  # slow to import, and most nodes never need it
    from argon2.exceptions import InvalidHashError, VerificationError

    hasher = PasswordHasher(PASSES, MEMORY_KIB, 1)
    if job.hash is None:
        return encoded({"Hash": hasher.hash(job.password)})
    try:
        matches: bool = hasher.verify(job.hash, job.password)
    except (VerificationError, InvalidHashError):
        matches = False
    return encoded({"Verify": {"matches": matches, "outdated": hasher.check_needs_rehash(job.hash)}})


def _lower_priority() -> None:
    """Linux has a niceness for each thread."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
