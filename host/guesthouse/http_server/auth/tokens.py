"""Auth tokens, their cookies, one-time login links, and login throttling. Pure.

A token is a JWT (HS256) with the claims of Kinode's clients: `username` (the node), `subdomain` and `expiration` (Unix
seconds); and our own: `id`, `lifetime`, `session`, `page`, its scope, `process` and `channels`, and `claims`, for the
process (`custom_claims.py`).

A token and those derived from it, by renewal or for a page, form a *family*: `family` is its id, `ends` the latest
expiration, and `login` identifies the password of the login. A family is revoked as a whole, and its channels are
counted together.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import ModuleType
from typing import Any, Final

from msgspec import Struct

from guesthouse.core.address import ProcessId, read_target
from guesthouse.core.errors import GuesthouseError
from guesthouse.http_server.auth.custom_claims import read_custom_claims, read_signed_claims

SESSION_SECONDS: Final = 24 * 3600
"""Lifetime of a login's cookie; it is renewed after half of that."""

RENEWABLE_SECONDS: Final = 30 * 24 * 3600
"""Lifetime of a family with renewals, unless its first token lasts longer (`http.renewable_seconds`)."""

COOKIE_PREFIXES: Final = ("kinode-auth_", "hyperware-auth_")
"""Prefixes of the node's cookies. Pages for the Kinode OS and for Hyperware each read theirs; both have the same token.
"""

HOST_PREFIX: Final = "__Host-"
"""Added over TLS: no other host of the domain can set such a cookie (RFC 6265bis, section 4.1.3.2)."""

MAX_TOKEN: Final = 4096
_JWT_PARTS: Final = 3
_MAX_COOKIES: Final = 32
_MOST_MARKS: Final = 2


class AuthError(GuesthouseError):
    """A token is not valid on this node."""


class Claims(Struct, frozen=True):
    """The claims of a valid token."""

    username: str
    subdomain: str | None
    """Process on whose subdomain alone it is valid; None for the node itself."""
    expiration: int
    session: bool = False
    """Whether it is a login's cookie, which is renewed while in use."""
    family: str = ""
    """Id of its family."""
    ends: int = 0
    """When the last token of its family expires."""
    login: str | None = None
    """Identifies the password of the login that began its family (`credentials.LoginKey`)."""
    process: str | None = None
    """The only process it grants access to; None for all."""
    channels: int | None = None
    """Maximum number of open channels; None for no limit."""
    lifetime: int = 0
    """Seconds it was issued for."""
    page: bool = False
    """Whether it was issued for pages to read; such a token is not accepted as a login."""
    key: int = 0
    """Number of the signing key that verified it, since the node's start."""
    custom: str | None = None
    """Custom claims, as a JSON object. All tokens of a family have the same."""

    def opens(self, process: ProcessId) -> bool:
        """Whether it grants access to a process."""
        return self.process is None or self.process == str(process)


class Scope(Struct, frozen=True):
    """What a token grants access to."""

    subdomain: str | None = None
    process: str | None = None
    channels: int | None = None
    session: bool = False
    page: bool = False
    claims: str | None = None
    """Custom claims, if the token begins a family."""


_WHOLE_NODE: Final = Scope()


def read_scope(
    process: str | None, channels: int | None, *, secure: bool, claims: str | None = None, node: str = ""
) -> Scope:
    """Parse the scope that a user asks for.

    Args:
        process: its process, which may be of another node: `node@process:package:publisher`.
        channels: how many may be open at a time.
        secure: whether it is for the sub-domain of the process.
        claims: custom claims, as JSON.
        node: this node's name.

    Raises:
        BadProcessId: `process` is not a process id.
        BadAddress: its node is no name of one.
        AuthError: `secure` without a process, or with one of another node.
        BadClaims: `claims` cannot be put into a token.
    """
    named = None if process is None else str(read_target(process, node))
    if secure and named is None:
        raise AuthError("a token for a subdomain needs a process: give --process")
    if secure and "@" in str(named):
        raise AuthError("a token for a subdomain is for a process of this node: leave out the node's name")
    custom = None if claims is None else read_custom_claims(claims.encode(errors="surrogateescape"))
    return Scope(named if secure else None, named, channels, claims=custom)


class Tokens:
    """Issues and verifies the tokens of one node.

    Args:
        node: its name.
        secret: the signing key.
        is_revoked: whether a family was revoked.
        login_key: identifies the current password; logins with another are invalid.
        renewable: lifetime of a family with renewals, in seconds.
    """

    def __init__(
        self,
        node: str,
        secret: bytes,
        is_revoked: Callable[[str], bool] = lambda _: False,
        login_key: Callable[[], str] = lambda: "",
        renewable: float = RENEWABLE_SECONDS,
    ) -> None:
        self.node = self._node = node
        self._secret = secret
        self._is_revoked = is_revoked
        self.login_key = login_key
        """Identifies the current password."""
        self._renewable = renewable
        self._key = 0

    def sign_with(self, secret: bytes) -> None:
        """Replace the signing key. All tokens, and those derived from claims verified before, become invalid."""
        self._secret = secret
        self._key += 1

    def mac(self, purpose: bytes, data: bytes) -> bytes:
        """A MAC of data for a purpose, as long as the node's key is this one. No token has such bytes."""
        return hmac.digest(self._secret, b"\0" + purpose + b"\0" + data, "sha256")

    def is_current(self, claims: Claims) -> bool:
        """Whether these claims were verified with the current key."""
        return claims.key == self._key

    def cookie_names(self, subdomain: str | None = None) -> tuple[str, ...]:
        """Names of the cookies with a token of the node itself or of a process's subdomain."""
        rest = self._node if subdomain is None else f"{self._node}@{subdomain}"
        return tuple(prefix + rest for prefix in COOKIE_PREFIXES)

    def issue(
        self,
        ttl: float,
        now: float,
        scope: Scope = _WHOLE_NODE,
        *,
        made_from: Claims | None = None,
        renewable: bool = True,
    ) -> str:
        """Issue a token.

        Args:
            ttl: lifetime in seconds, limited by the end of the family.
            now: Unix seconds.
            scope: what it grants access to. The caller must not exceed that of `made_from`.
            made_from: the token from which it is derived; None begins a family. If the key was replaced since that
                was verified, the new token is invalid, too.
            renewable: whether a family that it begins lasts longer than itself.
        """
        made = secrets.token_urlsafe(12)
        longest = max(ttl, self._renewable) if renewable else ttl
        ends = int(now + longest) if made_from is None else made_from.ends
        login = self.login_key() if scope.session else None
        custom = scope.claims if made_from is None else made_from.custom
        claims = {
            "username": self._node,
            "subdomain": scope.subdomain,
            "expiration": min(int(now + ttl), ends),
            "lifetime": int(ttl),
            "id": made,
            "family": made if made_from is None else made_from.family,
            "ends": ends,
        }
        extra = {
            "session": scope.session or None,
            "page": scope.page or None,
            "process": scope.process,
            "channels": scope.channels,
            "login": login if made_from is None else made_from.login,
            "claims": None if custom is None else json.loads(custom),
        }
        claims.update({name: value for name, value in extra.items() if value is not None})
        is_void = made_from is not None and not self.is_current(made_from)
        secret = secrets.token_bytes(32) if is_void else self._secret
        token: str = _jwt().encode(claims, secret, algorithm="HS256", json_encoder=_Utf8Encoder)
        return token

    def verify(self, token: str, now: float, subdomain: str | None = None) -> Claims:
        """Verify a token for the node itself or for a process's subdomain.

        Raises:
            AuthError: it is malformed, signed with another key, for another node or subdomain, expired or revoked.
        """
        if len(token) > MAX_TOKEN:
            raise AuthError("the token is too long: log in again")
        claims = self._signed(token)
        if claims is None:
            raise AuthError("the token was not issued by this node: log in again")
        return self._checked(claims, now, subdomain, token)

    def _signed(self, token: str) -> dict[str, Any] | None:
        """Claims with a valid signature, otherwise unchecked; None without one."""
        jwt = _jwt()
        try:
            claims: dict[str, Any] = jwt.decode(token, self._secret, algorithms=["HS256"])
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return None
        return claims

    def _checked(self, claims: dict[str, Any], now: float, subdomain: str | None, token: str) -> Claims:
        expiration, given = claims.get("expiration"), claims.get("subdomain")
        if type(expiration) is not int or claims.get("username") != self._node:
            raise AuthError("the token is for another node: log in here")
        if given != subdomain:
            raise AuthError(
                "the token is for a subdomain: log in at the node itself"
                if subdomain is None
                else "the token is not for this subdomain: log in here"
            )
        if expiration <= now:
            raise AuthError("the token has expired: log in again")
        family, ends = _family_of(claims, token, expiration)
        if self._is_revoked(family):
            raise AuthError("the token was revoked: log in again")
        session, login = claims.get("session") is True, claims.get("login")
        if (session or login is not None) and login != self.login_key():
            raise AuthError("the password was changed since: log in again")
        return Claims(
            self._node,
            subdomain,
            expiration,
            session,
            family,
            ends,
            login,
            claims.get("process"),
            claims.get("channels"),
            claims.get("lifetime", SESSION_SECONDS),
            claims.get("page") is True,
            self._key,
            read_signed_claims(claims["claims"]) if "claims" in claims else None,
        )

    def verify_cookies(
        self, headers: Iterable[str], now: float, subdomain: str | None = None
    ) -> Claims | None:
        """Claims of the first valid login among a request's cookies. Tokens issued for pages are skipped: a page may
        have put them into a login's cookie.
        """
        for token in self.in_cookies(headers, subdomain):
            try:
                claims = self.verify(token, now, subdomain)
            except AuthError:
                continue
            if not claims.page:
                return claims
        return None

    def in_cookies(self, headers: Iterable[str], subdomain: str | None = None) -> Iterator[str]:
        """Tokens among a request's cookies, valid or not."""
        given, names = tuple(headers), self.cookie_names(subdomain)
        for name in (*(HOST_PREFIX + name for name in names), *names):
            yield from cookies(given, name)

    def marks(self, headers: Iterable[str], subdomain: str) -> bool:
        """Whether a cookie has a token, signed by this node, for this subdomain."""
        claims = map(self._signed, islice(self.in_cookies(headers, subdomain), _MOST_MARKS))
        return any(each is not None and each.get("subdomain") == subdomain for each in claims)

    def revocable(self, token: str) -> tuple[str, int] | None:
        """Family and end of a token of this node, whatever its scope; None for anything else."""
        claims = self._signed(token[:MAX_TOKEN])
        if claims is None:
            return None
        expiration = claims.get("expiration")
        return _family_of(claims, token, expiration) if type(expiration) is int else None


class _Utf8Encoder(json.JSONEncoder):
    """Encodes claims without escapes, with which they would take up to three times the room."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "ensure_ascii": False})


def _jwt() -> ModuleType:
    """Import lazily: with `cryptography` it takes a tenth of a node's start."""
    import jwt

    return jwt


def _family_of(claims: dict[str, Any], token: str, expiration: int) -> tuple[str, int]:
    """Family of a token and its end. A token without that claim is its own family, identified by a hash of the signed
    part: the encoding of a signature is not unique.
    """
    family, ends = claims.get("family"), claims.get("ends")
    if isinstance(family, str) and family and type(ends) is int:
        return family, ends
    return hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:32], expiration


def cookies(headers: Iterable[str], name: str) -> Iterator[str]:
    """Values of the cookie `name` in `Cookie` headers (RFC 6265, section 4.2.1)."""
    found = 0
    for header in headers:
        for pair in header.split(";"):
            key, equals, value = pair.strip(" \t").partition("=")
            if key == name and equals and found < _MAX_COOKIES:
                found += 1
                yield value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value


def cookie_pairs(headers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and values of all cookies in `Cookie` headers, as sent."""
    for header in headers:
        for pair in header.split(";"):
            name, _, value = pair.strip(" \t").partition("=")
            yield name, value


def without_own_cookies(header: str) -> str:
    """A `Cookie` header without the node's own cookies."""
    kept = (pair.strip(" \t") for pair in header.split(";"))
    return "; ".join(pair for pair in kept if pair and not is_own_cookie(pair))


def claimed_node(token: str) -> str | None:
    """The node that a token says it is of, unverified; None if it says nothing that can be read."""
    parts = token.split(".")
    if len(token) > MAX_TOKEN or len(parts) != _JWT_PARTS:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    name = claims.get("username") if isinstance(claims, dict) else None
    return name if isinstance(name, str) else None


def is_own_cookie(text: str) -> bool:
    """Whether a cookie, as set or sent, has one of the node's names. A browser sends a cookie without a name, set as
    `=kinode-auth_n=x`, by its value alone.
    """
    return text.lstrip(" \t=").lower().removeprefix(HOST_PREFIX.lower()).startswith(COOKIE_PREFIXES)
