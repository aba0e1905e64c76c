"""A real node over TLS, and the way into it for programs on its machine."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY, self_signed
from tests.patience import PATIENCE
from websockets.asyncio.client import connect

from .clients import ECHO_C, register_message
from .conftest import StartNode
from .protocol_forms import PUSHER

RPC = "/rpc:distro:sys/message"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


async def test_a_node_serves_over_tls_when_it_is_given_a_certificate(
    start: StartNode, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    daemon = await start("echo-c", flags=["--tls-cert", str(cert), "--tls-key", str(key)])
    assert daemon.url.startswith("https://")
    assert (await daemon.cli("passwd", stdin="correct horse\n")).code == 0
    trust = ssl.create_default_context(cafile=cert)
    async with httpx.AsyncClient(
        base_url=daemon.url, verify=trust, trust_env=False, timeout=PATIENCE
    ) as client:
        page = await client.get("/login")
        login = await client.post("/login", data={"password": "correct horse"})
        cookie = login.headers["set-cookie"]
    for answer in (page, login):
        assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert cookie.startswith(f"{daemon.cookie_name}=")
    assert {"secure", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    async with connect(daemon.ws_url, ssl=trust, proxy=None) as socket:
        await socket.send(register_message(await daemon.token(), ECHO_C))
        assert "channel_id" in json.loads(await socket.recv())
        await socket.send("over tls")
        assert await socket.recv() == "over tls"


async def test_a_program_on_the_nodes_machine_asks_a_process_and_nobody_else_does(start: StartNode) -> None:
    daemon = await start("pusher")
    blob = base64.b64encode(b"the blob").decode()
    message = {
        "process": PUSHER,
        "body": "a question",
        "expects_response": 5,
        "mime": "text/plain",
        "data": blob,
    }
    async with httpx.AsyncClient(
        verify=TRUSTS_NOBODY, base_url=daemon.url, trust_env=False, timeout=PATIENCE
    ) as client:
        assert (await client.post(RPC, json=message)).status_code == 403
        client.headers.update(daemon.local)
        answer = await client.post(RPC, json=message)
        assert answer.status_code == 200
        said = answer.json()
        assert json.loads(bytes(said["body"]))["status"] == 203
        came = json.loads(base64.b64decode(said["lazy_load_blob"]["bytes"]))
        assert came == {
            "source": f"{daemon.node}@rpc:distro:sys", "body": "a question", "blob": "the blob",
        }  # fmt: skip
        refused = (
            ({"X-Forwarded-For": "127.0.0.1"}, 403),
            ({"Host": "elsewhere"}, 421),
            ({"Origin": daemon.url}, 403),
        )
        for headers, status in refused:
            assert (await client.post(RPC, json=message, headers=headers)).status_code == status
        nobody = await client.post(RPC, json=message | {"process": "nobody:pusher:test.os"})
        assert nobody.status_code == 404
