"""Custom claims of tokens: which are taken, and how they reach the process, whichever way its client comes."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from tests.resume_client import ResumableClient
from websockets.asyncio.client import connect

from guesthouse.core.messages import WebSocketOpen
from guesthouse.http_server.auth.custom_claims import (
    MOST_BYTES,
    MOST_LEVELS,
    MOST_VALUES,
    BadClaims,
    read_custom_claims,
    read_signed_claims,
)
from guesthouse.http_server.auth.tokens import Scope, Tokens, read_scope
from guesthouse.http_server.close_codes import TOO_MANY_CHANNELS
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, NODE, House, Start, http_path, until
from .test_encrypted import exchange

NOW = 1_000_000_000.0
COOKIE_BYTES = 4096
"""That a browser keeps (RFC 6265, section 6.1)."""
CLAIMS = '{"user":"Zoë","roles":["admin"]}'


def tokens(secret: bytes = b"x" * 32) -> Tokens:
    return Tokens(NODE, secret)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (b"", None),
        (b" null ", None),
        (b"{}", "{}"),
        (b' { "a" : [ 1 , true , null ] } ', '{"a":[1,true,null]}'),
        (b'{"a":"\\u00eb\\ud83d\\ude00\\u0000"}', '{"a":"ë😀\\u0000"}'),
        (b'{"n":12345678901234567890123,"f":0.1}', '{"n":12345678901234567890123,"f":0.1}'),
        (b'{"":{"":""}}', '{"":{"":""}}'),
    ],
)
def test_an_object_is_taken_and_keeps_its_values(given: bytes, written: str | None) -> None:
    assert read_custom_claims(given) == written


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"7", "not a JSON object"),
        (b"false", "not a JSON object"),
        (b"{", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":1e400}', "not JSON"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":"\xff"}', "not JSON"),
        ('{"a":1}'.encode("utf-16"), "not JSON"),
        (b'{"n":' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"a":{"b":1,"\\u0062":2}}', "twice"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
        (b'{"a":' * (MOST_LEVELS + 1) + b"1" + b"}" * (MOST_LEVELS + 1), "levels deep"),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", "levels deep"),
        (b'{"a":[' + b"0," * MOST_VALUES + b"0]}", "more than 64 values"),
        (json.dumps({str(number): 0 for number in range(MOST_VALUES + 1)}).encode(), "more than 64 values"),
        (json.dumps({"a": "x" * MOST_BYTES}).encode(), "more than 1024 bytes"),
        (json.dumps({"a": "ë" * (MOST_BYTES // 2)}).encode(), "more than 1024 bytes"),
        (b" " * 1_000_000 + b"{}", "not JSON"),
    ],
)
def test_what_is_no_small_object_is_refused_and_says_why(given: bytes, why: str) -> None:
    with pytest.raises(BadClaims, match=why):
        read_custom_claims(given)


def test_the_largest_claims_fit_a_cookie_and_come_back_as_they_were() -> None:
    for letter in ("x", "ë", "😀", "\\u0001"):
        size = len(json.loads(f'"{letter}"').encode()) if letter[0] != "\\" else len(letter)
        text = '{"a":"' + letter * ((MOST_BYTES - 8) // size) + '"}'
        scope = read_scope(str(CHAT), 3, secure=False, claims=text)
        token = tokens().issue(3600, NOW, scope)
        assert len(f"kinode-auth_{NODE}={token}") < COOKIE_BYTES
        assert tokens().verify(token, NOW).custom == text


def test_all_tokens_of_a_family_have_its_claims_and_no_others() -> None:
    issuer = tokens()
    first = issuer.verify(issuer.issue(60, NOW, Scope(None, str(CHAT), claims=CLAIMS)), NOW)
    renewed = issuer.issue(60, NOW, Scope(None, str(CHAT), claims='{"user":"eve"}'), made_from=first)
    assert issuer.verify(renewed, NOW).custom == CLAIMS
    plain = issuer.verify(issuer.issue(60, NOW), NOW)
    assert plain.custom is None
    assert issuer.verify(issuer.issue(60, NOW, Scope(claims=CLAIMS), made_from=plain), NOW).custom is None


@pytest.mark.parametrize("claims", [None, 7, "text", [], {"a": "x" * MOST_BYTES}, {"a": [0] * 65}])
def test_a_token_with_claims_that_are_none_opens_as_one_without(claims: Any) -> None:
    assert read_signed_claims(claims) is None
    token = jwt.encode({"username": NODE, "expiration": int(NOW) + 1, "claims": claims}, b"x" * 32)
    assert tokens().verify(token, NOW).custom is None


def test_claims_that_another_key_signed_are_worth_nothing() -> None:
    token = tokens(b"y" * 32).issue(60, NOW, Scope(claims=CLAIMS))
    with pytest.raises(Exception, match="not issued by this node"):
        tokens().verify(token, NOW)


def issued(house: House, claims: str | None = CLAIMS, channels: int | None = None) -> str:
    return house.server.issue_token(60, Scope(None, str(CHAT), channels, claims=claims))


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"kinode-auth_{NODE}={token}"}


async def told_again(house: House) -> WebSocketOpen:
    """What a process that was restarted is told of its only channel."""
    house.server.reopen(CHAT)
    return await house.chat.opened()


async def test_claims_of_who_registers_reach_the_process(house: House) -> None:
    for claims in (CLAIMS, None):
        async with connect(house.ws_url + "/", proxy=None) as socket:
            register = {"auth_token": issued(house, claims), "target_process": str(CHAT)}
            await socket.send(json.dumps(register))
            assert (await house.chat.opened()).claims == claims
            again = await told_again(house)
            assert (again.claims, again.resumed) == (claims, True)
        await house.chat.next()


async def test_claims_of_who_opens_a_path_reach_the_process_if_it_needs_a_login(house: House) -> None:
    for authenticated in (True, False):
        house.server.bind_ws_path(CHAT, BindWsPath("/p", authenticated=authenticated))
        url, headers = f"{house.ws_url}/{CHAT}/p", cookie(issued(house))
        async with connect(url, additional_headers=headers, proxy=None):
            claims = CLAIMS if authenticated else None
            assert (await house.chat.opened()).claims == claims
            assert (await told_again(house)).claims == claims
        await house.chat.next()


async def test_claims_of_an_encrypted_channel_reach_the_process(house: House) -> None:
    async with connect(house.ws_url + "/", proxy=None) as socket:
        register = {"auth_token": issued(house), "target_process": str(CHAT), "encrypted": True}
        await socket.send(json.dumps(register))
        channel_id = json.loads(await socket.recv())["channel_id"]
        assert (await exchange(house, channel_id)).is_success
        assert (await house.chat.opened()).claims == CLAIMS


@pytest.mark.parametrize("bound", [True, False], ids=["bound", "registered"])
async def test_a_channel_that_is_resumed_keeps_its_claims_over_sockets_and_nodes(
    start: Start, *, bound: bool
) -> None:
    house: House = await start()
    house.server.bind_ws_path(CHAT, BindWsPath("/", authenticated=True))
    token = issued(house)
    register = {"auth_token": token, "target_process": str(CHAT)}
    client = (
        ResumableClient(f"{house.ws_url}/{CHAT}/", headers=cookie(token))
        if bound
        else ResumableClient(f"{house.ws_url}/", register=register)
    )
    async with client:
        assert (await house.chat.opened()).claims == CLAIMS
        client.cut()
        await until(lambda: all(channel.away for channel in house.server.open_channels(CHAT)))
        await client.resume()
        assert (await told_again(house)).claims == CLAIMS
        (handed,) = house.server.hand_over()
        assert handed.event.claims == CLAIMS


async def test_claims_reach_the_process_with_http_requests_that_need_a_login(house: House) -> None:
    for authenticated in (True, False):
        house.server.bind_http_path(
            CHAT, http_path("/p", authenticated=authenticated, local_only=False, response_seconds=0.01)
        )
        async with house.http(headers=cookie(issued(house))) as client:
            assert (await client.get(f"/{CHAT}/p")).status_code == 408
        kind, _, request, *_ = await house.chat.next()
        assert (kind, request.claims) == ("http", CLAIMS if authenticated else None)


async def test_a_token_with_claims_opens_no_more_channels_than_it_says(house: House) -> None:
    token = issued(house, channels=1)
    register = json.dumps({"auth_token": token, "target_process": str(CHAT)})
    async with (
        connect(house.ws_url + "/", proxy=None) as first,
        connect(house.ws_url + "/", proxy=None) as more,
    ):
        await first.send(register)
        assert "channel_id" in json.loads(await first.recv())
        await more.send(register)
        await more.wait_closed()
        assert more.close_code == TOO_MANY_CHANNELS.code
