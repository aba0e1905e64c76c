"""Clients that attack by the protocol of resumable channels."""

from __future__ import annotations

import pytest

from ...e2e.waiting import until
from ..figures import MIB, Allowance
from . import sessions
from .attacker import TARGET, Attacker

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEAVERS = 300


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Small outboxes, room for few clients that are away, and little time to come back."""
    return {
        "connections_outbox_bytes": MIB,
        "connections_resume_seconds": 1,
        "connections_away_per_user": 50,
        "connections_away_bytes": 8 * MIB,
    }


async def test_hostile_resumers_harm_nobody_and_leave_nothing_behind(attacker: Attacker) -> None:
    expected: dict[str, str | set[str]] = dict.fromkeys(
        sessions.LIES, "4009 not a control message that may come here"
    )
    expected |= dict.fromkeys(
        ("acknowledges what was never sent", "acknowledges a huge count", "has lost more than there can be"),
        "4010 a count of messages that cannot be",
    )
    guessed = {"4008 no such session", "4012 too many failed resumes from this address"}
    expected |= dict.fromkeys(("guesses a key", "guesses no key", "guesses nothing"), guessed)
    expected |= {
        "resumes from many sockets at once": "one session",
        "never acknowledges": "kept within the outbox",
        "opens sessions and leaves": "left",
    }
    await attacker.carry_out(
        "sessions: lies, guessed keys, many sockets at once, no acknowledgement, leaving",
        "resumers",
        expected,
        log="a WebSocket was closed with 4010: a count of messages that cannot be",
        allowed=Allowance(node_bytes=64 * MIB),
        count=3,
        leavers=LEAVERS,
    )

    async def away() -> int:
        (process,) = [each for each in await attacker.scene.ask("ps") if each["process"] == TARGET]
        return int(process["away"])

    await until(away, lambda count: count == 0, "no client is away any more")
