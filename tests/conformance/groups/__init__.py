"""The cases, one module a group. Each module's `cases(target)` makes them for a server with its limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..case import Case
from ..opening import Target
from . import (
    closing,
    compression,
    fragmentation,
    framing,
    handshake,
    limits,
    misc,
    negotiation,
    opcodes,
    pings,
    reserved,
    utf8,
)

_GROUPS: Final[dict[int, tuple[str, Callable[[Target], Iterator[Case]]]]] = {
    1: ("Framing", framing.cases),
    2: ("Pings and pongs", pings.cases),
    3: ("Reserved bits", reserved.cases),
    4: ("Opcodes", opcodes.cases),
    5: ("Fragmentation", fragmentation.cases),
    6: ("UTF-8", utf8.cases),
    7: ("Close handling", closing.cases),
    8: ("Opening handshake", handshake.cases),
    9: ("Limits and sizes", limits.cases),
    10: ("Miscellaneous", misc.cases),
    12: ("Compression", compression.cases),
    13: ("Compression parameters", negotiation.cases),
}

TITLES: Final = {number: title for number, (title, _) in _GROUPS.items()}


def all_cases(target: Target) -> list[Case]:
    """Every case, in order."""
    return [case for _, cases in _GROUPS.values() for case in cases(target)]
