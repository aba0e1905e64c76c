"""What a person is shown who gets no page: the reason and a way on. Programs get plain text."""

from __future__ import annotations

import pytest

from guesthouse.http_server.auth.credentials import set_password
from guesthouse.http_server.html_pages import login_page

from .conftest import CHAT, NODE, House

AS_BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/nothing", f"/{CHAT}/", f"/{CHAT}/deep/er", "/nobody:at:home.os/"])
async def test_a_browser_gets_a_page_with_a_way_back(house: House, path: str) -> None:
    async with house.http() as client:
        page = await client.get(path, headers=AS_BROWSER)
        assert page.status_code == 404
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert '<a href="/">' in page.text
        assert "Nothing is bound to this path (404)." in page.text
        text = await client.get(path)
        assert (text.status_code, text.text) == (404, "nothing is bound to this path\n")
        posted = await client.post(path, headers=AS_BROWSER)
        assert posted.headers["content-type"].startswith("text/plain")


async def test_who_has_to_wait_is_told_so_and_not_that_a_password_is_wrong(house: House) -> None:
    set_password(house.home, "right")
    async with house.http() as client:
        for _ in range(5):
            wrong = await client.post("/login", data={"password": "wrong"})
        assert 'aria-invalid="true"' in wrong.text
        waits = await client.post("/login", data={"password": "right"})
    assert waits.status_code == 429
    assert f"wait, then try again in {waits.headers['retry-after']} s." in waits.text
    assert "was not checked" in waits.text
    assert "Wrong password" not in waits.text
    assert "aria-invalid" not in waits.text


async def test_password_managers_find_a_name_for_the_password(house: House) -> None:
    set_password(house.home, "right")
    async with house.http() as client:
        page = (await client.get("/login")).text
        fields = {"username": NODE, "password": "right"}
        assert (await client.post("/login", data=fields)).status_code == 303
    assert f'name="username" type="text" autocomplete="username" value="{NODE}"' in page
    assert page.index('name="username"') < page.index('name="password"')
    assert "username" not in login_page(NODE, action="/login", password=False)
