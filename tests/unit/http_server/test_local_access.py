"""What only programs of the node's user may ask: messages by RPC, extensions, what is bound `local_only`."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from guesthouse.core.config import HttpSettings
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.credentials import LOCAL_SECRET_FILE, CredentialsError, load_local_secret
from guesthouse.http_server.auth.local_access import LocalAccess
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.routing.origin import PROXY_HEADERS
from guesthouse.link.calls import BindWsPath

from .conftest import CHAT, House, Start, http_path

RPC = "/rpc:distro:sys/message"
MESSAGE = {"process": str(CHAT)}
MACHINE = HttpSettings(local_access="machine")


class Headers(dict[str, str]):
    """Headers, by name in any case."""

    def get_all(self, key: str) -> list[str]:
        return [value for name, value in self.items() if name.lower() == key.lower()]


async def rpc(house: House, headers: dict[str, str]) -> int:
    async with house.http() as client:
        return (await client.post(RPC, json=MESSAGE, headers=headers)).status_code


async def extension(house: House, headers: dict[str, str]) -> int:
    house.server.bind_ws_path(CHAT, BindWsPath("/ext", authenticated=False, secure=False, extension=True))
    try:
        async with connect(f"{house.ws_url}/{CHAT}/ext", additional_headers=headers, proxy=None):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def page(house: House, headers: dict[str, str]) -> int:
    house.server.bind_http_path(
        CHAT,
        http_path("/p", authenticated=False, local_only=True, static=LazyLoadBlob(None, b"x")),
    )
    async with house.http() as client:
        return (await client.get(f"/{CHAT}/p", headers=headers)).status_code


@pytest.mark.parametrize("secret", ["", "0" * 64, "ü"])
async def test_another_user_of_the_machine_has_not_the_secret(house: House, secret: str) -> None:
    headers = {"Guesthouse-Local": secret.encode()} if secret else {}
    async with house.http() as client:
        assert (await client.post(RPC, json=MESSAGE, headers=headers)).status_code == 403  # type: ignore[arg-type]
    assert await extension(house, {"Guesthouse-Local": secret} if secret.isascii() and secret else {}) == 403
    assert await page(house, headers) == 401  # type: ignore[arg-type]
    assert house.router.requests.empty()


async def test_the_secret_of_the_home_opens_all_three(house: House) -> None:
    assert await rpc(house, house.local) == 200
    assert await extension(house, house.local) == 101
    assert await page(house, house.local) == 200
    assert stat.S_IMODE((house.home / LOCAL_SECRET_FILE).stat().st_mode) == 0o600


async def test_a_login_opens_a_page_that_is_local_only_and_neither_of_the_others(house: House) -> None:
    assert await page(house, house.cookie) == 200
    assert await rpc(house, house.cookie) == 403
    assert await extension(house, house.cookie) == 403


@pytest.mark.slow
@pytest.mark.parametrize("name", PROXY_HEADERS)
async def test_no_proxy_speaks_for_the_machine(house: House, name: str) -> None:
    headers = house.local | {name: "https"}
    assert await rpc(house, headers) == 403
    assert await page(house, headers) == 403
    assert await extension(house, headers) == 403


async def test_pages_in_a_browser_on_the_machine_speak_for_nobody(start: Start) -> None:
    house = await start(http=MACHINE)
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": house.server.url, "Sec-Fetch-Site": "same-origin"},
    ):
        assert await rpc(house, headers) == 403
        assert await extension(house, headers) == 403
        assert await page(house, headers) == (403 if "cross-site" in headers.values() else 401)
    async with house.http() as client:
        for mime in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            answer = await client.post(RPC, content=b"{}", headers={"Content-Type": mime})
            assert answer.status_code == 415, mime


async def test_tools_of_the_kinode_os_work_where_the_operator_lets_them(start: Start) -> None:
    house = await start(http=MACHINE)
    assert await rpc(house, {}) == 200
    assert await extension(house, {}) == 101
    assert await page(house, {"Sec-Fetch-Site": "none"}) == 200


async def test_guests_are_not_shown_the_secret(house: House) -> None:
    house.server.bind_http_path(CHAT, http_path("/d", authenticated=False, local_only=True))
    async with house.http(headers=house.local | {"X-Other": "1"}) as client:
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(client.get(f"/{CHAT}/d"))
            _, http_id, request, *_ = await house.chat.next()
            house.server.http_response(CHAT, http_id, 200, (), None, b"")
        assert asked.result().status_code == 200
    names = {name.lower() for name, _ in request.headers}
    assert "x-other" in names
    assert "guesthouse-local" not in names


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ([("Guesthouse-Local", "s")], None),
        ([("Guesthouse-Local", "S")], close_codes.NO_LOCAL_SECRET),
        ([("Guesthouse-Local", "s"), ("guesthouse-local", "s")], close_codes.NO_LOCAL_SECRET),
        ([], close_codes.NO_LOCAL_SECRET),
    ],
)
def test_the_secret_is_shown_once_and_whole(given: list[tuple[str, str]], refusal: Refusal | None) -> None:
    headers = Headers({"Host": "localhost", **dict(given)})
    assert LocalAccess("s").refusal("127.0.0.1", headers) is refusal
    assert LocalAccess("s").refusal_of_program("127.0.0.1", headers) is refusal
    assert LocalAccess("").refusal("127.0.0.1", Headers({"Host": "localhost", "Guesthouse-Local": ""}))
    assert LocalAccess("s").refusal("10.0.0.1", headers) is close_codes.LOCAL_ONLY


def test_a_secret_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    secret = load_local_secret(tmp_path)
    assert load_local_secret(tmp_path) == secret
    (tmp_path / LOCAL_SECRET_FILE).write_text(secret[:-1])
    with pytest.raises(CredentialsError, match="remove it"):
        load_local_secret(tmp_path)
