"""Large frames, whose header and payload are written beside each other."""

from __future__ import annotations

import os

import pytest

from guesthouse.http_server.channel.framing import GATHER_FROM
from guesthouse.http_server.channel.outbox import Outbox, Policy
from guesthouse.link.calls import SetChannelPolicy
from guesthouse.link.credit import push_cost

from .conftest import CHAT, House

TEXT, BINARY = 0, 1
SIZES = (GATHER_FROM - 1, GATHER_FROM, GATHER_FROM + 1, 65_535, 65_536, 200_000)


@pytest.mark.slow
@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_a_client_gets_every_size_as_it_was_pushed(
    house: House, policy: Policy, compression: str | None
) -> None:
    async with house.bound(compression=compression, max_size=None) as (client, opened):
        channel_id = opened.channel_id
        house.server.set_channel_policy(CHAT, SetChannelPolicy(channel_id, policy))
        for size in SIZES:
            payload, text = os.urandom(size), "x" * size
            house.server.push(CHAT, channel_id, BINARY, payload)
            house.server.push(CHAT, channel_id, TEXT, text.encode())
            house.server.push(CHAT, channel_id, TEXT, b"after it")
            assert await client.recv() == payload
            assert await client.recv() == text
            assert await client.recv() == "after it"


async def test_what_is_written_beside_its_header_takes_its_credit(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outbox, "settle", lambda _: None)  # no credit comes back
    async with house.bound(max_size=None) as (client, opened):
        window = house.server._context.settings.connections.outbox_bytes
        payload = os.urandom(GATHER_FROM + 1)
        fit = window // push_cost(len(payload))
        channel = house.server._context.channels.get(opened.channel_id)
        assert channel is not None
        for _ in range(fit + 5):
            house.server.push(CHAT, opened.channel_id, BINARY, payload)
        assert house.log.mentions("a push was dropped: WsChannelFull")
        assert channel.outgoing.messages == fit
        for _ in range(fit):
            assert await client.recv() == payload
