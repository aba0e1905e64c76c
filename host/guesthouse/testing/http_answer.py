"""One HTTP request to a node, and its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import httptools
from msgspec import Struct

_READ_BYTES: Final = 256 * 1024


class HttpAnswer(Struct, frozen=True):
    """The answer to an HTTP request.

    Attributes:
        status: such as 200.
        headers: by their names in lower case; what came several times is joined by ", ".
        body: its bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


class _Parts:
    """What httptools finds."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


async def request(
    address: tuple[str, int], method: str, target: str, headers: Mapping[str, str], body: bytes
) -> HttpAnswer:
    """Send a request on a connection of its own.

    Raises:
        ConnectionError: the node closed the connection before it had answered.
    """
    reader, writer = await asyncio.open_connection(*address)
    try:
        given = {name.lower() for name in headers}
        lines = [f"{method} {target} HTTP/1.1", "connection: close"]
        if "host" not in given:
            lines.append(f"host: {address[0]}:{address[1]}")
        if body or method not in ("GET", "HEAD"):
            lines.append(f"content-length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        parts = _Parts()
        parser = httptools.HttpResponseParser(parts)
        while not parts.complete and (data := await reader.read(_READ_BYTES)):
            parser.feed_data(data)
            if method == "HEAD" and parts.headers:
                break
        if not parts.headers:
            raise ConnectionError("the node closed the connection and answered nothing")
        return HttpAnswer(parser.get_status_code(), parts.headers, bytes(parts.body))
    finally:
        writer.close()
