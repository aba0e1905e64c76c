"""The opening handshake (RFC 6455, section 4). Pure."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import urlsplit

from .deflate import Violation

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Target:
    """The server to be tested.

    Args:
        host: where it listens.
        port: where it listens.
        path: the resource that echoes.
        max_message: bytes of the largest message that it takes; it must refuse larger ones with 1009.
    """

    host: str
    port: int
    path: str = "/"
    max_message: int = 1024 * 1024

    @classmethod
    def of(cls, url: str, max_message: int = 1024 * 1024) -> Self:
        """From a `ws://` URL.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(url)
        if parts.scheme != "ws" or not parts.hostname:
            raise ValueError(f"{url!r} is not a ws:// URL: give ws://HOST:PORT/PATH")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.hostname, parts.port or 80, path, max_message)


_STANDARD: Final = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)


@dataclass(frozen=True, slots=True)
class Opening:
    """A request to upgrade, which can be changed in every part."""

    headers: tuple[tuple[str, str], ...] = _STANDARD
    method: str = "GET"
    version: str = "HTTP/1.1"
    host: bool = True

    def without(self, name: str) -> Opening:
        """Leave a header out."""
        return replace(self, headers=tuple(header for header in self.headers if header[0] != name))

    def having(self, name: str, value: str) -> Opening:
        """Add a header, even if there is one of that name."""
        return replace(self, headers=(*self.headers, (name, value)))

    def setting(self, name: str, value: str) -> Opening:
        """Put another value in a header's place."""
        return replace(self, headers=tuple((key, value if key == name else old) for key, old in self.headers))

    def request(self, target: Target, offered: str | None) -> bytes:
        """The bytes of the request."""
        lines = [f"{self.method} {target.path} {self.version}"]
        if self.host:
            lines.append(f"Host: {target.host}:{target.port}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if offered is not None:
            lines.append(f"Sec-WebSocket-Extensions: {offered}")
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a server's answer."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()

    def all(self, name: str) -> list[str]:
        """The values of all headers of a name, in lower case."""
        return [value for key, value in self.headers if key == name]

    def extensions(self) -> str | None:
        """What it says of extensions."""
        return ", ".join(self.all("sec-websocket-extensions")) or None


def read_head(head: bytes) -> Answer:
    """An answer's status line and headers.

    Raises:
        Violation: it is not HTTP.
    """
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise Violation(f"the server's answer is not HTTP: {status_line[:60]!r}")
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.strip().lower(), value.strip()))
    return Answer(int(rest[:3]), tuple(headers))


def check_subprotocol(opening: Opening, answer: Answer) -> None:
    """Hold the server's choice of a subprotocol to what was offered (section 4.1).

    Raises:
        Violation: it chose another.
    """
    offered = {
        name.strip()
        for key, value in opening.headers
        if key == "Sec-WebSocket-Protocol"
        for name in value.split(",")
    }
    chosen = answer.all("sec-websocket-protocol")
    if len(chosen) > 1 or not offered.issuperset(chosen):
        raise Violation(f"the server chose the subprotocol {chosen}, which was not offered")


def check_upgrade(answer: Answer) -> None:
    """Hold an answer of 101 to section 4.2.2.

    Raises:
        Violation: it breaks a rule.
    """
    if [value.lower() for value in answer.all("upgrade")] != ["websocket"]:
        raise Violation(f"the server's Upgrade header is {answer.all('upgrade')}")
    tokens = {token.strip().lower() for value in answer.all("connection") for token in value.split(",")}
    if "upgrade" not in tokens:
        raise Violation("the server's Connection header does not say Upgrade")
    digest = hashlib.sha1(f"{KEY}{_GUID}".encode(), usedforsecurity=False).digest()
    if answer.all("sec-websocket-accept") != [base64.b64encode(digest).decode()]:
        raise Violation("the server's Sec-WebSocket-Accept header is wrong")
