"""Clients that leave while their process takes nothing, so that they are not read."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.driven import MOMENT, SECONDS

from guesthouse.http_server.websocket.keepalive import Check, Keepalive
from guesthouse.linux.tcp_info import is_peer_gone

from .conftest import Start, masked, until
from .test_limits import is_late, with_clock

MACHINE = Path(__file__).with_name("vanishing_machine.py")
NO_NAMESPACES = 77
"""What a script says, by its exit code, that may not make a network of its own."""


def reset(writer: asyncio.StreamWriter) -> None:
    """Leave as a client does whose OS process is killed with bytes unread."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("leave", [asyncio.StreamWriter.close, reset])
async def test_a_client_that_leaves_while_it_is_not_read_is_given_up_after_the_usual_time(
    start: Start, leave: object, over: int
) -> None:
    house, clock = await with_clock(start, ping_seconds=SECONDS, pong_seconds=SECONDS)
    house.chat.pause_at = 1
    async with house.raw_channel() as (_reader, writer, channel):
        writer.write(masked(0x82, b"taken"))
        assert await house.chat.next() == ("push", channel, 1, b"taken")
        assert callable(leave)
        leave(writer)
        (connection,) = house.server._context.connections
        await until(lambda: is_peer_gone(connection.transport, SECONDS))
        clock.pass_by(SECONDS)
        assert house.chat.quiet
        clock.pass_by(SECONDS + over * MOMENT)
        await until(lambda: not house.server.open_channels() or not is_late(over))
        if is_late(over):
            assert await house.chat.next() == ("close", channel)
            assert house.log.mentions("left while the process took no messages")
        assert (house.server.open_channels() == []) is is_late(over)


async def test_what_a_client_sent_before_it_left_is_delivered_when_its_process_goes_on_in_time(
    start: Start,
) -> None:
    house, clock = await with_clock(start, ping_seconds=SECONDS, pong_seconds=SECONDS)
    house.chat.pause_at = 1
    async with house.raw_channel() as (_reader, writer, channel):
        writer.write(masked(0x82, b"first"))
        assert await house.chat.next() == ("push", channel, 1, b"first")
        writer.write(masked(0x82, b"last"))
        writer.close()
        (connection,) = house.server._context.connections
        await until(lambda: is_peer_gone(connection.transport, SECONDS))
        clock.pass_by(SECONDS)
        clock.pass_by(SECONDS - MOMENT)
        house.chat.pause_at = None
        house.chat.feeders[channel].resume_reading()
        assert await house.chat.next() == ("push", channel, 1, b"last")
        assert await house.chat.next() == ("close", channel)


async def test_a_client_that_waits_for_its_process_is_never_given_up(start: Start) -> None:
    house, clock = await with_clock(start, ping_seconds=SECONDS, pong_seconds=SECONDS)
    house.chat.pause_at = 1
    async with house.raw_channel() as (_reader, writer, channel):
        writer.write(masked(0x82, b"taken") + masked(0x82, b"waits"))
        assert await house.chat.next() == ("push", channel, 1, b"taken")
        for _ in range(100):
            clock.pass_by(SECONDS)
        house.chat.pause_at = None
        house.chat.feeders[channel].resume_reading()
        assert await house.chat.next() == ("push", channel, 1, b"waits")
        assert len(house.server.open_channels()) == 1


def test_a_client_that_is_not_read_is_given_up_only_when_it_has_left() -> None:
    keepalive = Keepalive(idle=4.0, answer=2.0, now=0.0)
    assert keepalive.check_paused(3.0, left=True) == (Check.WAIT, 4.0)
    assert keepalive.check_paused(4.0, left=True) == (Check.WAIT, 6.0)
    assert keepalive.check_paused(6.0, left=False) == (Check.WAIT, 8.0)
    assert keepalive.check_paused(6.0, left=True) == (Check.GIVE_UP, 6.0)
    keepalive.reset(6.0)
    assert keepalive.check_paused(6.0, left=True) == (Check.WAIT, 10.0)


@pytest.mark.slow
def test_a_machine_that_vanishes_without_a_word_is_found_to_have_left() -> None:
    ran = subprocess.run(
        [sys.executable, str(MACHINE)], capture_output=True, text=True, timeout=60, check=False
    )
    if ran.returncode == NO_NAMESPACES:
        pytest.skip("this machine lets nobody make a network of their own")
    assert (ran.returncode, ran.stderr) == (0, "")


class Transport(asyncio.BaseTransport):
    """Of a socket that is no TCP connection, or none at all."""

    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._sock if name == "socket" else default


def test_nothing_is_known_of_a_socket_that_is_not_tcp_and_one_that_is_no_more_has_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.close()
        assert not is_peer_gone(Transport(ours), 1.0)
    assert is_peer_gone(Transport(None), 1.0)
    closed = socket.socket()
    closed.close()
    assert is_peer_gone(Transport(closed), 1.0)
