"""Which fake host answers the calls of this OS process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guesthouse_sdk.testing import FakeHost

_host: FakeHost | None = None


def host() -> FakeHost:
    """The fake host that is running.

    Raises:
        RuntimeError: none is, so this is code of a process that was simply run by Python.
    """
    if _host is None:
        raise RuntimeError(
            "there is no host here: build the process and run it in a node, "
            "or use `with guesthouse_sdk.testing.FakeHost() as host: host.run(main)`"
        )
    return _host


def install(host: FakeHost | None) -> None:
    """Let `host` answer from now on, or nobody.

    Raises:
        RuntimeError: another one does already.
    """
    global _host
    if host is not None and _host is not None:
        raise RuntimeError("another FakeHost is running: leave its `with` block first")
    _host = host
