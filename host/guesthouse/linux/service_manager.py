"""Tells the service manager that started this OS process how it is (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
RELOADING: Final = "RELOADING=1"
ALIVE: Final = "WATCHDOG=1"
_SECOND: Final = 1_000_000
_WAIT_SECONDS: Final = 1.0


class ServiceManager:
    """Sends to the socket that `NOTIFY_SOCKET` names; does nothing without one.

    Args:
        environment: `os.environ` when None.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        asked = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_seconds = int(asked) / _SECOND if asked.isdecimal() and mine and self._address else 0.0
        """Silence after which the manager ends this OS process; 0: never."""

    def tell(self, state: str) -> None:
        """Send a state. All but `ALIVE` waits a little for a manager that has more to read. What
        cannot be sent is dropped: the manager has its time-outs.
        """
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
                notify.settimeout(0.0 if state == ALIVE else _WAIT_SECONDS)
                notify.sendto(state.encode(), address)
        except OSError:
            return

    def tell_alive(self, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        """Send `ALIVE` at twice the rate that is asked for, from the event loop whose `call_later` this is."""
        if self.watchdog_seconds:
            self.tell(ALIVE)
            call_later(self.watchdog_seconds / 2, lambda: self.tell_alive(call_later))
