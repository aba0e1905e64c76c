"""All that a process can ask of the HTTP server, in both forms: a real node, a real component, real clients.

Each test runs once with the calls of the contract and once with requests in JSON; what clients see is the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.tiers import thorough_after
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from guesthouse.core.address import ProcessId
from guesthouse.http_server.routing.subdomains import subdomain_of

from .clients import Client, bound, close_of
from .conftest import StartNode
from .daemon import Daemon
from .packages import package
from .protocol_forms import FORMS, PUSHER, Form, Speaker
from .test_http_policies import idle

SUBDOMAIN = "pusher-test-os"
MESSAGE_BYTES = 4096
OWN_BINDINGS = 4
"""What the pusher binds by itself."""

pytestmark = pytest.mark.parametrize("form", thorough_after(1, FORMS))


@asynccontextmanager
async def speaking(daemon: Daemon, form: Form, process: str = PUSHER) -> AsyncIterator[Speaker]:
    async with bound(daemon, process, "/control") as control:
        yield Speaker(control, form)


@asynccontextmanager
async def room(daemon: Daemon, name: str) -> AsyncIterator[Client]:
    """A client in a room of the pusher."""
    async with bound(daemon, PUSHER, f"/rooms/{name}") as client:
        yield Client(client.socket, int(await client.receive()))


async def refused(daemon: Daemon, path: str, **options: Any) -> int:
    """The status with which a WebSocket on a path of the pusher is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"{daemon.ws_url}/{PUSHER}{path}", proxy=None, **options):
            pass
    status: int = caught.value.response.status_code
    return status


def variant(folder: Path, name: str, *lines: tuple[str, str]) -> Path:
    """The pusher's package under another name, with lines of its manifest replaced."""
    copied = shutil.copytree(package("pusher"), folder / name)
    manifest = copied / "package.toml"
    text = manifest.read_text()
    for old, new in (('name = "pusher"\npublisher', f'name = "{name}"\npublisher'), *lines):
        assert old in text
        text = text.replace(old, new, 1)
    manifest.write_text(text)
    return copied


async def test_every_message_type_is_pushed(start: StartNode, form: Form) -> None:
    daemon = await start("pusher")
    async with speaking(daemon, form) as speaker, idle(daemon) as (client, channel):
        for kind, opcode, payload in (
            ("Text", 1, "täxt".encode()),
            ("Binary", 2, b"\xff\0"),
            ("Ping", 9, b"x" * 125),
            ("Pong", 10, b""),
            ("Close", 8, b"\x0f\xa1because"),
        ):
            assert await speaker.push(channel, kind, payload) is None
            assert await client.message() == (opcode, payload)
        assert await speaker.push(channel, "Text", b"x") == "WsChannelNotFound"


async def test_what_is_wrong_with_a_push_is_said_and_costs_the_channel_nothing(
    start: StartNode, form: Form
) -> None:
    daemon = await start("pusher", "echo-c", settings={"connections_message_bytes": MESSAGE_BYTES})
    token = await daemon.token()
    async with speaking(daemon, form) as speaker, room(daemon, "a") as client:
        mine = client.channel_id
        assert await speaker.push(mine, "Binary", bytes(MESSAGE_BYTES + 1)) == "WsMessageTooBig"
        assert await speaker.push(mine, "Text", b"\xff") == "WsTextNotUtf8"
        for kind in ("Ping", "Pong", "Close"):
            assert await speaker.push(mine, kind, bytes(126)) == "WsPingPongTooLong"
        for payload in (b"x", b"\x03\xe7", b"\x03\xed", b"\x03\xe8\xff"):
            assert await speaker.push(mine, "Close", payload) == "WsBadClose"
        async with bound(daemon, "echo-c:echo-c:guesthouse.os", "/", token):
            (foreign,) = await daemon.channels("echo-c:echo-c:guesthouse.os")
            for unknown in (foreign["channel_id"], mine ^ 1):
                assert await speaker.push(unknown, "Text", b"x") == "WsChannelNotFound"
                assert await speaker.close(unknown) == (None if form == "json" else "WsChannelNotFound")
                assert await speaker.policy(unknown, "wait") == "WsChannelNotFound"
                assert await speaker.push_many([unknown], "Text", b"x") == {unknown: "WsChannelNotFound"}
        assert await speaker.push(mine, "Binary", bytes(MESSAGE_BYTES)) is None
        assert await client.receive() == bytes(MESSAGE_BYTES)


async def test_one_push_reaches_many_channels_and_names_those_it_does_not(
    start: StartNode, form: Form
) -> None:
    daemon = await start("pusher", settings={"connections_message_bytes": MESSAGE_BYTES})
    async with (
        speaking(daemon, form) as speaker,
        room(daemon, "a") as one,
        room(daemon, "a") as two,
        room(daemon, "b") as three,
    ):
        ids = [one.channel_id, two.channel_id, three.channel_id]
        unknown = max(ids) ^ 1
        assert await speaker.push_many([*ids, unknown], "Text", b"all") == {unknown: "WsChannelNotFound"}
        assert await speaker.push_path("/rooms/a", "Binary", b"as asked") == {}
        assert await speaker.push_path("/rooms/:room", "Text", b"as bound") == {}
        assert await speaker.push_path("/elsewhere", "Text", b"nobody") == {}
        too_big = await speaker.push_many(ids, "Binary", bytes(MESSAGE_BYTES + 1))
        assert too_big == dict.fromkeys(ids, "WsMessageTooBig")
        assert await speaker.push_many(ids, "Text", b"last") == {}
        assert [await one.receive() for _ in range(4)] == ["all", b"as asked", "as bound", "last"]
        assert [await two.receive() for _ in range(4)] == ["all", b"as asked", "as bound", "last"]
        assert [await three.receive() for _ in range(3)] == ["all", "as bound", "last"]


async def test_a_process_closes_its_channel_once(start: StartNode, form: Form) -> None:
    daemon = await start("pusher")
    async with speaking(daemon, form) as speaker, room(daemon, "a") as client:
        assert await speaker.close(client.channel_id) is None
        assert (await client.closed())[0] == 1000
        assert await speaker.close(client.channel_id) == (None if form == "json" else "WsChannelNotFound")
        assert await speaker.policy(client.channel_id, "wait") == "WsChannelNotFound"


async def test_a_websocket_path_is_bound_as_it_says_and_unbound(start: StartNode, form: Form) -> None:
    daemon = await start("pusher", settings={"connections_bindings_per_process": OWN_BINDINGS + 2})
    token = await daemon.token()
    async with speaking(daemon, form) as speaker:
        assert await speaker.bind_ws("/x/../y", authenticated=False) == "BadPath"
        assert await speaker.bind_ws("/p", subprotocols=["not a token"]) == "BadSubprotocol"
        assert await refused(daemon, "/p") == 404
        assert await speaker.bind_ws("/in/:id", authenticated=True) is None
        assert await refused(daemon, "/in/7") == 401
        async with bound(daemon, PUSHER, "/in/7?side=white", token) as client:
            event = await client.json()
        assert (event["path"], event["url_params"]) == ("/in/7", {"id": "7"})
        assert event["query_params"] == {"side": "white"}
        assert event["source_socket_addr"].startswith("127.0.0.1:")
        assert (event["resumed"], event["forwarded_for"], event["subprotocol"]) == (False, None, None)

        spoken: dict[str, Any] = {"authenticated": False, "subprotocols": ["v2", "v1"]}
        assert await speaker.bind_ws("/p", **spoken) is None
        assert await speaker.bind_ws("/p", **spoken) is None, "bound anew, and counted once"
        assert await speaker.bind_ws("/q", authenticated=False) == "TooManyBindings"
        url = f"{daemon.ws_url}/{PUSHER}/p"
        async with connect(url, subprotocols=["v1", "v2"], proxy=None) as socket:  # type: ignore[list-item] # plain text
            assert socket.subprotocol == json.loads(await socket.recv())["subprotocol"] == "v2"
            assert await speaker.unbind_ws("/p") is None
            assert await close_of(socket) == (1001, "the path is no longer bound")
        assert await refused(daemon, "/p") == 404
        assert await speaker.bind_ws("/q", authenticated=False) is None


async def test_an_extensions_path_takes_programs_on_this_machine_alone(start: StartNode, form: Form) -> None:
    daemon = await start("pusher")
    async with speaking(daemon, form) as speaker:
        assert await speaker.bind_ws("/ext", authenticated=False, extension=True) is None
        assert (
            await refused(daemon, "/ext", additional_headers=daemon.local | {"X-Forwarded-For": "10.0.0.1"})
            == 403
        )
        assert (
            await refused(daemon, "/ext", additional_headers=daemon.local, origin="http://elsewhere.example")
            == 403
        )
        assert await refused(daemon, "/ext") == 403
        async with bound(daemon, PUSHER, "/ext", **daemon.local) as client:
            assert (await client.json())["path"] == "/ext"


async def test_what_is_bound_as_secure_is_on_the_own_sub_domain_alone(
    start: StartNode, form: Form, tmp_path: Path
) -> None:
    long = "p" * 60
    daemon = await start("pusher", variant(tmp_path, long))
    secure = (await daemon.cli("token", "--process", PUSHER, "--secure")).stdout.strip()
    cookie = {"Cookie": f"{daemon.cookie_name}@{PUSHER}={secure}"}
    port = urlsplit(daemon.url).port

    async def page(host: str, **headers: str) -> tuple[int, str]:
        answer = await daemon.get(f"/{PUSHER}/page", Host=f"{host}:{port}", **headers)
        return answer.status_code, answer.text

    def socket(host: str, headers: dict[str, str]) -> connect:
        url = f"ws://{host}:{port}/{PUSHER}/inside"
        return connect(url, host="127.0.0.1", port=port, additional_headers=headers, proxy=None)

    async with speaking(daemon, form) as speaker:
        assert await speaker.bind("/page", b"secret", secure=True) is None
        assert await speaker.bind("/dynamic", secure=True, response_seconds=9) is None
        assert await speaker.bind_ws("/inside", secure=True) is None
        assert await page(f"{SUBDOMAIN}.localhost", **cookie) == (200, "secret")
        async with socket(f"{SUBDOMAIN}.localhost", cookie) as client:
            assert json.loads(await client.recv())["path"] == "/inside"
        asked = await daemon.get(f"/{PUSHER}/dynamic", Host=f"{SUBDOMAIN}.localhost:{port}", **cookie)
        assert (asked.status_code, asked.json()["bound_path"]) == (200, "/dynamic")
        assert (await page("localhost", **cookie))[0] == 403
        assert (await page(f"{SUBDOMAIN}.localhost"))[0] == 401
        for host, headers in (("localhost", cookie), ("other-test-os.localhost", cookie)):
            with pytest.raises(InvalidStatus) as caught:
                async with socket(host, headers):
                    pass
            assert caught.value.response.status_code == 403
    process = f"pusher:{long}:test.os"
    async with speaking(daemon, form, process) as other:
        assert await other.bind_ws("/inside", secure=True) is None
        assert await other.bind("/page", b"long", secure=True) is None
        token = (await daemon.cli("token", "--process", process, "--secure")).stdout.strip()
        headers = {
            "Host": f"{subdomain_of(ProcessId.parse(process))}.localhost",
            "Cookie": f"{daemon.cookie_name}@{process}={token}",
        }
        assert (await daemon.get(f"/{process}/page", **headers)).text == "long"


async def test_a_path_is_bound_to_requests_and_the_process_answers_them(start: StartNode, form: Form) -> None:
    daemon = await start("pusher", settings={"connections_bindings_per_process": OWN_BINDINGS + 3})
    token = await daemon.token()
    async with speaking(daemon, form) as speaker:
        assert await speaker.bind("/a//b", authenticated=False) == "BadPath"
        assert await speaker.bind("/items/:id", authenticated=False) is None
        answer = await daemon.get(f"/{PUSHER}/items/7?status=201&form={form}", Accept="text/x-test")
        asked = answer.json()
        assert (answer.status_code, answer.headers["x-form"]) == (201, form)
        assert answer.headers.get_list("set-cookie") == (["a=1", "b=2; Path=/"] if form == "typed" else [])
        assert (asked["method"], asked["bound_path"], asked["body"]) == ("GET", "/items/:id", "")
        assert asked["url"] == f"{daemon.url}/{PUSHER}/items/7?status=201&form={form}"
        assert (asked["url_params"], asked["query_params"]["status"]) == ({"id": "7"}, "201")
        assert ["accept", "text/x-test"] in asked["headers"]
        assert asked["source_socket_addr"].startswith("127.0.0.1:")

        assert await speaker.bind("/mine", authenticated=True) is None
        assert (await daemon.get(f"/{PUSHER}/mine")).status_code == 401
        assert (await daemon.get(f"/{PUSHER}/mine", token)).status_code == 200
        assert await speaker.bind("/here", authenticated=False, local_only=True) is None
        assert (await daemon.get(f"/{PUSHER}/here")).status_code == 401
        assert (await daemon.get(f"/{PUSHER}/here", token)).status_code == 200
        assert (await daemon.get(f"/{PUSHER}/here", **daemon.local)).status_code == 200
        proxied = daemon.local | {"X-Forwarded-For": "10.0.0.1"}
        assert (await daemon.get(f"/{PUSHER}/here", **proxied)).status_code == 403
        assert await speaker.bind("/more", authenticated=False) == "TooManyBindings"

        assert await speaker.unbind("/items/:id") is None
        assert (await daemon.get(f"/{PUSHER}/items/7", token)).status_code == 404
        assert await speaker.bind("/slow", authenticated=False, response_seconds=1) is None
        assert (await daemon.get(f"/{PUSHER}/slow")).status_code == 408


async def test_content_is_served_without_asking_the_process(start: StartNode, form: Form) -> None:
    daemon = await start("pusher", settings={"connections_http_body_bytes": 100})
    path, token = f"/{PUSHER}/page", await daemon.token()
    async with speaking(daemon, form) as speaker:
        assert await speaker.bind("/page", b"first", authenticated=False) is None
        answer = await daemon.get(path)
        assert (answer.text, answer.headers["content-type"]) == ("first", "text/plain")
        tag = answer.headers["etag"]
        assert (await daemon.get(path, **{"If-None-Match": tag})).status_code == 304
        part = await daemon.get(path, Range="bytes=1-2")
        assert (part.status_code, part.text) == (206, "ir")
        assert await speaker.bind("/page", b"second", authenticated=False, local_only=True) is None
        assert (await daemon.get(path, **daemon.local, **{"If-None-Match": tag})).text == "second"
        assert (await daemon.get(path, **daemon.local, **{"X-Forwarded-For": "10.0.0.1"})).status_code == 403
        assert await speaker.bind("/page", b"third", authenticated=True) is None
        assert (await daemon.get(path)).status_code == 401
        assert await speaker.bind("/big", bytes(96), authenticated=False) == "TooManyBindings"
        assert await speaker.unbind("/page") is None
        assert (await daemon.get(path, token)).status_code == 404


async def test_the_files_of_the_package_are_served_in_one_call(
    start: StartNode, form: Form, tmp_path: Path
) -> None:
    bare = variant(tmp_path, "bare", ('ui = "ui"\n', ""))
    daemon = await start("pusher", bare, settings={"connections_bindings_per_process": OWN_BINDINGS + 1})
    token = await daemon.token()
    async with speaking(daemon, form) as speaker:
        assert await speaker.serve_ui("/a/../b") == "BadPath"
        assert await speaker.serve_ui("/site", authenticated=False, local_only=True) is None
        page = await daemon.get(f"/{PUSHER}/site/", **daemon.local)
        assert (page.status_code, "<title>Pusher</title>" in page.text) == (200, True)
        script = await daemon.get(f"/{PUSHER}/site/app.js", **daemon.local)
        assert script.text == "// the script of the page\n"
        assert script.headers["content-type"].startswith("text/javascript")
        proxied = daemon.local | {"X-Forwarded-For": "10.0.0.1"}
        assert (await daemon.get(f"/{PUSHER}/site/", **proxied)).status_code == 403
        assert (await daemon.get(f"/{PUSHER}/site/none.js", **daemon.local)).status_code == 404
        assert await speaker.serve_ui("/more") == "TooManyBindings"
        assert await speaker.serve_ui("/site", authenticated=True) is None
        assert (await daemon.get(f"/{PUSHER}/site/app.js")).status_code == 401
        assert (await daemon.get(f"/{PUSHER}/site/app.js", token)).status_code == 200
        assert await speaker.serve_ui("/site", secure=True) is None
        assert (await daemon.get(f"/{PUSHER}/site/app.js", token)).status_code == 403
        assert await speaker.unbind("/site") is None
        assert (await daemon.get(f"/{PUSHER}/site/app.js", token)).status_code == 404
    async with speaking(daemon, form, "pusher:bare:test.os") as other:
        assert await other.serve_ui("/") == "NoUi"
