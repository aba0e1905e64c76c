"""The example configurations of reverse proxies, in the real nginx, HAProxy and Caddy."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from tests.certificates import TRUSTS_NOBODY, self_signed
from tests.patience import PATIENCE
from tests.tiers import thorough_after
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from .clients import ECHO_C, bound, register_message
from .conftest import StartNode
from .debian_tools import environment, free_port, needed
from .protocol_forms import PUSHER, Speaker
from .waiting import until

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "deploy/proxies"
NAME: Final = "guest.example"
FILES: Final = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}
SETTINGS: Final = {"http_trusted_proxies": "127.0.0.1", "http_hosts": NAME}
NGINX: Final = """daemon off; pid nginx.pid; error_log stderr; {user}
events {{}}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    {site}
}}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that runs before a node: where it listens, and whom its clients trust."""

    http: int
    https: int
    trust: ssl.SSLContext

    def client(self, **options: Any) -> httpx.AsyncClient:
        """An HTTP client of the node's public name."""
        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.https}",
            headers={"Host": f"{NAME}:{self.https}"},
            verify=self.trust,
            trust_env=False,
            timeout=PATIENCE,
            **options,
        )

    async def socket(self, path: str = "/", **headers: str) -> ClientConnection:
        """A WebSocket to the node's public name, from another address of this machine."""
        return await connect(
            f"wss://{NAME}:{self.https}{path}",
            host="127.0.0.1",
            port=self.https,
            ssl=self.trust,
            proxy=None,
            local_addr=("127.0.0.9", 0),
            additional_headers=headers,
            max_size=None,
        )


def configuration(name: str, folder: Path, node: int, proxy: Proxy) -> list[str]:
    """Write the example for these ports. Returns the proxy's arguments."""
    text = (EXAMPLES / FILES[name]).read_text()
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{node}").replace(f"/etc/ssl/{NAME}", str(folder))
    where = folder / FILES[name]
    if name == "nginx":
        text = text.replace("listen 80", f"listen 127.0.0.1:{proxy.http}")
        text = text.replace("listen 443", f"listen 127.0.0.1:{proxy.https}")
        user = "user root;" if os.geteuid() == 0 else ""
        where.write_text(NGINX.format(user=user, site=text))
        return ["-p", str(folder), "-c", str(where), "-e", "stderr"]
    if name == "haproxy":
        text = text.replace("bind :80", f"bind 127.0.0.1:{proxy.http}")
        where.write_text(text.replace("bind :443", f"bind 127.0.0.1:{proxy.https}"))
        return ["-db", "-f", str(where)]
    ports = f"http_port {proxy.http}\n\thttps_port {proxy.https}\n\tdefault_sni {NAME}"
    where.write_text(f"{{\n\tadmin off\n\tskip_install_trust\n\t{ports}\n}}\n{text}")
    return ["run", "--adapter", "caddyfile", "--config", str(where)]


@asynccontextmanager
async def proxied(name: str, url: str, folder: Path) -> AsyncIterator[Proxy]:
    """The proxy before the node, with its example configuration."""
    program = needed(name)
    cert, _ = self_signed(folder, NAME, f"*.{NAME}")
    proxy = Proxy(free_port(), free_port(), ssl.create_default_context(cafile=cert))
    arguments = configuration(name, folder, int(url.rpartition(":")[2]), proxy)
    log = folder / "proxy.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(program, *arguments),
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**environment(), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )
    try:

        async def listens() -> bool:
            assert process.returncode is None, log.read_text()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", proxy.https)
            except ConnectionRefusedError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await until(listens, bool, f"{name} listens")
        yield proxy
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.mark.parametrize("name", thorough_after(1, FILES))
async def test_a_node_works_behind_a_proxy_with_its_example_configuration(
    name: str, start: StartNode, tmp_path: Path
) -> None:
    daemon = await start("echo-c", "pusher", settings=SETTINGS)
    assert (await daemon.cli("passwd", stdin="correct horse\n")).code == 0
    folder = tmp_path / "proxy"
    folder.mkdir()
    async with proxied(name, daemon.url, folder) as proxy:
        # Plain HTTP leads to TLS; over TLS a login is remembered by secure cookies.
        async with httpx.AsyncClient(verify=TRUSTS_NOBODY, trust_env=False) as plain:
            moved = await plain.get(f"http://127.0.0.1:{proxy.http}/login", headers={"Host": NAME})
        assert moved.status_code in (301, 308)
        assert moved.headers["location"].startswith(f"https://{NAME}")
        async with proxy.client() as http:
            http.headers["X-Forwarded-Proto"] = "http"  # believed from the proxy, not from a client
            origin = {"Origin": f"https://{NAME}:{proxy.https}"}
            login = await http.post("/login", data={"password": "correct horse"}, headers=origin)
            assert login.status_code == 303, login.text
            assert "secure" in login.headers["set-cookie"].lower()
            assert login.headers["strict-transport-security"].startswith("max-age=")
            # A body of 2 MiB reaches the process, which has a second to answer.
            posted = await http.post(f"/{PUSHER}/slow", content=bytes(2 << 20))
            assert posted.status_code == 408
            # What only programs of this machine may do is not done for the proxy's clients.
            asked = {"process": PUSHER, "body": "x"}
            rpc = await http.post("/rpc:distro:sys/message", json=asked)
            assert rpc.status_code == 403

        # Channels of both forms, with messages of the greatest size.
        async with await proxy.socket() as socket:
            await socket.send(register_message(await daemon.token(), ECHO_C))
            assert "channel_id" in json.loads(await socket.recv())
            for message in ("text", b"binary", "a" * (1 << 20), os.urandom(1 << 20)):
                await socket.send(message)
                assert await socket.recv() == message
            shown = json.loads((await daemon.cli("channels", "--json")).stdout)
            assert "127.0.0.9" in json.dumps(shown), shown
        # A page of another origin is refused, and a client cannot say where it comes from.
        cookie = {"Cookie": f"{daemon.cookie_name}={await daemon.token()}"}
        spoofed = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
        async with bound(daemon, PUSHER, "/control") as control:
            assert await Speaker(control, "typed").bind_ws("/in/:id", authenticated=True) is None
            own = f"https://{NAME}:{proxy.https}"
            async with await proxy.socket(f"/{PUSHER}/in/7", Origin=own, **spoofed, **cookie) as socket:
                event = json.loads(await socket.recv())
                assert event["forwarded_for"] == "127.0.0.9", event
            with pytest.raises(InvalidStatus) as refused:
                await proxy.socket(f"/{PUSHER}/in/7", Origin="https://elsewhere.example", **cookie)
            assert refused.value.response.status_code == 403


async def test_nginx_takes_no_orders_from_responses(tmp_path: Path) -> None:
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /private\r\nContent-Length: 4\r\n\r\nmine")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with proxied("nginx", f"http://127.0.0.1:{port}", tmp_path) as proxy, proxy.client() as http:
            assert (await http.get("/page")).text == "mine"
    assert [head.split()[1] for head in asked] == [b"/page"]
