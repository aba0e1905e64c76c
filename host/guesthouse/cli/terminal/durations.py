"""Durations on the command line."""

from __future__ import annotations

import math
import re
from typing import Any, Final

import click

_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def duration(text: str) -> int | None:
    """The seconds of a duration such as 90s, 10min, 2h or 3d; None when it is none."""
    match = re.fullmatch(r"([0-9]{1,9}) ?(s|min|h|d)", text)
    return None if match is None else int(match[1]) * _UNITS[match[2]]


class Seconds(click.FloatRange):
    """A number of seconds from one to another: not NaN, which click takes for any range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert what was given."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        return seconds
