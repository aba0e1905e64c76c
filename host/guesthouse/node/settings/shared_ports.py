"""Listeners of one node that are set to the same port. Pure."""

from __future__ import annotations

from itertools import combinations
from typing import Final

from guesthouse.core.config import ApiSettings, HttpSettings, MonitoringSettings, Settings

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared


def shared_ports(settings: Settings) -> list[str]:
    """Pairs of listeners that cannot both listen, a line each."""
    listeners: dict[str, HttpSettings | MonitoringSettings | ApiSettings] = {
        "http": settings.http,
        "monitoring": settings.monitoring,
        "api": settings.api,
    }
    return [
        f"{one}.port and {two}.port are both {at.port}: give each a port of its own"
        for (one, at), (two, beside) in combinations(listeners.items(), 2)
        if at.port
        and at.port == beside.port
        and (at.host == beside.host or _EVERYWHERE & {at.host, beside.host})
    ]
