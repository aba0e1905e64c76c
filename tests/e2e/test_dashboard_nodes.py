"""The dashboard of nodes with settings and packages of their own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY
from tests.patience import PATIENCE
from websockets.exceptions import InvalidStatus

from .api import key
from .conftest import StartNode
from .dashboard import SERVED, Refused, closed, dashboard_url, logged_in, page_socket
from .packages import package
from .waiting import until


async def test_who_shows_no_valid_key_is_let_go_and_has_to_wait(start: StartNode) -> None:
    daemon = await start("echo-c", settings=SERVED | {"connections_handshake_seconds": 0.5})
    url = await dashboard_url(daemon)
    logins: Sequence[object] = ({}, {"key": "ghk_x", "ticket": "y"}, {"cookie": "x"}, [], "x", {"key": 7})
    for login in logins:
        async with page_socket(url, login) as page:
            assert (await closed(page))[0] == 4401
    async with page_socket(url) as page:
        assert await closed(page) == (4401, "log in first")
    async with page_socket(url, {"key": "x" * 5000}) as page:
        assert (await closed(page))[0] == 1009
    good = await key(daemon, "read")
    for _ in range(5):
        async with page_socket(url, {"key": good[:-1] + "!"}) as page:
            assert (await closed(page))[0] == 4401
    async with page_socket(url, {"ticket": "guess"}) as page:
        assert (await closed(page))[0] == 4429
    async with page_socket(url, {"key": good}) as page:
        assert (await page.event("hello"))["name"] == "read"
    assert all(good not in line["text"] for line in await daemon.logs())


@pytest.mark.thorough
async def test_a_hundred_pages_watch_and_cost_what_one_does(start: StartNode) -> None:
    daemon = await start("echo-c", settings=SERVED)
    text = await key(daemon, "read")
    url = await dashboard_url(daemon)
    async with AsyncExitStack() as stack:
        pages = []
        for _ in range(128):
            page = await stack.enter_async_context(page_socket(url, {"key": text}))
            await page.event("hello")
            await page.ask("watch")
            pages.append(page)
        with pytest.raises(InvalidStatus) as caught:
            async with page_socket(url):
                pass
        assert caught.value.response.status_code == 503
        reads = [{(await page.event("processes"))["at"] for _ in range(2)} for page in pages]
        assert len(set().union(*reads)) < len(pages), "what was read once is shown to all"
        api = httpx.AsyncClient(
            base_url=url.replace("/dashboard/", "/api/v1"),
            headers={"Authorization": f"Bearer {text}"},
            verify=TRUSTS_NOBODY,
            trust_env=False,
            timeout=PATIENCE,
        )
        async with api:
            assert (await api.get("/node")).status_code == 200, "services have connections left"
    await daemon.ask("api-key-revoke", name="read")


async def test_it_is_off_by_default_and_the_command_says_how_to_have_it(start: StartNode) -> None:
    daemon = await start("echo-c", settings={"api_port": 0})
    api = (await daemon.log_line("api", "serves"))["text"].removeprefix("serves ")
    async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False) as client:
        assert (await client.get(api.replace("/api/v1", "/dashboard/"))).status_code == 404
    with pytest.raises(InvalidStatus) as caught:
        async with page_socket(api.replace("/api/v1", "/dashboard/")):
            pass
    assert caught.value.response.status_code != 101
    ran = await daemon.cli("dashboard")
    assert (ran.code, ran.stdout) == (1, "")
    assert "dashboard = true in the section [api]" in ran.stderr


async def test_the_command_prints_a_link_with_the_role_and_time_that_it_is_given(start: StartNode) -> None:
    daemon = await start("echo-c", settings=SERVED)
    ran = await daemon.cli("dashboard", "--role", "read", "--expires", "30min")
    url = ran.stdout.strip()
    assert url.startswith(await dashboard_url(daemon) + "#")
    async with page_socket(url, {"ticket": url.partition("#")[2]}) as page:
        hello = await page.event("hello")
    (made,) = await daemon.ask("api-keys")
    assert (hello["role"], made["expires"] - made["created"]) == ("read", 1800)
    assert (await daemon.cli("dashboard", "--expires", "soon")).code == 2
    text = (daemon.home / "api.keys").read_text()
    assert hello["key"] not in text, "only its hash is stored"


async def test_a_package_is_sent_shown_and_installed_with_consent(start: StartNode, tmp_path: Path) -> None:
    daemon = await start("echo-c", settings=SERVED)
    component = package("echo-c") / "build/echo-c.wasm"
    data = component.read_bytes()
    async with logged_in(daemon) as page:
        with pytest.raises(Refused, match="upload-incomplete"):
            await page.ask("preview")
        with pytest.raises(Refused, match="package-too-big"):
            await page.ask("beginUpload", name="a.zip", bytes=2**40)
        with pytest.raises(Refused, match="invalid-request"):
            await page.ask("beginUpload", name="../a b.wasm", bytes=5)
        await page.ask("beginUpload", name="dropped.wasm", bytes=len(data))
        with pytest.raises(Refused, match="upload-incomplete"):
            await page.ask("preview")
        for at in range(0, len(data), 100_000):
            part = data[at : at + 100_000]
            sent = await page.ask("sendPart", base64=base64.b64encode(part).decode())
            assert sent["received"] == at + len(part)
        with pytest.raises(Refused, match="invalid-request"):
            await page.ask("sendPart", base64="AAAA")
        shown = await page.ask("preview")
        assert (shown["package"], shown["asks_more"]) == ("dropped:local.os", [])
        assert "dropped:dropped:local.os" not in await daemon.ps(), (
            "nothing is installed before it is confirmed"
        )
        done = await page.ask("install", hash=shown["hash"])
        assert done["running_version"] == shown["version"]
        steps = [(await page.event("progress"))["step"] for _ in range(2)]
        assert steps == ["compiling", "starting"]
        assert (await daemon.ps())["dropped:dropped:local.os"]["state"] == "running"
        with pytest.raises(Refused, match="not-installed"):
            await page.ask("rollback", package="dropped:local.os")
        await daemon.log_line("api", "installs 'dropped.wasm'")
        await page.ask("beginUpload", name="junk.zip", bytes=4)
        await page.ask("sendPart", base64=base64.b64encode(b"PK\0\0").decode())
        with pytest.raises(Refused, match="not-installed") as caught:
            await page.ask("preview")
        assert "junk.zip" in caught.value.detail
        assert str(daemon.home) not in caught.value.detail
    left = await until(
        lambda: asyncio.sleep(0, [path.name for path in (daemon.home / "packages").glob(".partial*")]),
        lambda names: not names,
        "what a page sent is deleted when it is gone",
    )
    assert left == []
