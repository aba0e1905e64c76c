"""What guests use, told to the node about once a second while it changes. See `link/usage.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import inf
from time import monotonic, thread_time
from typing import Final

from guesthouse.link.messages import MOST_RUNS
from guesthouse.link.to_node import RunUsage
from guesthouse.link.to_node import Usage as UsageMessage
from guesthouse.link.usage import Usage
from guesthouse.worker.boundary.memory import WASM_PAGE, linear_memories
from guesthouse.worker.guest import Guest
from guesthouse.worker.outgoing import Outgoing

_EVERY_SECONDS: Final = 1.0
_NEVER: Final = (0.0, 0)
MOST_MEASURED: Final = 256
"""Memories in one worker that are looked for, known whose or not, beyond which no more are told apart: it costs a look
at all mappings.
"""
LOOK_SHARE: Final = 0.001
"""Of the worker's time may go into looks at all mappings: with 16,000 one takes 8 ms, in which no guest runs."""
LONGEST_PAUSE: Final = 10.0
"""Seconds after which it is looked again in any case."""
SHORT_LOOK: Final = 0.001
"""Seconds that a look may take without there being any pause before a guest is instantiated."""


class Memories:
    """Which memory is whose. Most guests know theirs; of the others it is the one that is there after a guest was
    instantiated and was not before.

    Args:
        guests: all that are in this worker.
        clock: seconds.
        cpu: seconds that this thread had a CPU for.
    """

    def __init__(
        self,
        guests: Mapping[int, Guest],
        clock: Callable[[], float] = monotonic,
        cpu: Callable[[], float] = thread_time,
    ) -> None:
        self._guests = guests
        self._clock = clock
        self._cpu = cpu
        self._of: dict[int, Guest] = {}
        self._nobodys: set[int] = set()
        """Memories that appeared with others, so that nobody knows whose they are."""
        self._found: dict[int, int] = {}
        """By the last look."""
        self._took = 0.0
        """How long that was."""
        self._next_look = 0.0
        self._missed = False
        """Whether guests were instantiated since then."""

    def instantiated(self, guest: Guest) -> None:
        """Find the memory of a guest that was just instantiated. With many that do not know theirs it stays
        unknown, and while looks take long: whoever starts guests would have all others wait.
        """
        if guest.fiber.known_memory() is not None:
            return
        self._of = {start: other for start, other in self._of.items() if not other.gone}
        if len(self._of) + len(self._nobodys) >= MOST_MEASURED:
            return
        if self._took > SHORT_LOOK and self._clock() < self._next_look:
            self._missed = True
            return
        self._look()
        new = self._found.keys() - self._of.keys() - self._nobodys
        missed, self._missed = self._missed, False
        if len(new) == 1 and not missed:
            self._of[new.pop()] = guest
        else:
            self._nobodys |= new

    def sizes(self, guests: Collection[Guest]) -> tuple[dict[int, int], bool]:
        """Bytes of the memories that are known, by the handles of their guests, and whether those of `guests` are as
        they are now: after a look that took long the next is put off.
        """
        sizes, others = {}, set()
        for guest in guests:
            known = guest.fiber.known_memory()
            if known is None:
                others.add(guest.handle)
            else:
                sizes[guest.handle] = known[1]
        if not others:
            return sizes, True
        looked_for, latest = self._looked_for(others)
        return sizes | looked_for, latest

    def _looked_for(self, handles: Collection[int]) -> tuple[dict[int, int], bool]:
        wanted = any(guest.handle in handles for guest in self._of.values())
        if not wanted and not self._nobodys:
            return {}, True
        late = self._clock() < self._next_look
        if not late:
            self._look()
        found = self._found
        sizes = {guest.handle: found.get(start, 0) for start, guest in self._of.items() if not guest.gone}
        return sizes, not (late and wanted)

    def _look(self) -> None:
        begin = self._cpu()
        self._found = linear_memories()
        for guest in self._guests.values():
            known = guest.fiber.known_memory()
            if known is not None:
                self._found.pop(known[0], None)
        self._nobodys &= self._found.keys()
        self._took = self._cpu() - begin
        self._next_look = self._clock() + min(self._took / LOOK_SHARE, LONGEST_PAUSE)


class UsageReport:
    """Reports what the guests that ran since the last report use, and once more when they have come to rest."""

    def __init__(self, outgoing: Outgoing, memories: Memories) -> None:
        self._outgoing = outgoing
        self._memories = memories
        self._looked_at = monotonic()
        self._next = self._looked_at + _EVERY_SECONDS
        self._last: dict[int, tuple[float, int]] = {}
        """CPU seconds and host calls at the last report, by handle."""
        self._busy: set[int] = set()
        """Those whose last report said that they ran."""
        self._full: set[int] = set()
        """Those of which the log says that their memory is full."""
        self._unreported = False

    def due_seconds(self) -> float:
        """In how many seconds `report` has something to say although nothing else happens."""
        return max(0.0, self._next - monotonic()) if self._unreported else inf

    def report(self, guests: Collection[Guest]) -> None:
        """Report if it is time and something changed."""
        now = monotonic()
        if now < self._next:
            self._unreported = True
            return
        seconds, self._looked_at, self._next = now - self._looked_at, now, now + _EVERY_SECONDS
        self._forget_the_gone(guests)
        ran = [guest for guest in guests if guest.cpu_seconds != self._last.get(guest.handle, _NEVER)[0]]
        resting = self._busy.difference(guest.handle for guest in ran)
        said = [*ran, *(guest for guest in guests if guest.handle in resting)] if resting else ran
        latest = self._say(said, seconds) if said else True
        self._busy = {guest.handle for guest in (ran if latest else said)}
        self._unreported = bool(self._busy)

    def _say(self, guests: Collection[Guest], seconds: float) -> bool:
        """Report these guests; returns whether nothing more is to be said of them unless they run."""
        sizes, latest = self._memories.sizes(guests)
        runs = [self._usage(guest, seconds, sizes.get(guest.handle, 0)) for guest in guests]
        for start in range(0, len(runs), MOST_RUNS):
            self._outgoing.add(UsageMessage(runs[start : start + MOST_RUNS]))
        return latest

    def report_end(self, guest: Guest) -> None:
        """Report what a run that has just ended used."""
        seconds = max(_EVERY_SECONDS, monotonic() - self._looked_at)
        self._outgoing.add(UsageMessage([self._usage(guest, seconds, 0)]))

    def _usage(self, guest: Guest, seconds: float, memory_bytes: int) -> RunUsage:
        cpu, calls = guest.cpu_seconds, guest.fiber.calls
        last_cpu, last_calls = self._last.get(guest.handle, _NEVER)
        self._last[guest.handle] = cpu, calls
        self._warn_of_full_memory(guest, memory_bytes)
        used = Usage(
            cpu_seconds=cpu,
            memory_bytes=memory_bytes,
            message_seconds=_on_message(guest),
            cpu_share=(cpu - last_cpu) / seconds,
            calls=calls,
            calls_per_second=round((calls - last_calls) / seconds),
            held_seconds=guest.budget.held_seconds,
            lines_dropped=guest.log.dropped,
        )
        return RunUsage(guest.handle, used)

    def _warn_of_full_memory(self, guest: Guest, memory_bytes: int) -> None:
        """Nothing tells the host that a guest was refused memory; one that is this close has likely been."""
        limit = guest.limits.memory_bytes
        if memory_bytes > limit - limit // 16 - WASM_PAGE and guest.handle not in self._full:
            self._full.add(guest.handle)
            guest.log.warn(
                f"its memory is full, or nearly so: {memory_bytes} of {limit} bytes (process.memory_bytes)"
            )

    def _forget_the_gone(self, guests: Collection[Guest]) -> None:
        if len(self._last) > len(guests):
            there = {guest.handle for guest in guests}
            self._last = {handle: last for handle, last in self._last.items() if handle in there}
            self._full &= there
            self._busy &= there


def _on_message(guest: Guest) -> float:
    """CPU seconds charged to the message in hand, or to the last one; to the start, before the first."""
    limits = guest.limits
    limit = limits.cpu_seconds_per_message if guest.serves else limits.start_seconds
    return max(0.0, limit - guest.slice_budget)
