"""Runs cases against a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from . import frames
from .case import Await, Case, HalfClose, Say, Send, Step
from .connection import Connection, connect
from .deflate import Agreed, Deflater, Violation, may_accept, read_answer
from .judge import PROBE, Verdict, judge, satisfied
from .opening import Target, check_subprotocol

SECONDS: Final = 10.0
"""How long a server may take for one thing that is expected of it."""

AT_ONCE: Final = 16

_GRACE: Final = 0.2
"""Of that time, what a server has to fail the connection after it answered a ping that came after the fault."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case."""

    case: Case
    verdict: Verdict
    got: str
    seconds: float


async def run_cases(
    cases: Iterable[Case], target: Target, *, at_once: int = AT_ONCE, seconds: float = SECONDS
) -> list[Result]:
    """Run cases, several at a time; the results are in the order of the cases.

    Raises:
        ExceptionGroup: of OSError, when there is no server.
    """
    turn = asyncio.Semaphore(at_once)

    async def run(case: Case) -> Result:
        async with turn:
            return await run_case(case, target, seconds=seconds)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(run(case), name=case.id) for case in cases]
    return [task.result() for task in running]


async def run_case(case: Case, target: Target, *, seconds: float = SECONDS) -> Result:
    """Run one case on a connection of its own.

    Raises:
        OSError: there is no server.
    """
    began = time.perf_counter()
    async with connect(target) as connection:
        run = _Run(case, connection, seconds)
        await run.open(target)
        await run.play()
        verdict = judge(case, connection.heard, declined=run.declined)
        return Result(case, verdict, str(connection.heard), time.perf_counter() - began)


class _Run:
    """One case under way."""

    def __init__(self, case: Case, connection: Connection, seconds: float) -> None:
        self.declined = False
        self._case = case
        self._connection = connection
        self._heard = connection.heard
        self._seconds = seconds
        self._deflater: Deflater | None = None

    async def open(self, target: Target) -> None:
        """The opening handshake."""
        case, heard = self._case, self._heard
        await self._connection.send(case.opening.request(target, case.offer))
        await self._until(lambda: heard.answer is not None or heard.over)
        if heard.answer is None or heard.answer.status != 101:
            return
        try:
            check_subprotocol(case.opening, heard.answer)
            agreed = read_answer(case.offer, heard.answer.extensions())
        except Violation as violation:
            heard.violation = str(violation)
            return
        self._agree(agreed)

    def _agree(self, agreed: Agreed | None) -> None:
        self.declined = agreed is None and may_accept(self._case.offer)
        self._heard.agree(agreed)
        self._deflater = None if agreed is None else Deflater(agreed)

    async def play(self) -> None:
        """The steps, and then the end."""
        case, heard = self._case, self._heard
        if heard.answer is None or heard.answer.status != 101 or heard.violation is not None:
            return
        if self.declined and case.is_raw:
            return
        for step in case.steps:
            if not await self._take(step):
                break
        if case.must_fail:
            await self._expect_failure()
        else:
            await self._expect_close()
        if heard.closed and not heard.ended and heard.violation is None:
            self._connection.send_last(frames.close(heard.code))
            await self._until(lambda: heard.ended)

    async def _take(self, step: Step) -> bool:
        """Do one thing. False when what it waits for does not come."""
        heard = self._heard
        match step:
            case Send(data, segment):
                await self._connection.send(data, segment)
            case Say():
                await self._connection.send(self._said(step))
            case Await(messages, pongs):
                return await self._until(
                    lambda: heard.over or (len(heard.messages) >= messages and len(heard.pongs) >= pongs)
                )
            case HalfClose():
                self._connection.half_close()
        return True

    def _said(self, step: Say) -> bytes:
        payload, rsv = step.message.payload, 0
        if self._deflater is not None:
            payload, rsv = self._deflater.compress(payload), frames.RSV1
        parts = frames.cut(payload, step.fragment or max(len(payload), 1))
        return frames.fragments(step.message.opcode, parts, rsv=rsv)

    async def _expect_failure(self) -> None:
        heard = self._heard
        if self._case.probe:
            await self._connection.send(frames.ping(PROBE))
        await self._until(lambda: heard.over or PROBE in heard.pongs)
        await self._connection.until(lambda: heard.over, self._seconds * _GRACE)

    async def _expect_close(self) -> None:
        case, heard = self._case, self._heard
        if case.closing:
            await self._until(lambda: heard.over or satisfied(case, heard))
            await self._connection.send(case.closing)
        await self._until(lambda: heard.over)

    async def _until(self, done: Callable[[], bool]) -> bool:
        return await self._connection.until(done, self._seconds)
