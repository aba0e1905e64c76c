"""Reads values of a plan's JSON, with type checks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

_T = TypeVar("_T")
Json = Any


def all_of(read: Callable[[Json], _T], values: Json) -> tuple[_T, ...]:
    """A list, with each value read."""
    if not isinstance(values, list):
        raise ValueError("a plan: a list was expected")
    return tuple(map(read, values))


def optional(read: Callable[[Json], _T], value: Json) -> _T | None:
    """A value or null."""
    return None if value is None else read(value)


def text(value: Json) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("a plan: a string was expected")
    return value


def texts(values: Json) -> tuple[str, ...]:
    """A list of strings."""
    if not isinstance(values, list) or not {*map(type, values)} <= {str}:
        raise ValueError("a plan: a list of strings was expected")
    return tuple(values)


def columns(count: int, values: Json) -> list[list[Json]]:
    """`count` lists of equal length: tables are stored by columns."""
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"a plan: {count} lists were expected")
    if {*map(type, values)} != {list} or len({*map(len, values)}) != 1:
        raise ValueError("a plan: lists of equal length were expected")
    return values


def flat(values: list[Json]) -> list[Json]:
    """A list of lists, concatenated."""
    if not {*map(type, values)} <= {list}:
        raise ValueError("a plan: lists were expected")
    return list(chain.from_iterable(values))


def number(value: Json) -> int:
    """A count."""
    if type(value) is not int or value < 0:
        raise ValueError("a plan: a number was expected")
    return value


def numbers_below(bound: int, values: Json) -> list[int]:
    """A list of indices below a bound."""
    if not isinstance(values, list) or not {*map(type, values)} <= {int}:
        raise ValueError("a plan: a list of numbers was expected")
    if values and not 0 <= min(values) <= max(values) < bound:
        raise ValueError(f"a plan: a number is not below {bound}")
    return values


def below(bound: int, value: Json) -> int:
    """An index below a bound."""
    if type(value) is not int or not 0 <= value < bound:
        raise ValueError(f"a plan: a number below {bound} was expected")
    return value


def boolean(value: Json) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise ValueError("a plan: a boolean was expected")
    return value
