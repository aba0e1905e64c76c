"""Processes that asked for it are told when clients of resumable channels are away and back."""

from __future__ import annotations

import json
from typing import Any

from guesthouse.core.address import Address

from .conftest import CHAT, NODE, House, until
from .test_resume import away, pushed, resumable


def ask(house: House, **fields: Any) -> Any:
    """What the process is answered when it asks for presence."""
    answer = house.server.request(
        Address(NODE, CHAT), json.dumps({"WebSocketPresence": fields}).encode(), None, lambda: 0
    )
    assert answer is not None
    return json.loads(answer)


def told(house: House) -> list[Any]:
    """What the process was told by requests of the HTTP server since the last time."""
    bodies = []
    while not house.router.requests.empty():
        process, request, *_ = house.router.requests.get_nowait()
        assert (process, request.expects_response) == (CHAT, None)
        bodies.append(json.loads(request.body))
    return bodies


async def test_a_process_that_asked_is_told_who_is_away_and_back(house: House) -> None:
    async with resumable(house) as (client, opened):
        number = opened.channel_id
        assert ask(house, wanted=True) == {"Ok": []}
        client.cut()
        await away(house)
        assert told(house) == [{"WebSocketAway": number}]
        assert ask(house) == {"Ok": [number]}
        await client.resume()
        assert told(house) == [{"WebSocketBack": number}]
        old = client.socket
        await client.resume()  # takes over: it was never away
        assert old is not None
        await client.send("here")
        await pushed(house)
        assert told(house) == []
        assert ask(house, wanted=False) == {"Ok": []}
        client.cut()
        await away(house)
        await client.resume()
        assert told(house) == []


async def test_no_other_process_is_told_and_a_new_run_has_to_ask_again(house: House) -> None:
    async with resumable(house) as (client, opened):
        client.cut()
        await away(house)
        assert told(house) == []
        assert ask(house) == {"Ok": [opened.channel_id]}
        house.server.reopen(CHAT)
        await client.resume()
        assert told(house) == []


async def test_sessions_and_those_who_are_away_are_counted(house: House) -> None:
    async with resumable(house) as (client, _), house.bound("/plain"):
        traffic = (await house.server.traffic())[CHAT]
        assert (traffic.channels, traffic.resumable, traffic.away) == (2, 1, 0)
        client.cut()
        await until(lambda: any(each.away for each in house.server.open_channels(CHAT)))
        traffic = (await house.server.traffic())[CHAT]
        assert (traffic.channels, traffic.resumable, traffic.away) == (2, 1, 1)
        await client.resume()
