"""What becomes of a request to open a WebSocket: a channel, the register form, or a refusal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from guesthouse.core.address import ProcessId
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.messages import Pairs
from guesthouse.core.ports import ProcessPort, RouterPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.local_access import HeaderValues, LocalAccess
from guesthouse.http_server.auth.tokens import Claims, Tokens
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.routing.bindings import Bindings, WsBinding
from guesthouse.http_server.routing.hosts import Hosts, Site
from guesthouse.http_server.routing.origin import (
    client_scheme,
    forwarded_for,
    is_own_origin,
    normal_origin,
    origin_of,
)
from guesthouse.http_server.routing.paths import BadPath, query_params, split_process_path
from guesthouse.http_server.routing.subdomains import processes_on, subdomain_of

SHARED_REALM: Final = "@shared"
"""What a token is for that has a browser see packages share the node's origin. No package has such a label."""


class NoSuchPackage(GuesthouseError):
    """A host stands for a package of which no process is there."""


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
    label: str = ""
    """On a package's own origin, its label: the process is to be of that package."""


@dataclass(frozen=True, slots=True)
class BoundForm:
    """The client opens a path that a process bound."""

    process: ProcessPort
    bound_path: str
    path: str
    url_params: Pairs
    query_params: Pairs
    forwarded_for: str | None
    subprotocol: str | None = None
    extension: bool = False
    claims: Claims | None = None
    """Of the login that the binding asked for."""


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Decides who may open a WebSocket."""

    router: RouterPort
    tokens: Tokens
    bindings: Bindings
    hosts: Hosts
    allowed_origins: frozenset[str]
    trusted_proxies: frozenset[str]
    local: LocalAccess

    def decide(
        self, target: str, headers: HeaderValues, peer: Peer, now: float
    ) -> RegisterForm | BoundForm | Refusal:
        """Decide about a request target such as `/chat:chat:guesthouse.os/room?name=ann`."""
        if not headers.get_all("Host"):
            return close_codes.BAD_REQUEST
        site = self.site(headers)
        if site is None:
            return close_codes.MISDIRECTED
        path, _, query = target.partition("?")
        behind = forwarded_for(peer.address, headers.get_all("X-Forwarded-For"), self.trusted_proxies)
        if path == "/":
            return RegisterForm(behind, site.label) if self._registers(site) else close_codes.WRONG_SUBDOMAIN
        try:
            asked = split_process_path(path)
        except BadPath:
            return close_codes.NOT_FOUND
        process = self.router.find(asked.process)
        match = None if process is None else self.bindings.find_ws(process.id, asked.segments)
        if process is None or process.gone or match is None:
            return close_codes.NOT_FOUND
        binding = match.binding
        claims = self._admit(process.id, binding, headers, peer, now)
        if isinstance(claims, Refusal):
            return claims
        return BoundForm(
            process,
            binding.pattern.text,
            asked.path,
            match.params,
            query_params(query),
            behind,
            _spoken(binding.subprotocols, headers.get_all("Sec-WebSocket-Protocol")),
            binding.extension,
            claims,
        )

    def _admit(
        self, process: ProcessId, binding: WsBinding, headers: HeaderValues, peer: Peer, now: float
    ) -> Claims | Refusal | None:
        refusal = self.wrong_host(process, headers, secure=binding.secure)
        if refusal is not None:
            return refusal
        if self._is_from_other_package(process, headers):
            return close_codes.WRONG_ORIGIN
        if binding.extension:
            refusal = self.local.refusal_of_program(peer.address, headers)
            if refusal is not None:
                return refusal
        if not binding.authenticated and not binding.secure:
            return None
        return self.admit(process, headers, peer, now, secure=binding.secure)

    def _is_from_other_package(self, process: ProcessId, headers: HeaderValues) -> bool:
        """Whether a page on another package's own origin asks. It could open what needs no login."""
        for origin in headers.get_all("Origin"):
            site = self.hosts.site([origin.partition("://")[2]])
            if site is not None and site.label not in ("", subdomain_of(process)):
                return normal_origin(origin) not in self.allowed_origins
        return False

    def site(self, headers: HeaderValues) -> Site | None:
        """What the host of a request stands for; None for a host that is none of the node's."""
        site = self.hosts.site(headers.get_all("Host"))
        if site is not None and site.may_share and self.tokens.marks(headers.get_all("Cookie"), SHARED_REALM):
            return replace(site, apart=None)
        return site

    def subdomain(self, headers: HeaderValues) -> tuple[ProcessId, ...]:
        """The processes of the package on whose own host a request is; none elsewhere.

        Raises:
            NoSuchPackage: the host stands for a package that there is not.
        """
        site = self.site(headers)
        if site is None or not site.label:
            return ()
        processes = processes_on(self.router, site.label)
        if not processes:
            raise NoSuchPackage
        return processes

    def _registers(self, site: Site) -> bool:
        """Whether the register form is served on a host: on the node's own, and on packages' own origins."""
        if not site.label:
            return True
        return site.apart is not None and bool(processes_on(self.router, site.label))

    def wrong_host(self, process: ProcessId, headers: HeaderValues, *, secure: bool) -> Refusal | None:
        """Why a process serves nothing of that kind on this host, or None.

        A host that stands for a package serves that package or nothing, in whatever state the package is. What is
        bound as secure is served there alone; the rest too, where packages have origins of their own.
        """
        site = self.site(headers)
        if site is None or not site.label:
            return close_codes.WRONG_SUBDOMAIN if secure else None
        mine = site.label == subdomain_of(process) and self.bindings.has_label(process)
        return None if mine and (secure or site.apart is not None) else close_codes.WRONG_SUBDOMAIN

    def admit(
        self,
        process: ProcessId,
        headers: HeaderValues,
        peer: Peer,
        now: float,
        *,
        secure: bool = False,
        safe: bool = False,
    ) -> Claims | Refusal:
        """The login of a request to a process, or why it has none.

        Args:
            process: that is asked.
            headers: of the request.
            peer: its sender.
            now: Unix seconds.
            secure: the login must be one on the sub-domain of the process.
            safe: the request changes nothing, and its answer stays with pages of this origin.
        """
        if not (safe or self.from_own_page(headers, peer, strict=secure)):
            return close_codes.WRONG_ORIGIN
        if not self._is_from_own_site(headers, peer, strict=secure):
            return close_codes.WRONG_ORIGIN
        subdomain = str(process) if secure else self.realm(headers)
        claims = self.tokens.verify_cookies(headers.get_all("Cookie"), now, subdomain)
        if claims is None:
            return close_codes.NOT_AUTHORISED
        return claims if claims.opens(process) else close_codes.WRONG_TOKEN

    def realm(self, headers: HeaderValues) -> str | None:
        """What a login has to be for on this host: the package that has it as its own origin, or the node."""
        site = self.site(headers)
        return site.label if site is not None and site.label else None

    def _is_from_own_site(self, headers: HeaderValues, peer: Peer, *, strict: bool) -> bool:
        """Whether no page of another origin has a browser fetch or embed this. Following a link is fine.

        Packages' own origins are of one site with the node's: what `SameSite` keeps from strangers it does not keep
        from them.
        """
        if strict and not self.from_own_page(headers, peer, strict=True):
            return False
        sites, modes = headers.get_all("Sec-Fetch-Site"), headers.get_all("Sec-Fetch-Mode")
        if all(site in ("same-origin", "none") for site in sites):
            return True
        if list(modes) == ["navigate"] and list(headers.get_all("Sec-Fetch-Dest")) == ["document"]:
            return True
        return not strict and bool(headers.get_all("Origin")) and self.from_own_page(headers, peer)

    def scheme(self, headers: HeaderValues, peer: Peer) -> str:
        """`http` or `https`: how the client reaches the node, also when a trusted proxy ended TLS."""
        claimed = headers.get_all("X-Forwarded-Proto")
        return client_scheme(peer.scheme, peer.address, claimed, self.trusted_proxies)

    def origin(self, headers: HeaderValues, peer: Peer, host: str) -> str:
        """The origin of a host of this node's, in the scheme by which the client reaches it."""
        return origin_of(self.scheme(headers, peer), host)

    def from_own_page(self, headers: HeaderValues, peer: Peer, *, strict: bool = False) -> bool:
        """Whether no page of another origin made a browser send this. `strict` leaves out the origins that
        the node's settings allow.
        """
        return is_own_origin(
            headers.get_all("Origin"),
            scheme=self.scheme(headers, peer),
            hosts=headers.get_all("Host"),
            allowed=frozenset() if strict else self.allowed_origins,
        )


def _spoken(speaks: tuple[str, ...], offers: Sequence[str]) -> str | None:
    """The subprotocol that a process likes best of those that a client offers (RFC 6455, section 4.2.2)."""
    offered = {token.strip() for offer in offers for token in offer.split(",")}
    return next((name for name in speaks if name in offered), None)
