"""What to think of what a server did in a case. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from .case import Await, Case, Closed, Ended, Failed, Grade, Outcome, Refused
from .heard import Heard

PROBE: Final = b"are you still there?"
"""The payload of the ping that tells whether a server goes on where it must fail."""

_DECLINED: Final = "the server did not agree to the extension"
_WENT_ON: Final = "the server went on as if nothing had happened"

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grade, and why it is no better."""

    grade: Grade
    why: str = ""


def judge(case: Case, heard: Heard, *, declined: bool = False) -> Verdict:
    """The best verdict that any of the case's outcomes gives.

    Args:
        case: what was tried.
        heard: what the server did.
        declined: it did not agree to the extension that the case offered.
    """
    if heard.violation is not None:
        return Verdict(Grade.FAILED, heard.violation)
    if declined and case.is_raw:
        return Verdict(Grade.DECLINED, _DECLINED)
    verdicts = [_compare(case, outcome, heard) for outcome in case.outcomes]
    best = max(verdicts, key=lambda verdict: verdict.grade)
    if declined and best.grade is Grade.OK:
        return Verdict(Grade.DECLINED, _DECLINED)
    return best


def satisfied(case: Case, heard: Heard) -> bool:
    """Whether some outcome that ends in an ordinary close has all its messages and pongs."""
    return any(
        isinstance(outcome.end, Closed)
        and len(heard.messages) >= len(outcome.messages)
        and (not outcome.pongs or outcome.pongs[-1] in heard.pongs[-1:])
        for outcome in case.outcomes
    )


def _compare(case: Case, outcome: Outcome, heard: Heard) -> Verdict:
    problem = _wrong_opening(outcome, heard) or _wrong_frames(case, outcome, heard)
    if problem:
        return Verdict(Grade.FAILED, problem)
    if isinstance(outcome.end, Refused):
        return Verdict(outcome.grade)
    verdict = _worse(Verdict(outcome.grade), _compare_end(outcome.end, heard))
    if case.must_fail and PROBE in heard.pongs:
        return _worse(verdict, Verdict(Grade.NON_STRICT, "the server answered a ping after the fault"))
    return verdict


def _wrong_opening(outcome: Outcome, heard: Heard) -> str:
    status = 0 if heard.answer is None else heard.answer.status
    if not isinstance(outcome.end, Refused):
        return "" if status == 101 else f"no upgrade: {heard}"
    if status == 101:
        return "the server accepted the upgrade"
    right = status in outcome.end.statuses if outcome.end.statuses else 400 <= status < 600
    if heard.answer is not None and outcome.end.having and not heard.answer.all(outcome.end.having):
        return f"the refusal has no header {outcome.end.having}"
    return "" if right else f"refused otherwise: {heard}"


def _wrong_frames(case: Case, outcome: Outcome, heard: Heard) -> str:
    if isinstance(outcome.end, Closed):
        right = heard.messages == list(outcome.messages)
    else:
        required = max((step.messages for step in case.steps if isinstance(step, Await)), default=0)
        right = _begins(outcome.messages, heard.messages) and len(heard.messages) >= required
    if not right:
        return "other messages than expected"
    pongs = [payload for payload in heard.pongs if payload != PROBE]
    if not _are_pongs(outcome.pongs, pongs, whole=isinstance(outcome.end, Closed)):
        return "other pongs than expected"
    return ""


def _begins(whole: Sequence[Item], start: Sequence[Item]) -> bool:
    return list(whole[: len(start)]) == list(start)


def _are_pongs(expected: Sequence[bytes], heard: Sequence[bytes], *, whole: bool) -> bool:
    """A server that got several pings may answer only the last of them (RFC 6455, section 5.5.3)."""
    rest = iter(expected)
    in_order = all(pong in rest for pong in heard)
    return in_order and (not whole or not expected or list(heard[-1:]) == list(expected[-1:]))


def _compare_end(end: Closed | Failed | Ended, heard: Heard) -> Verdict:
    if isinstance(end, Ended):
        return (
            Verdict(Grade.OK)
            if heard.ended
            else Verdict(Grade.FAILED, "the server did not end the connection")
        )
    if not heard.closed:
        if isinstance(end, Failed) and heard.ended:
            return Verdict(Grade.NON_STRICT, "the server failed the connection without a close frame")
        went_on = isinstance(end, Failed) and PROBE in heard.pongs
        return Verdict(Grade.FAILED, _WENT_ON if went_on else "the server sent no close frame")
    if heard.code not in end.codes:
        return Verdict(Grade.FAILED, f"the server closed with {heard.code or 'no code'}")
    if not heard.ended:
        return Verdict(Grade.NON_STRICT, "the server left the TCP connection open")
    return Verdict(Grade.OK)


def _worse(first: Verdict, second: Verdict) -> Verdict:
    return second if second.grade < first.grade else first
