"""What becomes of a request to open a WebSocket: a channel, the register form, or a refusal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from guesthouse.http_server import closes
from guesthouse.http_server.auth import Tokens
from guesthouse.http_server.bindings import Bindings
from guesthouse.http_server.closes import Refusal
from guesthouse.http_server.origin import client_scheme, forwarded_for, is_own_origin
from guesthouse.http_server.paths import BadPath, query_params, split_process_path
from guesthouse.message import Pairs
from guesthouse.ports import ProcessPort, RouterPort


class HeaderValues(Protocol):
    """Request headers, by name in any case."""

    def get_all(self, key: str) -> Sequence[str]:
        """Values of all headers of that name."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a socket."""

    address: str
    port: int
    scheme: str
    """`http` or `https`, as the socket is."""


@dataclass(frozen=True, slots=True)
class RegisterForm:
    """The client will name its process in its first message."""

    forwarded_for: str | None


@dataclass(frozen=True, slots=True)
class BoundForm:
    """The client opens a path that a process bound."""

    process: ProcessPort
    bound_path: str
    path: str
    url_params: Pairs
    query_params: Pairs
    forwarded_for: str | None


@dataclass(frozen=True, slots=True)
class Gate:
    """Decides who may open a WebSocket."""

    router: RouterPort
    tokens: Tokens
    bindings: Bindings
    allowed_origins: frozenset[str]
    trusted_proxies: frozenset[str]

    def decide(
        self, target: str, headers: HeaderValues, peer: Peer, now: float
    ) -> RegisterForm | BoundForm | Refusal:
        """Decide about a request target such as `/chat:chat:guesthouse.os/room?name=ann`."""
        path, _, query = target.partition("?")
        behind = forwarded_for(peer.address, headers.get_all("X-Forwarded-For"), self.trusted_proxies)
        if path == "/":
            return RegisterForm(behind)
        try:
            asked = split_process_path(path)
        except BadPath:
            return closes.NOT_FOUND
        process = self.router.find(asked.process)
        match = None if process is None else self.bindings.find_ws(process.id, asked.segments)
        if process is None or process.gone or match is None:
            return closes.NOT_FOUND
        if match.binding.authenticated:
            refusal = self.refuse_stranger(headers, peer, now)
            if refusal is not None:
                return refusal
        text = match.binding.pattern.text
        return BoundForm(process, text, asked.path, match.params, query_params(query), behind)

    def refuse_stranger(self, headers: HeaderValues, peer: Peer, now: float) -> Refusal | None:
        """Why a request may not use the cookie of a login, or None."""
        if not self.from_own_page(headers, peer):
            return closes.WRONG_ORIGIN
        if self.tokens.verify_cookies(headers.get_all("Cookie"), now) is None:
            return closes.NOT_AUTHORISED
        return None

    def from_own_page(self, headers: HeaderValues, peer: Peer) -> bool:
        """Whether no page of another origin made a browser send this."""
        return is_own_origin(
            headers.get_all("Origin"),
            scheme=client_scheme(
                peer.scheme, peer.address, headers.get_all("X-Forwarded-Proto"), self.trusted_proxies
            ),
            hosts=headers.get_all("Host"),
            allowed=self.allowed_origins,
        )
