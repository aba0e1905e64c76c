"""Logging in and out, the home page and `/our.js`."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path

import httpx
import pytest
from tests.patience import PATIENCE

from guesthouse.core.config import HttpSettings
from guesthouse.http_server.auth.credentials import (
    PASSWORD_FILE,
    SECRET_FILE,
    CredentialsError,
    check_password,
    load_secret,
    password_hash,
    set_password,
)
from guesthouse.http_server.auth.tokens import Scope

from .conftest import CHAT, NODE, OTHER, House, Start

COOKIE, HYPERWARE = f"kinode-auth_{NODE}", f"hyperware-auth_{NODE}"


def cookie_of(answer: httpx.Response) -> tuple[str, set[str]]:
    """Value and attributes of the cookies that an answer sets, which are the same under both names."""
    (name, _, rest), *others = (line.partition("=") for line in answer.headers.get_list("set-cookie"))
    assert name == COOKIE
    assert others == [(HYPERWARE, "=", rest)]
    value, *attributes = rest.split("; ")
    return value, {attribute.lower() for attribute in attributes}


async def is_logged_in(house: House, value: str, name: str = COOKIE) -> bool:
    async with house.http(headers={"Cookie": f"{name}={value}"}) as client:
        return (await client.get("/")).status_code == 200


async def test_a_login_counts_under_the_name_of_either_era_until_it_logs_out(house: House) -> None:
    async with house.http() as client:
        value, _ = cookie_of(await client.get(house.server.login_url()))
        assert await is_logged_in(house, value)
        assert await is_logged_in(house, value, HYPERWARE)
        assert not await is_logged_in(house, "stale", HYPERWARE)
        assert not await is_logged_in(house, value, f"other-auth_{NODE}")
        stale_first = {"Cookie": f"{COOKIE}=stale; {HYPERWARE}={value}"}
        assert (await client.get("/", headers=stale_first)).status_code == 200
        only_new = {"Cookie": f"{HYPERWARE}={value}", "Origin": house.server.url}
        assert (await client.post("/logout", headers=only_new)).status_code == 303
        assert not await is_logged_in(house, value)
        assert not await is_logged_in(house, value, HYPERWARE)


async def test_a_one_time_url_logs_in_once_and_goes_where_it_says(house: House) -> None:
    url = house.server.login_url("/a?b=c")
    async with house.http() as client:
        answer = await client.get(url)
        assert (answer.status_code, answer.headers["location"]) == (303, "/a?b=c")
        value, attributes = cookie_of(answer)
        assert attributes == {"max-age=86400", "path=/", "samesite=strict", "httponly"}
        assert await is_logged_in(house, value)
        again = await client.get(url)
        assert again.status_code == 401
        assert "already used" in again.text
        assert "set-cookie" not in again.headers


async def test_looking_at_a_one_time_url_does_not_use_it_up(house: House) -> None:
    url = house.server.login_url()
    async with house.http() as client:
        for looked in (
            await client.head(url),
            await client.get(url, headers={"Sec-Purpose": "prefetch;prerender"}),
            await client.get(url, headers={"Purpose": "prefetch"}),
        ):
            assert looked.status_code == 200
            assert "set-cookie" not in looked.headers
        assert (await client.get(url)).status_code == 303


async def test_a_one_time_token_expires(house: House) -> None:
    url = house.server.login_url()
    context = house.server._context
    now = context.now()
    context.now = lambda: now + 601
    async with house.http() as client:
        assert (await client.get(url)).status_code == 401


async def test_the_password_logs_in_through_the_form(house: House) -> None:
    set_password(house.home, "correct horse")
    async with house.http() as client:
        page = await client.get("/login?redirect=/x/y")
        assert page.status_code == 200
        assert 'action="/login?redirect=/x/y"' in page.text
        wrong = await client.post("/login?redirect=/x/y", data={"password": "wrong"})
        assert wrong.status_code == 401
        assert "Wrong password." in wrong.text
        assert 'role="alert"' in wrong.text
        right = await client.post("/login?redirect=/x/y", data={"password": "correct horse"})
    assert (right.status_code, right.headers["location"]) == (303, "/x/y")
    assert await is_logged_in(house, cookie_of(right)[0])


async def test_the_password_logs_in_as_kinodes_client_does(house: House) -> None:
    set_password(house.home, "pässword")
    hashed = password_hash("pässword")
    async with house.http() as client:
        plain = await client.post("/login", json={"password_hash": hashed, "subdomain": ""})
        assert plain.status_code == 200
        assert await is_logged_in(house, cookie_of(plain)[0])
        sent_on = await client.post(
            "/login?redirect=/a", json={"password_hash": hashed.upper(), "subdomain": None}
        )
        assert (sent_on.status_code, sent_on.headers["location"]) == (303, "/a")
        wrong = await client.post("/login", json={"password_hash": password_hash("x"), "subdomain": None})
        assert (wrong.status_code, wrong.text) == (401, "Wrong password.\n")


async def test_a_token_logs_in_for_as_long_as_it_lasts_and_no_longer(house: House) -> None:
    token = house.server.issue_token(60)
    async with house.http() as client:
        answer = await client.post("/login", data={"token": f" {token}\n", "password": ""})
        value, attributes = cookie_of(answer)
        assert (answer.status_code, value) == (303, token)
        assert int(next(a for a in attributes if a.startswith("max-age=")).partition("=")[2]) <= 60
        wrong = await client.post("/login", data={"token": "x.y.z"})
    assert wrong.status_code == 401
    assert "not issued by this node" in wrong.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 5000, "application/json", 400),
        (b'{"password_hash": 1}', "application/json", 400),
        (b'{"password_hash": "\\ud800"}', "application/json", 400),
        (b'{"token": "\\ud800"}', "application/json", 400),
        (b"{}", "application/json", 401),
        (b"\xff=\xff", "application/x-www-form-urlencoded", 400),
        (b"a=b&" * 20, "application/x-www-form-urlencoded", 400),
        (b"password=%ff", "application/x-www-form-urlencoded", 401),
        (b"", "application/x-www-form-urlencoded", 401),
        (b"x" * (16 * 1024 + 1), "application/json", 413),
    ],
)
async def test_a_login_that_is_not_in_order_is_refused(
    house: House, body: bytes, content_type: str, status: int
) -> None:
    async with house.http() as client:
        answer = await client.post("/login", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers


async def test_without_a_password_the_page_asks_for_a_token_and_no_password_works(house: House) -> None:
    async with house.http() as client:
        page = (await client.get("/login")).text
        assert 'name="password"' not in page
        assert 'name="token"' in page
        answer = await client.post("/login", json={"password_hash": password_hash(""), "subdomain": None})
    assert (answer.status_code, answer.text) == (
        401,
        "This node has no password. Use a login link or a token.\n",
    )


def stop_clock(house: House) -> float:
    """No time passes in which a guess is forgotten, however long the machine takes."""
    house.server._context.monotonic = lambda: 1024.0
    return house.server._context.monotonic()


async def test_guessing_is_slowed_and_says_when_to_come_back(house: House) -> None:
    set_password(house.home, "right")
    later = stop_clock(house) + 3
    async with house.http() as client:
        for _ in range(5):
            assert (await client.post("/login", data={"token": "wrong"})).status_code == 401
        blocked = await client.post("/login", data={"password": "right"})
        assert blocked.status_code == 429
        assert blocked.headers["retry-after"] in ("1", "2")
        assert "wait" in blocked.text
        house.server._context.monotonic = lambda: later
        assert (await client.post("/login", data={"password": "right"})).status_code == 303
        assert (await client.post("/login", data={"token": "wrong"})).status_code == 401, (
            "the account is clear"
        )


@pytest.mark.slow
async def test_who_guesses_from_many_loopback_addresses_waits_as_from_one(house: House) -> None:
    set_password(house.home, "right")
    stop_clock(house)
    statuses = []
    for last in range(1, 10):
        transport = httpx.AsyncHTTPTransport(local_address=f"127.{last}.0.{last}")
        async with httpx.AsyncClient(
            transport=transport, base_url=house.server.url, timeout=PATIENCE
        ) as client:
            statuses.append((await client.post("/login", data={"token": "wrong"})).status_code)
    assert statuses == [401] * 5 + [429] * 4
    senders = {text.partition(": ")[0] for _, _, text in house.log.lines if "failed login" in text}
    assert senders == {"127.0.0.1"}


async def test_clients_behind_a_trusted_proxy_are_slowed_each_for_themselves(start: Start) -> None:
    house: House = await start(None, HttpSettings(trusted_proxies=("127.0.0.1",)))
    stop_clock(house)
    async with house.http() as client:

        async def attempt(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return (await client.post("/login", data={"token": "wrong"}, headers=headers)).status_code

        assert [await attempt("10.0.0.1") for _ in range(6)] == [401] * 5 + [429]
        assert await attempt("10.0.0.2") == 401


async def test_many_logins_at_once_do_not_all_hash(house: House) -> None:
    set_password(house.home, "right")
    stop_clock(house)
    async with house.http() as client:
        answers = await asyncio.gather(
            *(client.post("/login", data={"password": "wrong"}) for _ in range(12))
        )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(429) >= 4
    assert set(statuses) == {401, 429}


async def test_guesses_at_once_count_as_those_one_after_another(house: House) -> None:
    set_password(house.home, "right")
    stop_clock(house)
    async with house.http() as client:
        for _ in range(3):
            await client.post("/login", data={"password": "wrong"})
        answers = await asyncio.gather(*(client.post("/login", data={"password": "wrong"}) for _ in range(7)))
    assert sorted(answer.status_code for answer in answers) == [401] * 2 + [429] * 5


async def test_a_token_does_not_clear_what_its_bearer_has_guessed(house: House) -> None:
    token = house.server.issue_token(60, Scope(process=str(CHAT), channels=1))
    set_password(house.home, "right")
    async with house.http() as client:
        for _ in range(4):
            assert (await client.post("/login", data={"password": "wrong"})).status_code == 401
            assert (await client.post("/login", data={"token": token})).status_code == 303
        assert (await client.post("/login", data={"password": "wrong"})).status_code == 401
        assert (await client.post("/login", data={"token": token})).status_code == 429
        assert (await client.post("/login", data={"password": "right"})).status_code == 429


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirect", "goes_to"),
    [
        ("/a", "/a"),
        ("/a?b=c#d", "/a?b=c#d"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/a\\b", "/"),
        ("https://evil.example", "/"),
        ("evil", "/"),
        ("", "/"),
        ("/\t/evil.example", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
    ],
)
async def test_logging_in_goes_to_paths_of_this_node_only(house: House, redirect: str, goes_to: str) -> None:
    async with house.http() as client:
        token = house.server.issue_token(60)
        answer = await client.post("/login", params={"redirect": redirect}, data={"token": token})
    assert answer.headers["location"] == goes_to


async def test_pages_of_other_origins_can_neither_log_in_nor_out(house: House) -> None:
    headers = {"Origin": "http://evil.example"}
    async with house.http(headers=headers) as client:
        answer = await client.post("/login", data={"token": house.server.issue_token(60)})
        assert answer.status_code == 403
        assert (await client.post("/logout")).status_code == 403


async def test_logging_out_takes_a_post_and_forgets_the_cookie(house: House) -> None:
    async with house.http(headers=house.cookie) as client:
        question = await client.get("/logout")
        assert "set-cookie" not in question.headers
        assert 'method="post"' in question.text
        answer = await client.post("/logout", headers={"Origin": house.server.url})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    value, attributes = cookie_of(answer)
    assert value in ("", '""')
    assert "max-age=0" in attributes


async def test_without_the_register_form_the_cookie_is_hidden_from_pages(start: Start) -> None:
    house: House = await start(None, HttpSettings(register_form=False))
    async with house.http() as client:
        assert "httponly" in cookie_of(await client.get(house.server.login_url()))[1]


async def test_a_session_is_renewed_while_it_is_used_and_a_token_is_not(house: House) -> None:
    async with house.http() as client:
        session = cookie_of(await client.get(house.server.login_url()))[0]
        context = house.server._context
        now = context.now()
        for later, renewed in ((43_100, False), (43_300, True)):
            context.now = lambda later=later: now + later  # type: ignore[misc]
            answer = await client.get("/", headers={"Cookie": f"{COOKIE}={session}"})
            assert answer.status_code == 200
            assert ("set-cookie" in answer.headers) is renewed
        token = house.server.issue_token(60)
        answer = await client.get("/", headers={"Cookie": f"{COOKIE}={token}"})
        assert "set-cookie" not in answer.headers


async def test_the_home_page_lists_processes_that_have_a_page(house: House, tmp_path: Path) -> None:
    house.server.serve_ui(OTHER, tmp_path)
    async with house.http() as client:
        stranger = await client.get("/")
        assert (stranger.status_code, stranger.headers["location"]) == (303, "/login")
        page = await client.get("/", headers=house.cookie)
    assert f'href="/{OTHER}/"' in page.text
    assert f'href="/{CHAT}/"' not in page.text
    assert NODE in page.text


async def test_the_nodes_own_pages_load_nothing_and_cannot_be_framed(house: House) -> None:
    async with house.http(headers=house.cookie) as client:
        for path in ("/", "/login", "/logout"):
            page = await client.get(path)
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["cache-control"] == "no-store"
            assert not re.search(r"<script|src=|https?://|@import|url\(", page.text)
            assert 'name="viewport"' in page.text
            assert 'lang="en"' in page.text


async def test_every_field_of_the_login_page_has_a_label(house: House) -> None:
    set_password(house.home, "x")
    async with house.http() as client:
        page = (await client.get("/login")).text
    fields = re.findall(r'<input id="(\w+)"', page)
    assert fields == ["password", "token"]
    assert all(f'<label for="{field}">' in page for field in fields)


async def test_what_a_client_sends_is_never_markup_in_a_page(house: House) -> None:
    async with house.http() as client:
        page = await client.get("/login", params={"redirect": '/"><script>alert(1)</script>'})
    assert "<script" not in page.text


@pytest.mark.parametrize(
    ("url", "referer", "process"),
    [
        ("/our.js?process={chat}", "", "{chat}"),
        ("/our.js", "http://h/{chat}/", "{chat}"),
        ("/our.js", "http://h/{chat}/a/b?c", "{chat}"),
        ("/our.js", "http://h/", ""),
        ("/our.js", "http://[::1/{chat}/", ""),
        ("/our.js", "", ""),
        ("/our.js?process={other}", "http://h/{chat}/", "{other}"),
        ("/our.js?process=</script>", "", ""),
        ("/{chat}/our.js", "", "{chat}"),
        ("/{chat}/our.js", "http://h/{other}/", "{chat}"),
    ],
)
async def test_our_js_tells_a_page_who_it_is(house: House, url: str, referer: str, process: str) -> None:
    names = {"chat": CHAT, "other": OTHER}
    async with house.http() as client:
        answer = await client.get(url.format(**names), headers={"Referer": referer.format(**names)})
    first = f'window.our = {{"node": "{NODE}", "process": "{process.format(**names)}"}};\n'
    assert answer.text.startswith(first)
    assert ("token" in answer.text) == bool(process)
    assert answer.headers["content-type"].startswith("text/javascript")


async def test_own_pages_answer_other_methods_with_405(house: House) -> None:
    async with house.http() as client:
        for method, path in (("POST", "/"), ("PUT", "/login"), ("DELETE", "/our.js")):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.text) == (405, "this path does not take that method\n")
            assert answer.headers["allow"].startswith("GET, HEAD")


# What is kept in the home.


def test_the_token_secret_is_made_once_and_for_the_user_alone(tmp_path: Path) -> None:
    secret = load_secret(tmp_path)
    assert len(secret) == 32
    assert load_secret(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE], "nothing temporary is left"


def test_a_damaged_secret_is_one_line(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_bytes(b"short")
    with pytest.raises(CredentialsError, match="5 bytes, not 32"):
        load_secret(tmp_path)
    with pytest.raises(CredentialsError, match="No such file"):
        load_secret(tmp_path / "missing")


def test_a_password_is_kept_hashed_and_for_the_user_alone(tmp_path: Path) -> None:
    for password in ("first", "second"):
        set_password(tmp_path, password)
    stored = (tmp_path / PASSWORD_FILE).read_text()
    assert stored.startswith("$argon2id$")
    assert stat.S_IMODE((tmp_path / PASSWORD_FILE).stat().st_mode) == 0o600
    assert check_password(tmp_path, password_hash("second"))
    assert not check_password(tmp_path, password_hash("first"))
    assert not check_password(tmp_path, "second")
    with pytest.raises(CredentialsError):
        set_password(tmp_path, "")


def test_a_damaged_password_file_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / PASSWORD_FILE).write_bytes(b"\xff\x00")
    assert not check_password(tmp_path, password_hash("x"))
    (tmp_path / PASSWORD_FILE).write_text("$argon2id$nonsense")
    assert not check_password(tmp_path, password_hash("x"))
