"""How long tests wait for what is sure to come, and what becomes of a measurement on a busy machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Final, ParamSpec

PATIENCE: Final = 60.0
"""Seconds. Far longer than anything takes that is waited for, as the machine may do much else; what never comes fails
the test all the same. It is no measure of speed: what has to come soon is held to a limit of the node's that is far
longer, to driven time, or to `within`.
"""
BESIDE: Final = os.environ.get("TESTS") == "beside"
"""Whether tests that measure run beside others: those that are disturbed then are run again alone."""
_ATTEMPTS: Final = 2 if BESIDE else 3

Asked = ParamSpec("Asked")


class Disturbed(AssertionError):
    """A measurement was too bad, and nothing else is wrong: on a noisy machine, worth another try."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block must take no longer, where the time is the very point; for a test that is `tried_again`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    yield
    took = loop.time() - began
    if took > seconds:
        raise Disturbed(f"it took {took:.1f} s, and may take {seconds:g} s")


def tried_again(test: Callable[Asked, Awaitable[None]]) -> Callable[Asked, Awaitable[None]]:
    """A test that is run up to three times when it is disturbed: what is wrong is wrong each time."""

    @wraps(test)
    async def trying(*arguments: Asked.args, **more: Asked.kwargs) -> None:
        for _ in range(_ATTEMPTS - 1):
            with suppress(Disturbed):
                return await test(*arguments, **more)
        return await test(*arguments, **more)

    return trying
