"""Clients that attack in numbers, with what is broken, forged or far too much."""

from __future__ import annotations

import time

import jwt
import pytest
from tests.examples import examples

from ...e2e.waiting import until
from ..figures import MIB, Allowance
from . import channels
from .attacker import TARGET, Attacker
from .forgeries import ODD, origins, tokens

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Room for 16 messages that are as large as may be, and little time for clients that answer no close frame."""
    return {"connections_unfinished_bytes": 16 * MIB, "connections_close_seconds": 1}


async def test_thousands_of_handshakes_at_once_are_all_answered(attacker: Attacker) -> None:
    await attacker.carry_out(
        "5,000 handshakes at once",
        "crowd",
        {"the register form": "101", "a path that nobody bound": "404"},
        log="an upgrade was refused: nothing is bound to this path",
        allowed=Allowance(node_bytes=64 * MIB),
        count=5000,
    )


async def test_registrations_with_forged_tokens_are_refused_and_right_ones_taken(attacker: Attacker) -> None:
    given = tokens(attacker.scene.token)
    expected = dict.fromkeys(given, "4002 auth_token is not valid on this node")
    await attacker.carry_out(
        "register floods: right and forged tokens",
        "registers",
        expected | {"right": "a channel", "huge": "1009 register message too big"},
        log="a WebSocket was closed with 4002: auth_token is not valid on this node",
        count=examples(40),
        process=TARGET,
        tokens={name: token if name != "huge" else token + "x" * 500 for name, token in given.items()},
    )


async def expired(token: str) -> None:
    """Wait until a token has expired."""
    end = jwt.decode(token, options={"verify_signature": False})["expiration"]

    async def now() -> float:
        return time.time()

    await until(now, lambda now: now > end, "the token expires")


async def test_odd_requests_get_one_answer_and_what_is_hidden_behind_them_none(attacker: Attacker) -> None:
    await attacker.carry_out(
        "request smuggling, huge and odd heads",
        "odd_requests",
        ODD,
        log="a request was refused: not a valid HTTP request",
        count=8,
    )


async def test_pages_of_other_origins_cannot_use_a_stolen_moment_of_a_login(attacker: Attacker) -> None:
    cookie = ["Cookie", f"kinode-auth_e2e-node.os={attacker.scene.token}"]
    tried = origins(attacker.scene.daemon.url.removeprefix("http://"))
    headers = {name: [cookie, ["Origin", origin]] for name, origin in tried.items()}
    headers["none: no browser"] = [cookie]
    headers["its own, and another"] = [
        cookie,
        ["Origin", tried["its own"]],
        ["Origin", "http://evil.example"],
    ]
    expected = dict.fromkeys(headers, "403") | {"none: no browser": "101", "its own": "101"}
    await attacker.carry_out(
        "cross-site Origin",
        "upgrades",
        expected,
        log="a page of another origin may not use this node's login",
        count=10,
        headers=headers,
        path="",
    )


async def test_cookies_that_are_no_login_open_nothing(attacker: Attacker) -> None:
    right = attacker.scene.token
    name = "kinode-auth_e2e-node.os"
    (old,) = await attacker.scene.ask("token", ttl=1)
    (stolen,) = await attacker.scene.ask("token", ttl=60)
    await attacker.scene.ask("revoke", token=stolen)
    await expired(old)
    headers = {
        "right": [["Cookie", f"{name}={right}"]],
        "none": [],
        "expired": [["Cookie", f"{name}={old}"]],
        "stolen and revoked": [["Cookie", f"{name}={stolen}"]],
        "another node's name": [["Cookie", f"kinode-auth_other.os={right}"]],
        "another case": [["Cookie", f"Kinode-Auth_e2e-node.os={right}"]],
        "as a bearer": [["Authorization", f"Bearer {right}"]],
        "cut": [["Cookie", f"{name}={right[:-1]}"]],
        "with a byte changed": [
            ["Cookie", f"{name}={right[:40]}{'A' if right[40] != 'A' else 'B'}{right[41:]}"]
        ],
        "twice in one": [["Cookie", f"{name}={right}.{right}"]],
    }
    expected = dict.fromkeys(headers, "401") | {"right": "101"}
    await attacker.carry_out(
        "stolen, expired and odd logins",
        "upgrades",
        expected,
        log="an upgrade was refused: log in first, at /login",
        count=20,
        headers=headers,
        path="",
    )
    await attacker.carry_out(
        "a token in the query", "upgrades", {"query": "401"}, count=100, headers={"query": []},
        path=f"?token={right}&{name}={right}",
    )  # fmt: skip


async def test_every_broken_frame_ends_its_channel_and_no_other(attacker: Attacker) -> None:
    expected = dict.fromkeys(channels.broken_frames(), "1002 protocol error")
    expected |= dict.fromkeys(
        (name for name in expected if "126 bytes" in name), "1002 control frame too long"
    )
    expected |= dict.fromkeys((name for name in expected if "over the limit" in name), "1009 message too big")
    expected |= dict.fromkeys(("a length of 2^63", "a length of 2^64 - 1"), "1009 message too big")
    expected |= dict.fromkeys(
        (name for name in expected if "without end" in name), "1009 message has too many fragments"
    )
    await attacker.carry_out(
        "broken frames: reserved bits, opcodes, masks, lengths that lie, endless fragments",
        "broken",
        expected,
        log="a WebSocket was closed with 1002: protocol error",
        count=3,
    )


async def test_text_that_is_not_utf8_is_refused_wherever_it_is_cut(attacker: Attacker) -> None:
    await attacker.carry_out(
        "invalid UTF-8 at every boundary",
        "texts",
        dict.fromkeys(channels.bad_texts(), "1007 a text message is not UTF-8"),
        log="a WebSocket was closed with 1007: a text message is not UTF-8",
        count=8,
    )


async def test_floods_of_one_client_hold_up_no_other_and_are_answered_whole(attacker: Attacker) -> None:
    shapes = ("pings", "long pings", "pongs", "one-byte messages", "two-fragment messages")
    await attacker.carry_out(
        "floods: pings, pongs, tiny messages and fragments",
        "floods",
        dict.fromkeys(shapes, "1000"),
        allowed=Allowance(node_bytes=64 * MIB),
        count=2,
        messages=5000,
    )


async def test_thousands_of_channels_can_end_at_once_in_every_way(attacker: Attacker) -> None:
    expected = dict.fromkeys(channels.CLOSINGS, "1002 protocol error") | {
        "in order": "1000 bye",
        "in order, twice": "1000",
        "without a status": "no status",
        "with a reason that is not UTF-8": "1007 the reason of a close frame is not UTF-8",
        "by FIN": "cut off",
        "by RST": "cut off",
    }
    await attacker.carry_out(
        "closing storm", "closing_storm", expected, allowed=Allowance(node_bytes=64 * MIB), count=900
    )


async def test_compression_bombs_are_defused_and_those_that_wait_cost_little(attacker: Attacker) -> None:
    crowded = "1013 the node holds as many unfinished messages as it may"
    expected: dict[str, str | set[str]] = {
        "over the limit": "1009 message too big",
        "over the limit, text": "1009 message too big",
        "over the limit, in fragments": {"1009 message too big", crowded},
        "in many final blocks": "1002 protocol error",
        "no DEFLATE": "1002 protocol error",
        "never finished": {crowded, "left open"},
    }
    await attacker.carry_out(
        "compression bombs, 1,000 to 1",
        "explosions",
        expected,
        log="a WebSocket was closed with 1013: the node holds as many unfinished messages as it may",
        allowed=Allowance(node_bytes=64 * MIB),
        count=40,
    )
