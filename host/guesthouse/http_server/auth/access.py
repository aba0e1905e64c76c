"""Access control of the WebSocket handshake and of logins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from guesthouse.core.address import ProcessId
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.messages import Pairs
from guesthouse.core.ports import ProcessPort, RouterPort
from guesthouse.http_server import close_codes
from guesthouse.http_server.auth.local_access import HeaderValues, LocalAccess
from guesthouse.http_server.auth.tokens import Claims, Tokens
from guesthouse.http_server.behind import Behind
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.routing.bindings import RESUMABLE, Bindings, WsBinding
from guesthouse.http_server.routing.hosts import Hosts, Site
from guesthouse.http_server.routing.origin import (
    client_scheme,
    counted_as,
    forwarded_for,
    is_own_origin,
    normal_origin,
    origin_of,
)
from guesthouse.http_server.routing.paths import BadPath, query_params, split_process_path
from guesthouse.http_server.routing.subdomains import processes_on, subdomain_of

SHARED_REALM: Final = "@shared"
"""Subdomain claim of the cookie by which a browser lets packages share the node's origin. Not a package's label."""


class NoSuchPackage(GuesthouseError):
    """The host is that of a package without processes. The request is answered with `refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Peer(Struct, frozen=True):
    """The remote end of a socket."""

    address: str
    port: int
    scheme: str
    """`http` or `https`, by the socket itself."""
    behind: Behind | None = None
    """Set if a subprocess holds the socket."""


class RegisterForm(Struct, frozen=True):
    """The client will name its process in its first message."""

    forwarded_for: str | None
    label: str = ""
    """Label of the package on whose origin it was opened; the process must be of that package."""
    resumable: bool = False
    """Whether the client asks for a session (`guesthouse.v1`)."""


class BoundForm(Struct, frozen=True):
    """The client opens a bound path."""

    process: ProcessPort
    bound_path: str
    path: str
    url_params: Pairs
    query_params: Pairs
    forwarded_for: str | None
    subprotocol: str | None = None
    """The one that the process likes best of those that the client offers (RFC 6455, section 4.2.2)."""
    extension: bool = False
    claims: Claims | None = None
    """Of the login, if the binding requires one."""
    resumable: bool = False
    """Whether the client asks for a session (`guesthouse.v1`) and the path allows one."""


class AccessControl(Struct, frozen=True):
    """Decides who may open WebSockets and who is logged in."""

    router: RouterPort
    tokens: Tokens
    bindings: Bindings
    hosts: Hosts
    allowed_origins: frozenset[str]
    trusted_proxies: frozenset[str]
    local: LocalAccess
    starting: bool = False
    """The node is starting: a process or path that is not found may be there soon."""

    @property
    def not_found(self) -> Refusal:
        """How a request for a path of a process of this node is refused to which nothing is bound."""
        return close_codes.STARTING if self.starting else close_codes.NOT_FOUND

    def no_process(self, process: ProcessId) -> Refusal:
        """How a request to a process is refused that was not found."""
        return close_codes.NODE_AWAY if self.router.is_away(process) else self.nothing_bound(process)

    def nothing_bound(self, process: ProcessId) -> Refusal:
        """How a request for a path of a process of any node is refused to which nothing is bound."""
        refusal = self.not_found
        if refusal is close_codes.NOT_FOUND and self.router.is_expected(process):
            return close_codes.UNLISTED
        return refusal

    def decide(
        self, target: str, headers: HeaderValues, peer: Peer, now: float
    ) -> RegisterForm | BoundForm | Refusal:
        """Decide about an upgrade request.

        Args:
            target: such as `/chat:chat:guesthouse.os/room?name=ann`.
            headers: of the request.
            peer: the client.
            now: Unix seconds.
        """
        if not headers.get_all("Host"):
            return close_codes.BAD_REQUEST
        site = self.site(headers)
        if site is None:
            return close_codes.MISDIRECTED
        path, _, query = target.partition("?")
        behind = forwarded_for(peer.address, headers.get_all("X-Forwarded-For"), self.trusted_proxies)
        offers = _offered(headers.get_all("Sec-WebSocket-Protocol"))
        if path == "/":
            refusal = self._no_register(site)
            if refusal is not None:
                return refusal
            return RegisterForm(behind, site.label, RESUMABLE in offers)
        try:
            requested = split_process_path(path)
        except BadPath:
            return close_codes.NOT_FOUND
        process = self.router.find(requested.process, counted_as(behind or peer.address))
        if process is None or process.gone:
            return self.no_process(requested.process)
        match = self.bindings.find_ws(process.id, requested.segments)
        if match is None:
            return self.nothing_bound(process.id)
        binding = match.binding
        claims = self._admit(process.id, binding, headers, peer, now)
        if isinstance(claims, Refusal):
            return claims
        return BoundForm(
            process,
            binding.pattern.text,
            requested.path,
            match.params,
            query_params(query),
            behind,
            next((name for name in binding.subprotocols if name in offers), None),
            binding.extension,
            claims,
            RESUMABLE in offers and not binding.extension,
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
        """Whether a page on another package's origin sent this: it must not open paths that need no login either."""
        for origin in headers.get_all("Origin"):
            site = self.hosts.site([origin.partition("://")[2]])
            if site is not None and site.label not in ("", subdomain_of(process)):
                return normal_origin(origin) not in self.allowed_origins
        return False

    def site(self, headers: HeaderValues) -> Site | None:
        """What the request's host stands for; None if it is not one of the node's."""
        site = self.hosts.site(headers.get_all("Host"))
        if site is not None and site.may_share and self.tokens.marks(headers.get_all("Cookie"), SHARED_REALM):
            return replace(site, apart=None)
        return site

    def subdomain(self, headers: HeaderValues) -> tuple[ProcessId, ...]:
        """Processes of the package whose host the request is for; empty on other hosts.

        Raises:
            NoSuchPackage: the host is that of a package without processes.
        """
        site = self.site(headers)
        if site is None or not site.label:
            return ()
        processes = processes_on(self.router, site.label)
        if not processes:
            raise NoSuchPackage(self._no_package)
        return processes

    @property
    def _no_package(self) -> Refusal:
        """How a request on the host of a package is refused that has no processes."""
        return close_codes.STARTING if self.starting else close_codes.WRONG_SUBDOMAIN

    def _no_register(self, site: Site) -> Refusal | None:
        """How the register form is refused; None on the node's host and on packages' own origins, which have it."""
        if not site.label:
            return None
        if site.apart is None:
            return close_codes.WRONG_SUBDOMAIN
        return None if processes_on(self.router, site.label) else self._no_package

    def wrong_host(self, process: ProcessId, headers: HeaderValues, *, secure: bool) -> Refusal | None:
        """The refusal if a process's binding is not served on this host, or None.

        A package's host serves only that package. Secure bindings are served there only; others as well, where
        packages have their own origins.
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
        """The login of a request to a process, or a refusal.

        Args:
            process: the requested process.
            headers: of the request.
            peer: the client.
            now: Unix seconds.
            secure: the login must be one on the process's subdomain.
            safe: the request changes nothing, and only pages of this origin can read the response.
        """
        if not (safe or self.from_own_page(headers, peer, strict=secure)):
            return close_codes.WRONG_ORIGIN
        if not self._is_from_own_site(headers, peer, strict=secure):
            return close_codes.WRONG_ORIGIN
        subdomain = str(process) if secure else self.realm(headers)
        claims = self.tokens.verify_cookies(headers.get_all("Cookie"), now, subdomain)
        if claims is None:
            return close_codes.NOT_AUTHORISED
        return claims if self.opens(claims, process) else close_codes.WRONG_TOKEN

    def opens(self, claims: Claims, process: ProcessId) -> bool:
        """Whether a login grants access to a process; to one of another node also if it is for the process of that id,
        and that leads to other nodes.
        """
        if claims.opens(process):
            return True
        if process.plain is process or not claims.opens(process.plain):
            return False
        found = self.router.find(process.plain)
        return found is not None and found.id is not found.id.plain

    def client(self, headers: HeaderValues, peer: Peer) -> str:
        """What the client of a request counts as, where clients are told apart by their addresses."""
        behind = forwarded_for(peer.address, headers.get_all("X-Forwarded-For"), self.trusted_proxies)
        return counted_as(behind or peer.address)

    def realm(self, headers: HeaderValues) -> str | None:
        """Realm of logins on this host: the label of the package whose origin it is, or None for the node."""
        site = self.site(headers)
        return site.label if site is not None and site.label else None

    def _is_from_own_site(self, headers: HeaderValues, peer: Peer, *, strict: bool) -> bool:
        """Whether no page of another origin fetches or embeds this. Following a link is allowed.

        Packages' origins are same-site with the node's, so `SameSite` cookies do not protect against them.
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
        """`http` or `https`, as seen by the client; a trusted proxy may terminate TLS."""
        claimed = headers.get_all("X-Forwarded-Proto")
        return client_scheme(peer.scheme, peer.address, claimed, self.trusted_proxies)

    def origin(self, headers: HeaderValues, peer: Peer, host: str) -> str:
        """Origin of one of the node's hosts, with the scheme that the client uses."""
        return origin_of(self.scheme(headers, peer), host)

    def from_own_page(self, headers: HeaderValues, peer: Peer, *, strict: bool = False) -> bool:
        """Whether no page of another origin sent this. `strict` excludes the origins allowed by the settings."""
        return is_own_origin(
            headers.get_all("Origin"),
            scheme=self.scheme(headers, peer),
            hosts=headers.get_all("Host"),
            allowed=frozenset() if strict else self.allowed_origins,
        )


def _offered(offers: Sequence[str]) -> frozenset[str]:
    """The subprotocols that a client offers (RFC 6455, section 4.2.2)."""
    return frozenset(token.strip() for offer in offers for token in offer.split(","))
