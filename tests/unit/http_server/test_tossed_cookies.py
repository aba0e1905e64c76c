"""Cookies that pages of other packages set: none is a login, and none keeps anybody out for good."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from guesthouse.core.config import HttpSettings
from guesthouse.http_server.auth.tokens import Scope, Tokens
from guesthouse.http_server.http.login.tossed_cookies import MOST_REMOVALS, names_in, removals

from .conftest import CHAT, NODE, OTHER, House, Start
from .test_hosts import LABEL, PAGE, bind, own

NAME = f"kinode-auth_{NODE}"


def removed(answer: httpx.Response) -> set[tuple[str, str, str]]:
    """Name, path and domain of each cookie that an answer removes."""
    found = set()
    for line in answer.headers.get_list("set-cookie"):
        pair, *attributes = line.split("; ")
        if "Max-Age=0" in attributes:
            given = dict(each.partition("=")[::2] for each in attributes)
            found.add((pair.partition("=")[0], given["Path"], given.get("Domain", "")))
    return found


def test_cookies_are_removed_wherever_a_page_can_have_put_them() -> None:
    assert list(removals(["a"], "p.n.test:80", "/x:y:z/b;c", kept=("/",))) == [
        "a=x; Max-Age=0; Path=/; Domain=p.n.test",
        "a=x; Max-Age=0; Path=/; Domain=n.test",
        "a=x; Max-Age=0; Path=/; Domain=test",
        *(
            f"a=x; Max-Age=0; Path={path}{domain}"
            for path in ("/x:y:z", "/x:y:z/", "/x:y:z/b")
            for domain in ("", "; Domain=p.n.test", "; Domain=n.test", "; Domain=test")
        ),
    ]
    assert len(list(removals(["a"], "localhost", "/a" * 1000))) == 64 * 2
    for address in ("127.0.0.1:80", "[::1]", "[::1]:80", ""):
        assert list(removals(["a"], address, "/")) == ["a=x; Max-Age=0; Path=/"]


def test_names_are_found_in_a_piece_of_a_head() -> None:
    assert names_in(b"Host: a\r\nCookie: one=1; two=; =three; four\r\nX: y") == ("one", "two")
    assert names_in(b"e=1; b=2; b=3; \xff=4; c\r=5") == ("e", "b")
    assert names_in(b":" * 70_000 + b"=") == names_in(b"x" * 300 + b"=1;;=2; a b=3") == ()
    assert len(names_in(b"; ".join(b"n%d=" % number for number in range(9999)))) <= MOST_REMOVALS


@pytest.mark.parametrize("junk", ["junk", "", "e30.e30.e30"])
async def test_the_login_page_removes_what_is_none_of_the_nodes(house: House, junk: str) -> None:
    async with house.http() as client:
        answer = await client.get("/login", headers={"Cookie": f"{NAME}={junk}; other=1"})
        assert removed(answer) == {(name, path, "") for name in (NAME, "") for path in ("/", "/login")}
        beside = f"{NAME}={junk}; {house.cookie['Cookie']}"
        answer = await client.get(
            "/login", headers={"Cookie": beside, "Host": f"localhost:{house.server.port}"}
        )
        assert removed(answer) == {
            *((name, "/login", domain) for name in (NAME, "") for domain in ("", "localhost")),
            *((name, "/", "localhost") for name in (NAME, "")),
        }
        assert removed(await client.get("/login", headers=house.cookie)) == set()
        assert removed(await client.get("/login", headers={"Cookie": f"kinode-auth_other={junk}"})) == set()


@pytest.mark.parametrize("form", ["{name}=a.b.c", "{name}@{number}=a.b.c", "{name}@@shared=a.b.c"])
async def test_of_many_cookies_few_are_looked_at(
    house: House, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The signature of each costs the node some microseconds, and its client fifty bytes."""
    looked, signed = 0, Tokens._signed

    def counted(tokens: Tokens, token: str) -> dict[str, Any] | None:
        nonlocal looked
        looked += 1
        return signed(tokens, token)

    monkeypatch.setattr(Tokens, "_signed", counted)
    cookies = "; ".join(form.format(name=NAME, number=number) for number in range(1000))
    async with house.http(headers={"Cookie": cookies, "Host": f"localhost:{house.server.port}"}) as client:
        for path in ("/login", "/", f"/{CHAT}/page"):
            looked = 0
            assert (await client.get(path)).status_code in (200, 303, 404)
            assert looked <= 100, path


async def test_a_login_sets_its_cookies_after_it_removed_others(house: House) -> None:
    token = house.server.issue_token(60)
    async with house.http() as client:
        answer = await client.post("/login", json={"token": token}, headers={"Cookie": f"{NAME}=junk"})
    cookies = answer.headers.get_list("set-cookie")
    assert "Max-Age=0" in cookies[0]
    assert cookies[-2].startswith(f"{NAME}={token};")


async def test_what_a_page_can_read_is_no_login_and_begins_none(house: House) -> None:
    bind(house)
    token = house.server.issue_token(60, Scope(process=str(CHAT), page=True))
    async with house.http(headers={"Cookie": f"{NAME}={token}"}) as client:
        assert (await client.get("/")).headers["location"] == "/login"
        assert (await client.get(f"/{CHAT}/page")).status_code == 401
        assert (await client.post("/login", json={"token": token})).status_code == 401
        renewed = await client.post("/token", headers={"Authorization": f"Bearer {token}"})
        cookie = {"Cookie": f"{NAME}={renewed.json()['token']}"}
        assert (await client.get(f"/{CHAT}/page", headers=cookie)).status_code == 401


async def test_a_page_reads_its_own_token_again_when_another_put_one_before_it(house: House) -> None:
    bind(house)
    session = house.server.issue_token(600, Scope(subdomain=LABEL))
    mine = house.server.issue_token(600, Scope(process=str(CHAT), page=True))
    theirs = house.server.issue_token(600, Scope(process=str(OTHER), page=True))
    cookies = f"{NAME}@{LABEL}={session}; {NAME}={mine}"
    host = own(house)["Host"].partition(":")[0]
    async with house.http(headers={**PAGE, **own(house)}) as client:
        quiet = await client.get(f"/{CHAT}/page", headers={"Cookie": cookies})
        assert (quiet.status_code, quiet.headers.get_list("set-cookie")) == (200, [])
        answer = await client.get(f"/{CHAT}/page", headers={"Cookie": f"{NAME}={theirs}; {cookies}"})
        gone = removed(answer)
        assert (NAME, f"/{CHAT}/page", "") in gone
        assert (NAME, f"/{CHAT}", host) in gone
        assert (NAME, f"/{CHAT}", "") not in gone
        assert answer.headers.get_list("set-cookie")[-2].startswith(f"{NAME}=")
        assert f"; Path=/{CHAT};" in answer.headers.get_list("set-cookie")[-2]


async def test_a_request_with_more_cookies_than_it_may_bring_loses_them(start: Start) -> None:
    house: House = await start(None, HttpSettings(hosts=("n.test",)))
    many = "; ".join(f"c{number}={'x' * 4000}" for number in range(20))
    heads = {}
    for host in ("n.test", "localhost"):
        async with house.raw() as (reader, writer):
            writer.write(f"GET /login HTTP/1.1\r\nHost: {host}\r\nCookie: {many}\r\n\r\n".encode())
            heads[host] = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert heads[host].startswith("HTTP/1.1 431 ")
    for domain in ("", "; Domain=n.test"):
        assert f"\r\nSet-Cookie: c7=x; Max-Age=0; Path=/{domain}\r\n" in heads["n.test"]
    assert "Clear-Site-Data" not in heads["n.test"]
    assert '\r\nClear-Site-Data: "cookies"\r\n' in heads["localhost"]
    assert "Set-Cookie" not in heads["localhost"]


async def test_a_link_clears_no_cookies(house: House) -> None:
    for request in (
        f"GET /{'a' * 70_000} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        f"GET /{'a' * 60_000} HTTP/1.1\r\nHost: localhost\r\nCookie: a={'x' * 9000}\r\n\r\n",
    ):
        async with house.raw() as (reader, writer):
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert head.startswith(b"http/1.1 4")
            assert b"clear-site-data" not in head
            assert b"set-cookie" not in head
