"""A token and all that was made from it are revoked, counted and over together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from guesthouse.core.config import HttpSettings
from guesthouse.http_server.auth.credentials import (
    PASSWORD_FILE,
    LoginKey,
    load_secret,
    password_hash,
    set_password,
)
from guesthouse.http_server.auth.tokens import SESSION_SECONDS, AuthError, Scope, Tokens

from .conftest import CHAT, NODE, House, Start
from .test_hosts import LABEL, PAGE, own
from .test_hosts import bind as bind_page
from .test_http import asked, bind
from .test_tokens import header, register

DAY = 24 * 3600
REVOKED = "auth_token is not valid on this node: the token was revoked: log in again"
OTHER_PASSWORD = "auth_token is not valid on this node: the password was changed since: log in again"


async def renewed(house: House, token: str) -> str:
    async with house.http() as client:
        answer = await client.post("/token", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


async def logged_in(house: House, password: str = "correct horse") -> str:  # noqa: S107 - of a test's node
    async with house.http() as client:
        answer = await client.post("/login", json={"password_hash": password_hash(password)})
    assert answer.status_code == 200, answer.text
    return session_of(answer)


def session_of(answer: httpx.Response) -> str:
    return str(answer.headers["set-cookie"].partition("=")[2].partition(";")[0])


async def is_in(house: House, token: str) -> bool:
    async with house.http(headers=header(token)) as client:
        return (await client.get("/")).status_code == 200


async def closed_with(socket: Any) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def test_what_was_renewed_is_revoked_with_its_original_and_the_other_way_round(house: House) -> None:
    for revoked in (0, 1, 2):
        family = [house.server.issue_token(60, Scope(process=str(CHAT)))]
        family += [await renewed(house, family[-1])]
        family += [await renewed(house, family[-1])]
        socket, _ = await register(house, family[1])
        assert house.server.revoke(family[revoked])
        assert await closed_with(socket) == (1008, "the token was revoked")
        for token in family:
            assert (await register(house, token))[1] == (4002, REVOKED)
            async with house.http() as client:
                answer = await client.post("/token", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401


async def test_a_family_has_the_channels_of_one_token(house: House) -> None:
    token = house.server.issue_token(60, Scope(channels=1))
    first, answer = await register(house, token)
    assert set(answer) == {"channel_id"}
    for _ in range(5):
        token = await renewed(house, token)
        _, close = await register(house, token)
        assert close == (4005, "the token has as many channels open as it may")
    await first.close()


async def test_renewing_ends_with_the_family(start: Start) -> None:
    house = await start(http=HttpSettings(renewable_seconds=100))
    context = house.server._context
    begin = context.now()
    token = house.server.issue_token(60)
    clock = [begin + 59]
    context.now = lambda: clock[0]
    async with house.http() as client:
        bearer = {"Authorization": f"Bearer {token}"}
        answer = (await client.post("/token", headers=bearer)).json()
        assert answer["expiration"] == int(begin + 100)
        token = answer["token"]
        clock[0] = begin + 99
        assert await is_in(house, token)
        last = (await client.post("/token", headers={"Authorization": f"Bearer {token}"})).json()["token"]
        clock[0] = begin + 100
        assert not await is_in(house, token)
        assert not await is_in(house, last)


async def test_a_token_that_is_final_is_renewed_for_no_longer(house: House) -> None:
    context = house.server._context
    secret = load_secret(house.home)
    token = Tokens(NODE, secret, renewable=0).issue(60, context.now())
    ends = context.tokens.verify(token, context.now()).expiration
    async with house.http() as client:
        answer = (await client.post("/token", headers={"Authorization": f"Bearer {token}"})).json()
    assert answer["expiration"] == ends
    assert context.tokens.verify(answer["token"], context.now()).expiration == ends


def test_a_token_that_is_made_for_longer_lasts_so_long() -> None:
    tokens = Tokens("n", b"s" * 32, renewable=100)
    claims = tokens.verify(tokens.issue(1000, 0), 999)
    assert (claims.expiration, claims.ends) == (1000, 1000)
    assert tokens.verify(tokens.issue(1000, 500, made_from=claims), 501).expiration == 1000


async def test_the_cookie_of_a_login_is_renewed_within_its_family_and_logging_out_ends_it(
    house: House,
) -> None:
    set_password(house.home, "correct horse")
    context = house.server._context
    begin = context.now()
    first = await logged_in(house)
    context.now = lambda: begin + SESSION_SECONDS * 0.6
    async with house.http(headers=header(first)) as client:
        second = session_of(await client.get("/"))
    bearer = await renewed(house, second)
    assert len({first, second, bearer}) == 3
    socket, _ = await register(house, bearer)
    async with house.http(headers=header(second)) as client:
        assert (await client.post("/logout")).status_code == 303
    assert await closed_with(socket) == (1008, "the token was revoked")
    for token in (first, second, bearer):
        assert not await is_in(house, token)


async def test_a_login_that_is_renewed_to_its_end_is_not_renewed_further(start: Start) -> None:
    house = await start(http=HttpSettings(renewable_seconds=2 * DAY))
    set_password(house.home, "correct horse")
    context = house.server._context
    begin, token = context.now(), await logged_in(house)
    for days in (0.6, 1.2, 1.8):
        now = begin + days * DAY
        context.now = lambda now=now: now
        async with house.http(headers=header(token)) as client:
            answer = await client.get("/")
        assert ("set-cookie" in answer.headers) is (days < 1.8), days
        token = session_of(answer) if days < 1.8 else token
    assert await is_in(house, token)
    context.now = lambda: begin + 2 * DAY + 60
    assert not await is_in(house, token)


async def test_another_password_ends_logins_and_what_was_made_of_them_and_no_printed_token(
    house: House,
) -> None:
    set_password(house.home, "correct horse")
    session = await logged_in(house)
    async with house.http() as client:
        by_link = session_of(await client.get(house.server.login_url()))
    made, printed = await renewed(house, session), house.server.issue_token(60)
    of_login, _ = await register(house, made)
    of_printed, _ = await register(house, printed)
    unused = house.server.login_url()
    set_password(house.home, "battery staple")
    house.server.password_changed()
    assert await closed_with(of_login) == (1008, "the token was revoked")
    for token in (session, by_link, made):
        assert not await is_in(house, token)
        assert (await register(house, token))[1] == (4002, OTHER_PASSWORD)
    async with house.http() as client:
        assert (await client.get(unused)).status_code == 401
    assert await is_in(house, printed)
    await of_printed.ping()
    await of_printed.close()
    assert await is_in(house, await logged_in(house, "battery staple"))


async def test_logins_by_another_password_are_over_though_nobody_told_the_node(house: House) -> None:
    set_password(house.home, "correct horse")
    session = await logged_in(house)
    set_password(house.home, "correct horse")
    assert not await is_in(house, session)


async def test_a_password_that_is_replaced_while_it_is_checked_logs_nobody_in(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_password(house.home, "correct horse")

    def check(home: Path, _: str) -> bool:
        set_password(home, "battery staple")
        return True

    monkeypatch.setattr("guesthouse.http_server.auth.credentials.check_password", check)
    async with house.http() as client:
        answer = await client.post("/login", json={"password_hash": password_hash("correct horse")})
    assert answer.status_code == 401


async def test_all_tokens_can_be_revoked_at_once(start: Start) -> None:
    house = await start()
    set_password(house.home, "correct horse")
    tokens = [
        await logged_in(house),
        house.server.issue_token(60),
        house.server.issue_token(60, Scope(channels=1)),
    ]
    tokens.append(await renewed(house, tokens[1]))
    sockets = [(await register(house, token))[0] for token in tokens]
    unused = house.server.login_url()
    house.server.revoke_all()
    for socket in sockets:
        assert await closed_with(socket) == (1008, "the token was revoked")
    assert not any([await is_in(house, token) for token in tokens])
    async with house.http() as client:
        assert (await client.get(unused)).status_code == 401
    kept = house.server.issue_token(60)
    assert (house.home / "token.secret").stat().st_mode & 0o777 == 0o600
    again = await start()
    assert not any([await is_in(again, token) for token in tokens])
    assert await is_in(again, kept)


async def ticket_for(house: House, token: str) -> str:
    """The path by which whoever has a login comes to the package's own host."""
    async with house.http() as client:
        answer = await client.get(f"/{CHAT}/page", headers={**PAGE, **header(token)})
    assert answer.status_code == 303
    return httpx.URL(answer.headers["location"]).raw_path.decode()


@pytest.mark.slow
@pytest.mark.parametrize("event", ["none", "revoke_all", "password", "revoke", "logout"])
@pytest.mark.parametrize("by", ["login", "scoped"])
async def test_what_ends_a_login_ends_the_tickets_that_it_was_given(
    house: House, event: str, by: str
) -> None:
    bind_page(house)
    set_password(house.home, "correct horse")
    token = await logged_in(house)
    if by == "scoped":
        token = house.server.issue_token(3600, Scope(process=str(CHAT)))
    ticket = await ticket_for(house, token)
    if event == "revoke_all":
        house.server.revoke_all()
    elif event == "password":
        set_password(house.home, "battery staple")
        house.server.password_changed()
    elif event == "revoke":
        assert house.server.revoke(token)
    elif event == "logout":
        async with house.http(headers=header(token)) as client:
            assert (await client.post("/logout")).status_code == 303
    async with house.http(headers={**PAGE, **own(house)}) as there:
        arrived = await there.get(ticket)
        given = (
            [f"kinode-auth_{NODE}@{LABEL}={session_of(arrived)}"] if "set-cookie" in arrived.headers else []
        )
        page = await there.get(f"/{CHAT}/page", headers={"Cookie": "; ".join(given)})
    assert (page.text == "<p>page") is (event == "none")
    assert ("set-cookie" in page.headers) is (event == "none")
    if event in ("revoke_all", "password"):
        assert (arrived.status_code, given) == (401, [])


async def test_what_is_answered_after_all_was_revoked_brings_no_new_token(house: House) -> None:
    """The process was asked before: its answer would renew the session, and give its page a token."""
    bind(house, "/slow", authenticated=True)
    context = house.server._context
    set_password(house.home, "correct horse")
    token = await logged_in(house)
    async with house.http() as client:
        target = (await client.get(f"/{CHAT}/slow", headers={**PAGE, **header(token)})).headers["location"]
        there = await client.get(httpx.URL(target).raw_path.decode(), headers=own(house))
    session = {"Cookie": f"kinode-auth_{NODE}@{LABEL}={session_of(there)}"}
    for revoked in (False, True):
        async with asked(house, "GET", "/slow", headers={**PAGE, **own(house), **session}) as ask:
            if revoked:
                house.server.revoke_all()
            house.server.http_response(CHAT, ask[0], 200, (), "text/html", b"<p>late")
            answer = await ask[-1]
        assert ("set-cookie" in answer.headers) is not revoked
    assert context.tokens.verify(house.server.issue_token(60), context.now())


def test_nothing_living_is_made_of_claims_that_another_key_signed() -> None:
    tokens = Tokens("n", b"s" * 32)
    claims = tokens.verify(tokens.issue(100, 0), 0)
    assert tokens.verify(tokens.issue(100, 0, made_from=claims), 0)
    tokens.sign_with(b"t" * 32)
    with pytest.raises(AuthError, match="not issued by this node"):
        tokens.verify(tokens.issue(100, 0, made_from=claims), 0)
    fresh = tokens.verify(tokens.issue(100, 0), 0)
    assert tokens.verify(tokens.issue(100, 0, made_from=fresh), 0)


def test_a_token_from_before_there_were_families_is_one_of_its_own(tmp_path: Path) -> None:
    import jwt

    secret = load_secret(tmp_path)
    revoked: set[str] = set()
    tokens = Tokens(NODE, secret, revoked.__contains__)
    fields = {"username": NODE, "subdomain": None, "expiration": 100, "id": "x"}
    old, other = (jwt.encode(fields | {"id": made}, secret, algorithm="HS256") for made in ("x", "y"))
    claims = tokens.verify(old, 50)
    assert claims.ends == 100
    known = tokens.revocable(old)
    assert known == (claims.family, 100)
    revoked.add(claims.family)
    with pytest.raises(AuthError, match="revoked"):
        tokens.verify(old, 50)
    assert tokens.verify(other, 50).family != claims.family
    session = jwt.encode(fields | {"session": True}, secret, algorithm="HS256")
    set_password(tmp_path, "correct horse")
    with pytest.raises(AuthError, match="password was changed"):
        Tokens(NODE, secret, login_key=LoginKey(tmp_path)).verify(session, 50)


def test_the_name_of_a_password_tells_it_from_others_and_nothing_else(tmp_path: Path) -> None:
    key = LoginKey(tmp_path)
    assert key() == ""
    set_password(tmp_path, "one")
    first = key()
    assert first
    assert key() == first
    assert first not in (tmp_path / PASSWORD_FILE).read_text()
    set_password(tmp_path, "one")
    assert key() not in ("", first)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_no_login_is_by_a_password_that_cannot_be_read(tmp_path: Path) -> None:
    key = LoginKey(tmp_path)
    set_password(tmp_path, "one")
    first = key()
    (tmp_path / PASSWORD_FILE).chmod(0)
    os.utime(tmp_path / PASSWORD_FILE)
    assert key() != first
    assert key() != key()
