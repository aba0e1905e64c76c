"""Timers: `Process.call_later`, and durable ones, which outlive the process and the node. The API of
`timer:distro:sys`.

The manifest has to request the capability: `request-capabilities = ["timer:distro:sys"]`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Final

from guesthouse_sdk._checks import checked_text
from guesthouse_sdk._runtime_modules import Refusal, ask, module, refused_use
from guesthouse_sdk.errors import GuestError, NotAuthorised
from guesthouse_sdk.log import log_exception
from guesthouse_sdk.messaging import Request

__all__ = [
    "MAX_ID",
    "Timer",
    "TimerError",
    "TimerNotStored",
    "TooManyTimers",
    "cancel_timer",
    "set_timer",
    "sleep",
]

MAX_ID: Final = 256
"""Characters of a durable timer's id."""
MAX_SECONDS: Final = 366 * 24 * 3600
"""The longest time of a durable timer."""

_MODULE: Final = "timer"
SPARE_SECONDS: Final = 3600
"""How much longer than its timer a request waits: the answer of a busy node is late."""


class TimerError(GuestError):
    """A durable timer was not set or not cancelled."""


class TooManyTimers(TimerError):
    """The process has 1000 durable timers, or its package 10,000."""


class TimerNotStored(TimerError):
    """The node could not write it; its log says why."""


class Timer:
    """A call that is to come. It is lost when the process ends: see `set_timer` for one that is not."""

    __slots__ = ("_arguments", "_callback")

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._callback: Callable[..., object] | None = callback
        self._arguments = arguments

    @property
    def pending(self) -> bool:
        """Whether the call is still to come."""
        return self._callback is not None

    def cancel(self) -> None:
        """Do not call. After the call, and a second time, it does nothing."""
        self._callback, self._arguments = None, ()

    def call(self) -> None:
        """Call now what is still to be called; an exception in it is logged."""
        callback, arguments = self._callback, self._arguments
        self.cancel()
        if callback is not None:
            try:
                callback(*arguments)
            except Exception as error:
                log_exception(f"{getattr(callback, '__qualname__', 'the callback')} of a timer", error)


def set_timer(timer_id: str, seconds: float) -> None:
    """Set a durable timer: when its time has come the process gets it at `on_timer`, even if process or node were
    restarted meanwhile. Setting one again moves it. It is durable once this returns.

    Args:
        timer_id: 1 to `MAX_ID` characters; each process has its own.
        seconds: 0 to a year.

    Raises:
        TimerError: it was not set; the subclass says why.
        NotAuthorised: the manifest does not request `timer:distro:sys`.
        SendError: the node did not answer.
    """
    milliseconds = math.ceil(checked_seconds(seconds, MAX_SECONDS) * 1000)
    _ask({"Set": {"id": _checked_id(timer_id), "milliseconds": milliseconds}})


def cancel_timer(timer_id: str) -> None:
    """Cancel a durable timer; one that is not set is none.

    Raises:
        TimerError: it was not cancelled; the subclass says why.
        NotAuthorised: the manifest does not request `timer:distro:sys`.
        SendError: the node did not answer.
    """
    _ask({"Cancel": _checked_id(timer_id)})


async def sleep(seconds: float) -> None:
    """Wait in an `async def on_message`, while the process handles other channels.

    Args:
        seconds: 0 to a year.

    Raises:
        NotAuthorised: the manifest does not request `timer:distro:sys`.
    """
    milliseconds = math.ceil(checked_seconds(seconds, MAX_SECONDS) * 1000)
    request = Request().target(module(_MODULE)).body(json.dumps({"SetTimer": milliseconds}))
    try:
        await request.expects_response(milliseconds // 1000 + SPARE_SECONDS)
    except NotAuthorised as error:
        raise refused_use(_MODULE, error) from None


def _ask(body: object) -> None:
    try:
        ask(_MODULE, body)
    except Refusal as refusal:
        if refusal.kind == "TooMany":
            raise TooManyTimers(
                "the process or its package has as many durable timers as the node allows"
            ) from None
        if refusal.kind == "IOError":
            raise TimerNotStored("the node could not write the timer; its log says why") from None
        raise TimerError(f"{refusal.kind}: {refusal.reason}") from None


def _checked_id(timer_id: str) -> str:
    if not 0 < len(checked_text(timer_id, "the id of a timer")) <= MAX_ID:
        raise ValueError(f"the id of a timer has 1 to {MAX_ID} characters, not {len(timer_id)}")
    return timer_id


def checked_seconds(seconds: float, most: float) -> float:
    """Return a time if it is one, from 0 to `most`.

    Raises:
        TypeError: it is not a number.
        ValueError: it is out of that range.
    """
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"the seconds of a timer must be a number, not {type(seconds).__name__}")
    if not 0 <= seconds <= most or seconds == math.inf:
        raise ValueError(f"the seconds of a timer must be from 0 to {most}, not {seconds}")
    return float(seconds)
