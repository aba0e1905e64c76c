"""Clients that are slow, or say nothing any more."""

from __future__ import annotations

import pytest

from .attacker import TARGET, Attacker

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Short times, so that who is slow is found out soon."""
    return {
        "connections_handshake_seconds": 1,
        "connections_register_seconds": 1,
        "connections_ping_seconds": 1,
        "connections_pong_seconds": 1,
        "connections_close_seconds": 1,
        "connections_outbox_bytes": 2**18,
    }


async def test_request_heads_that_drip_get_408_at_the_deadline(attacker: Attacker) -> None:
    await attacker.carry_out(
        "slowloris on the handshake",
        "slow_heads",
        {"a head": "408"},
        log="the request did not arrive within the deadline",
        count=300,
    )


async def test_what_drips_after_an_answer_is_cut_off(attacker: Attacker) -> None:
    await attacker.carry_out(
        "slowloris after an answer",
        "slow_bodies",
        dict.fromkeys(("a body that nobody wants", "empty lines after an answer"), "200"),
        count=200,
    )


async def test_websockets_that_do_not_register_are_closed_at_the_deadline(attacker: Attacker) -> None:
    await attacker.carry_out(
        "slowloris on register",
        "slow_registers",
        dict.fromkeys(("silence", "fragments", "pings"), "4001 no register message within the deadline"),
        count=240,
        process=TARGET,
    )


async def test_sockets_of_which_nothing_is_heard_are_given_up(attacker: Attacker) -> None:
    await attacker.carry_out(
        "half-open sockets",
        "half_open",
        {"a socket that says nothing more": "cut off"},
        log="a WebSocket was closed with 1011: no pong within the deadline",
        count=100,
    )
