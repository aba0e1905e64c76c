"""Values of a plan's JSON, each checked to be what stands in that place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

_T = TypeVar("_T")
Json = Any


def all_of(read: Callable[[Json], _T], values: Json) -> tuple[_T, ...]:
    """Each value of a list, read."""
    if not isinstance(values, list):
        raise ValueError("a plan has a list there")
    return tuple(map(read, values))


def optional(read: Callable[[Json], _T], value: Json) -> _T | None:
    """A value that may be missing, read."""
    return None if value is None else read(value)


def text(value: Json) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("a plan has text there")
    return value


def texts(values: Json) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(values, list) or not {*map(type, values)} <= {str}:
        raise ValueError("a plan has a list of texts there")
    return tuple(values)


def columns(count: int, values: Json) -> list[list[Json]]:
    """So many lists, each as long as the others: what there is much of is listed by what it consists of."""
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"a plan has {count} lists there")
    if {*map(type, values)} != {list} or len({*map(len, values)}) != 1:
        raise ValueError("a plan has lists of one length there")
    return values


def flat(values: list[Json]) -> list[Json]:
    """What is in a list of lists."""
    if not {*map(type, values)} <= {list}:
        raise ValueError("a plan has lists there")
    return list(chain.from_iterable(values))


def number(value: Json) -> int:
    """A number that counts something."""
    if type(value) is not int or value < 0:
        raise ValueError("a plan has a number there")
    return value


def numbers_below(bound: int, values: Json) -> list[int]:
    """A list of numbers of things of which there are so many."""
    if not isinstance(values, list) or not {*map(type, values)} <= {int}:
        raise ValueError("a plan has a list of numbers there")
    if values and not 0 <= min(values) <= max(values) < bound:
        raise ValueError(f"a plan speaks of a number that is none of {bound}")
    return values


def below(bound: int, value: Json) -> int:
    """The number of a thing of which there are so many."""
    if type(value) is not int or not 0 <= value < bound:
        raise ValueError(f"a plan has the number of one of {bound} there")
    return value


def boolean(value: Json) -> bool:
    """Whether something is so."""
    if not isinstance(value, bool):
        raise ValueError("a plan has a truth there")
    return value
