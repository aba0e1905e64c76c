"""The worker's loop: handles messages of the node, holds the guests, and runs the scheduler."""

from __future__ import annotations

import gc
import os
import select
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from socket import socket
from time import perf_counter
from typing import Any, Final
from weakref import WeakValueDictionary

from guesthouse.core.address import Address
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.timing.clock import Clock
from guesthouse.link import to_worker
from guesthouse.link.busy_poll import AWAKE_SECONDS, BusyPoll
from guesthouse.link.frames import LinkError, from_node, prepare_checks
from guesthouse.link.lane import WorkerLane
from guesthouse.link.pieces import Assembly
from guesthouse.link.schema import PROTOCOL_VERSION, Message
from guesthouse.link.to_node import Exited, LogLine, Pong, Ready
from guesthouse.wasm import self_check
from guesthouse.wasm.engine.address_space import lacks_addresses, no_addresses_for_guest
from guesthouse.wasm.engine.engines import new_engine
from guesthouse.wasm.engine.epoch_timer import TICK_SECONDS, EpochTimer
from guesthouse.wasm.engine.fiber import StoreLimits
from guesthouse.wasm.errors import GuestTrap
from guesthouse.wasm.loader import Engines, Loaded
from guesthouse.worker.calls import ENTRIES, HostCalls, check_entry
from guesthouse.worker.contract_messages import on_exit_value
from guesthouse.worker.guest import Guest, WaitingFor
from guesthouse.worker.limits.package_modules import PackageModules
from guesthouse.worker.link import LinkWriter
from guesthouse.worker.scheduler import Scheduler
from guesthouse.worker.shared_push import SharedPush
from guesthouse.worker.traced_guest import TracedGuest
from guesthouse.worker.trap_trace import shown_trace
from guesthouse.worker.usage_report import UsageReport

_MESSAGE: Final = WaitingFor.MESSAGE
_TEXT_CHARACTERS: Final = 65_536
_NO_FAILURES: Final = (ExitCause.RETURNED, ExitCause.STOPPED)
_LONGEST_WAIT: Final = 24 * 3600.0
"""Seconds: the limit of `poll` is about 24 days, but guests may sleep longer."""
_LINGER_SECONDS: Final = 0.05
"""How long the epoch ticks on when idle: stopping it costs a system call."""
_ABOUT_SECONDS: Final = 0.02
"""How long latency-sensitive guests count as active after the last was woken."""


class WorkerLoop:
    """One worker subprocess. `run` returns when the node closes the link.

    Args:
        link: to the node.
        clock: the time that guests see.
        lane: for large payloads, if the node shares memory.
    """

    def __init__(self, link: socket, clock: Clock | None = None, lane: WorkerLane | None = None) -> None:
        self._link = link
        self._lane = lane
        self._engines = Engines(new_engine(), new_engine(small=True))
        self_check.check(self._engines.main, self._engines.small)
        self._epoch_timer = EpochTimer(self._engines.main, self._engines.small)
        self._outgoing = LinkWriter(link, lane)
        self._busy_poll = BusyPoll()
        self._lone = False
        """Whether a single message was received last."""
        self._quick_until = 0.0
        self._guests: dict[int, Guest] = {}
        self._scheduler = Scheduler(self._ended, self._on_preempted, self._outgoing.flush, clock)
        self._lent_to: set[Guest] = set()
        """Guests with payloads that are still in shared memory: those of this iteration's messages."""
        self._channels: dict[int, Guest] = {}
        self._components: WeakValueDictionary[str, Loaded] = WeakValueDictionary()
        self._modules = PackageModules()
        self._calls = HostCalls()
        self._usage = UsageReport(self._outgoing)
        self._assembly: Assembly[to_worker.Piece] = Assembly()
        self._dispatch: dict[type[Message], Callable[[Any], None]] = {
            to_worker.Configure: self._configure,
            to_worker.Start: self._start,
            to_worker.Stop: self._stop,
            to_worker.Finish: self._finish,
            to_worker.Open: self._open,
            to_worker.Push: self._message,
            to_worker.TracedPush: self._message,
            to_worker.Close: self._close,
            to_worker.Http: self._message,
            to_worker.TracedHttp: self._message,
            to_worker.Request: self._message,
            to_worker.TracedRequest: self._message,
            to_worker.Response: self._answer,
            to_worker.TracedResponse: self._answer,
            to_worker.SendFailure: self._answer,
            to_worker.TracedSendFailure: self._answer,
            to_worker.Reply: self._reply,
            to_worker.Credit: self._credit,
            to_worker.ChannelGone: self._channel_gone,
            to_worker.Ping: self._ping,
            to_worker.Piece: self._piece,
            to_worker.Whole: self._whole,
            to_worker.SetClock: self._set_clock,
            to_worker.Placed: self._placed,
            to_worker.Released: self._released,
        }

    def run(self) -> None:
        """Serve until the node closes the link."""
        reader, dispatch = from_node(), self._dispatch
        receive = self._link.recv_into
        poller = select.poll()
        poller.register(self._link.fileno(), select.POLLIN)
        prepare_checks()  # now, as the node takes longer to start
        gc.freeze()  # what was loaded stays
        gc.enable()
        self._epoch_timer.relax(inf)
        self._epoch_timer.start()
        while True:
            if self._wait(poller):
                size = receive(reader.room())
                if not size:
                    return
                number = 0
                for message in reader.received(size):
                    dispatch[type(message)](message)
                    number += 1
                self._lone = number == 1
            self._run_guests()
            self._usage.report(self._guests.values())
            self._outgoing.flush()
            if self._outgoing.has_large:
                self._outgoing.send_pieces()
            if self._epoch_timer.fast:
                self._epoch_timer.relax(perf_counter())

    def _run_guests(self) -> None:
        epoch_timer, scheduler = self._epoch_timer, self._scheduler
        if epoch_timer.fast:
            epoch_timer.begin_round()
        quick = scheduler.run_woken()
        if self._lent_to and self._lane is not None:
            self._settle(self._lane)
        self._outgoing.flush()  # so that output does not wait for CPU-bound guests
        guest = scheduler.preempted
        if guest is not None:
            if epoch_timer.fast and not guest.gone:
                epoch_timer.begin_slice(guest.fiber.engine, short=self._latency_sensitive_active(quick))
            scheduler.run_preempted()

    def _latency_sensitive_active(self, quick: bool) -> bool:
        """Whether guests were woken lately that finish within a short slice, and so are mostly delayed by waiting for
        one. Other guests lose more by short slices than they gain.
        """
        now = perf_counter()
        if quick:
            self._quick_until = now + _ABOUT_SECONDS
        return now < self._quick_until

    def _wait(self, poller: select.poll) -> bool:
        """Wait for the link or the next timer; returns whether the link is readable.

        The epoch stops in a long wait.
        """
        seconds = 0.0 if self._outgoing.has_large else self._scheduler.wait_seconds()
        if (seconds is None or seconds > AWAKE_SECONDS) and self._poll_link(poller):
            return True
        if seconds is not None and seconds <= _LINGER_SECONDS:
            return bool(poller.poll(1000 * seconds))
        if poller.poll(1000 * _LINGER_SECONDS):
            return True
        self._epoch_timer.stop()
        left = min(self._usage.due_seconds(), _LONGEST_WAIT)
        if seconds is not None:
            left = min(left, seconds - _LINGER_SECONDS)
        readable = bool(poller.poll(1000 * left))
        self._epoch_timer.start()
        return readable

    def _poll_link(self, poller: select.poll) -> bool:
        """Poll the link briefly before sleeping; returns whether it is readable."""
        until = self._busy_poll.begin(perf_counter(), lone=self._lone)
        if not until:
            return False
        while not poller.poll(0):
            if perf_counter() >= until:
                self._busy_poll.in_vain()
                return False
            os.sched_yield()
        self._busy_poll.heard()
        return True

    def _on_preempted(self, now: float, spent: float) -> None:
        """A guest's slice ended before it was done: CPU-bound guests get short slices from now on."""
        if self._epoch_timer.fast or spent > 2 * TICK_SECONDS:
            self._epoch_timer.hurry(now)

    # Messages

    def _configure(self, message: to_worker.Configure) -> None:
        if message.version != PROTOCOL_VERSION:
            raise LinkError(
                f"the node speaks version {message.version} of the link, this worker {PROTOCOL_VERSION}"
            )
        self._outgoing.add(Ready(PROTOCOL_VERSION, os.getpid()))

    def _ping(self, _: to_worker.Ping) -> None:
        self._outgoing.add(Pong())

    def _set_clock(self, _: to_worker.SetClock) -> None:
        raise LinkError("the node moves a clock, and this worker's is the machine's")

    def _piece(self, piece: to_worker.Piece) -> None:
        if piece.handle in self._guests:
            self._assembly.add(piece)

    def _whole(self, whole: to_worker.Whole) -> None:
        if whole.handle in self._guests:
            message = self._assembly.complete(whole.handle, whole.message)
            self._dispatch[type(message)](message)

    def _placed(self, placed: to_worker.Placed) -> None:
        lane, message = self._shared(), placed.message
        if type(message) is to_worker.Push:
            guest = self._guests.get(message.handle)
            if guest is not None:
                payload = lane.lend(placed)
                self._lent_to.add(guest)
                guest.deliver(SharedPush(message.handle, message.channel_id, message.message_type, payload))
                return
        message = lane.take(placed)
        self._dispatch[type(message)](message)

    def _settle(self, lane: WorkerLane) -> None:
        """Guests have handled what they were lent, or keep a copy, so that none holds up the ring."""
        for guest in self._lent_to:
            guest.own_payloads()
        self._lent_to.clear()
        lane.settle()

    def _released(self, released: to_worker.Released) -> None:
        self._shared().released(released)

    def _shared(self) -> WorkerLane:
        if self._lane is None:
            raise LinkError("the node uses memory that it did not share")
        return self._lane

    def _start(self, start: to_worker.Start) -> None:
        limits = start.limits
        guest = (TracedGuest if start.traced else Guest)(
            start.handle,
            Address.parse(start.our),
            limits,
            on_exit_value(start.on_exit),
            self._outgoing,
            self._scheduler,
            connected=start.connected,
        )
        try:
            component = self._component(os.fsdecode(start.component))
            self._modules.check(guest.our.process.package_id, component)
            fiber = component.new_fiber(StoreLimits(limits.memory_bytes, limits.table_elements), guest)
        except GuesthouseError as error:
            if lacks_addresses(error):
                self._exited(start.handle, ExitCause.HOST_FAULT, no_addresses_for_guest())
            else:
                self._exited(start.handle, ExitCause.NOT_STARTED, str(error))
            return
        guest.component = component
        self._modules.add(guest.our.process.package_id, component)
        guest.arguments = partial(ENTRIES[component.entry], guest)
        guest.fiber = fiber
        self._guests[guest.handle] = guest
        self._scheduler.wake(guest)

    def _stop(self, stop: to_worker.Stop) -> None:
        guest = self._guests.get(stop.handle)
        if guest is not None:
            self._scheduler.end(guest, GuestTrap(ExitCause.STOPPED, stop.reason))

    def _finish(self, finish: to_worker.Finish) -> None:
        guest = self._guests.get(finish.handle)
        if guest is None:
            return
        if guest.waiting is WaitingFor.MESSAGE:
            self._scheduler.end(guest, GuestTrap(ExitCause.STOPPED, finish.reason))
        else:
            guest.finishing = finish.reason

    def _open(self, opened: to_worker.Open) -> None:
        guest = self._guests.get(opened.handle)
        if guest is not None:
            channel_id = opened.channel_id
            guest.channels[channel_id] = opened.credit
            guest.paths[channel_id] = (opened.path, opened.bound_path)
            if opened.claims is not None:
                guest.claims[channel_id] = opened.claims
            self._channels[channel_id] = guest
            guest.deliver(opened)

    def _message(self, message: to_worker.ToProcess) -> None:
        guest = self._guests.get(message.handle)
        if guest is not None:
            guest.inbox.append(message)  # `deliver` to one that is at work, without a call
            if guest.waiting is _MESSAGE:
                guest.wake_for_message()

    def _close(self, closed: to_worker.Close) -> None:
        self._forget_channel(closed.channel_id)
        self._message(closed)

    def _answer(self, message: to_worker.Response | to_worker.SendFailure) -> None:
        guest = self._guests.get(message.handle)
        if guest is None:
            return
        if message.await_id:
            guest.respond(message)
        else:
            guest.deliver(message)

    def _reply(self, reply: to_worker.Reply) -> None:
        guest = self._guests.get(reply.handle)
        if guest is not None:
            guest.reply(reply.call_id, reply.outcome)

    def _credit(self, credit: to_worker.Credit) -> None:
        guest = self._channels.get(credit.channel_id)
        if guest is not None and credit.channel_id in guest.channels:
            guest.channels[credit.channel_id] += credit.size

    def _channel_gone(self, gone: to_worker.ChannelGone) -> None:
        guest = self._channels.get(gone.channel_id)
        if guest is not None:
            guest.claims.pop(gone.channel_id, None)
        self._forget_channel(gone.channel_id)

    def _forget_channel(self, channel_id: int) -> None:
        guest = self._channels.pop(channel_id, None)
        if guest is not None:
            guest.channels.pop(channel_id, None)
            guest.paths.pop(channel_id, None)

    # Guests

    def _component(self, path: str) -> Loaded:
        component = self._components.get(path)
        if component is None:
            component = self._engines.load(Path(path), self._calls, *ENTRIES)
            check_entry(component.entry, component.entry_type)
            self._components[path] = component
            self._epoch_timer.use(component.engine)
        return component

    def _ended(self, guest: Guest, trap: GuestTrap) -> None:
        del self._guests[guest.handle]
        self._modules.remove(guest.our.process.package_id, guest.component)
        for channel_id in guest.channels:
            self._channels.pop(channel_id, None)
        guest.end_trace(None if trap.cause in _NO_FAILURES else _clean(f"{trap.cause}: {trap.detail}"))
        guest.log.close()
        self._outgoing.drop_large(guest.handle)
        self._assembly.drop(guest.handle)
        self._usage.report_end(guest)
        self._explain(guest, trap)
        self._exited(guest.handle, trap.cause, trap.detail)
        guest.let_go()

    def _exited(self, handle: int, cause: str, detail: str) -> None:
        self._outgoing.add(Exited(handle, cause, _clean(detail)))

    def _explain(self, guest: Guest, trap: GuestTrap) -> None:
        """Log what only the worker knows: where the guest was, or which host call failed and how."""
        if trap.trace:
            self._outgoing.add(LogLine(guest.handle, "host", "error", _clean(shown_trace(trap.trace))))


def _clean(text: str) -> str:
    """A text about a guest, which may quote it, without lone surrogates, which the link cannot carry."""
    return text.encode("utf-8", "replace").decode()[:_TEXT_CHARACTERS]
