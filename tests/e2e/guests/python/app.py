"""All test guests in Python in one component: to build and compile one takes half a minute of a CPU."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from guesthouse_sdk import Address

GUESTS: dict[str, Callable[[Address], object]] = {}
"""What each runs, by the name of its package or of its process."""


def _is(name: str) -> Callable[[Address], object]:
    found = import_module(name).main
    return lambda our: found().run(our) if isinstance(found, type) else found(our)


for name in (
    "clocks",
    "hydra",
    "ledger",
    "lounge",
    "pusher",
    "recorder",
    "rights",
    "scenarios",
    "sender",
    "vault",
    "waiter",
):
    GUESTS[name] = _is(name)


def main(our: Address) -> None:
    by_package = GUESTS.get(our.process.package_name)
    (by_package or GUESTS[our.process.process_name])(our)
