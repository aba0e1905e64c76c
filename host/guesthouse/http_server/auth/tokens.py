"""Who a client is: tokens, cookies, one-time logins, and how fast they may be tried. Pure.

A token is a JWT (HS256) with the claims that Kinode's clients know: `username` (the node),
`subdomain` and `expiration` (Unix seconds); and our own: `id`, `lifetime`, `session`, `page`, and as its scope
`process` and `channels`.

A token and all that is ever made from it, by renewal or for a page, are one *family*: `family` names it, `ends` is
when the last of it expires, and `login` says by which password it was logged in. A family is revoked as one, and its
channels are counted together.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import Any, Final

from guesthouse.core.address import ProcessId, canonical
from guesthouse.core.errors import GuesthouseError

SESSION_SECONDS: Final = 24 * 3600
"""How long the cookie of a login lasts; it is renewed once half of that is over."""

RENEWABLE_SECONDS: Final = 30 * 24 * 3600
"""How long a family lasts by renewal, unless its first token lasts longer (`http.renewable_seconds`)."""

ONE_TIME_SECONDS: Final = 600
"""How long a one-time login URL can be used."""

FREE_ATTEMPTS: Final = 5
"""Failed logins of one address before it has to wait."""

COOKIE_PREFIXES: Final = ("kinode-auth_", "hyperware-auth_")
"""What the names of the node's own cookies start with. Pages of each era read the name of theirs, so a login sets
one of each, with the same token.
"""

HOST_PREFIX: Final = "__Host-"
"""Over TLS it goes before them: no other host of the same domain can set such a cookie (RFC 6265bis, 4.1.3.2)."""

MAX_TOKEN: Final = 4096
_MAX_COOKIES: Final = 32
_MOST_MARKS: Final = 2
_MAX_ADDRESSES: Final = 4096
_MAX_ONE_TIME: Final = 1024
_LONGEST_WAIT: Final = 900.0


class AuthError(GuesthouseError):
    """A token is not one that this node believes."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says."""

    username: str
    subdomain: str | None
    """The process on whose own sub-domain it is valid, and nowhere else; None for the node itself."""
    expiration: int
    session: bool = False
    """Whether it is the cookie of a login, which is renewed while it is used."""
    family: str = ""
    """What it is revoked and counted by."""
    ends: int = 0
    """When the last token of its family expires."""
    login: str | None = None
    """For a family that began by logging in, the password as it was then (`credentials.LoginKey`)."""
    process: str | None = None
    """The only process that it opens; None for all."""
    channels: int | None = None
    """How many channels may be open with it at once; None for any number."""
    lifetime: int = 0
    """Seconds that it was made for."""
    page: bool = False
    """Whether it was made for a page to read: then it is no login, wherever the page puts it."""
    key: int = 0
    """Which of the node's keys it was verified by, counted from the node's start."""

    def opens(self, process: ProcessId) -> bool:
        """Whether it lets its bearer speak to a process."""
        return self.process is None or self.process == str(process)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is good for."""

    subdomain: str | None = None
    process: str | None = None
    channels: int | None = None
    session: bool = False
    page: bool = False


_WHOLE_NODE: Final = Scope()


def read_scope(process: str | None, channels: int | None, *, secure: bool) -> Scope:
    """The scope that a person asks for.

    Raises:
        BadProcessId: the process is none.
        AuthError: a token for a sub-domain needs a process.
    """
    named = None if process is None else str(canonical(ProcessId.parse(process)))
    if secure and named is None:
        raise AuthError("a token for a sub-domain is for one process: give --process")
    return Scope(named if secure else None, named, channels)


class Tokens:
    """Makes and checks the tokens of one node.

    Args:
        node: its name.
        secret: the key that signs.
        is_revoked: whether a family was taken back.
        login_key: names the password that the node has now; logins by another are over.
        renewable: seconds that a family lasts by renewal.
    """

    def __init__(
        self,
        node: str,
        secret: bytes,
        is_revoked: Callable[[str], bool] = lambda _: False,
        login_key: Callable[[], str] = lambda: "",
        renewable: float = RENEWABLE_SECONDS,
    ) -> None:
        self._node = node
        self._secret = secret
        self._is_revoked = is_revoked
        self.login_key = login_key
        """Names the password that the node has now."""
        self._renewable = renewable
        self._key = 0

    def sign_with(self, secret: bytes) -> None:
        """Use another key from now on; no token that there is is valid any more, nor what is made from its claims."""
        self._secret = secret
        self._key += 1

    def is_current(self, claims: Claims) -> bool:
        """Whether the key that these claims were verified by is still the node's."""
        return claims.key == self._key

    def cookie_names(self, subdomain: str | None = None) -> tuple[str, ...]:
        """The cookies that carry a token of the node itself, or of a process's own sub-domain."""
        rest = self._node if subdomain is None else f"{self._node}@{subdomain}"
        return tuple(prefix + rest for prefix in COOKIE_PREFIXES)

    def issue(
        self, ttl: float, now: float, scope: Scope = _WHOLE_NODE, *, made_from: Claims | None = None
    ) -> str:
        """A token that is valid for `ttl` seconds.

        Args:
            ttl: seconds; it is cut to the end of the family.
            now: Unix seconds.
            scope: what it is good for. Whoever makes it from another token gives it no more than that has.
            made_from: the token whose family it belongs to; None begins a family. If the key was replaced since it was
                verified, what is made from it is as void as the token itself.
        """
        made = secrets.token_urlsafe(12)
        ends = int(now + max(ttl, self._renewable)) if made_from is None else made_from.ends
        login = self.login_key() if scope.session else None
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
        }
        claims.update({name: value for name, value in extra.items() if value is not None})
        is_void = made_from is not None and not self.is_current(made_from)
        secret = secrets.token_bytes(32) if is_void else self._secret
        token: str = _jwt().encode(claims, secret, algorithm="HS256")
        return token

    def verify(self, token: str, now: float, subdomain: str | None = None) -> Claims:
        """Check a token that is to be valid on the node itself, or on the sub-domain of a process.

        Raises:
            AuthError: it is no token, is signed by another, is for another node or sub-domain, has expired
                or was revoked.
        """
        if len(token) > MAX_TOKEN:
            raise AuthError("the token is too long: log in again")
        claims = self._signed(token)
        if claims is None:
            raise AuthError("the token was not issued by this node: log in again")
        return self._checked(claims, now, subdomain, token)

    def _signed(self, token: str) -> dict[str, Any] | None:
        """The claims that this node signed, whatever they say; None when it did not."""
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
        )

    def verify_cookies(
        self, headers: Iterable[str], now: float, subdomain: str | None = None
    ) -> Claims | None:
        """The claims of the first valid token among the cookies of a request that is a login. A page can read some
        that are none, and put them into cookies.
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
        """The tokens among the cookies of a request, valid or not."""
        given, names = tuple(headers), self.cookie_names(subdomain)
        for name in (*(HOST_PREFIX + name for name in names), *names):
            yield from cookies(given, name)

    def marks(self, headers: Iterable[str], subdomain: str) -> bool:
        """Whether a cookie says something that only the node says: that it is for this sub-domain."""
        claims = map(self._signed, islice(self.in_cookies(headers, subdomain), _MOST_MARKS))
        return any(each is not None and each.get("subdomain") == subdomain for each in claims)

    def revocable(self, token: str) -> tuple[str, int] | None:
        """The family of any token of this node, however it is scoped, and when that ends; None for other text."""
        claims = self._signed(token[:MAX_TOKEN])
        if claims is None:
            return None
        expiration = claims.get("expiration")
        return _family_of(claims, token, expiration) if type(expiration) is int else None


def _jwt() -> ModuleType:
    """The library, loaded by the first token: with all of `cryptography` it is a tenth of a node's start."""
    import jwt

    return jwt


def _family_of(claims: dict[str, Any], token: str, expiration: int) -> tuple[str, int]:
    """The family of a token and its end. One from before there were families is its own, and named by what is signed:
    the text of a signature can be varied, and stay valid.
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
    """Names and values of all cookies in `Cookie` headers, as they are sent."""
    for header in headers:
        for pair in header.split(";"):
            name, _, value = pair.strip(" \t").partition("=")
            yield name, value


def without_own_cookies(header: str) -> str:
    """A `Cookie` header without the node's own cookies."""
    kept = (pair.strip(" \t") for pair in header.split(";"))
    return "; ".join(pair for pair in kept if pair and not is_own_cookie(pair))


def is_own_cookie(text: str) -> bool:
    """Whether a cookie, as it is set or sent, has a name of the node's. A browser sends one that was set without a
    name, such as `=kinode-auth_n=x`, as if its value were the whole.
    """
    return text.lstrip(" \t=").lower().removeprefix(HOST_PREFIX.lower()).startswith(COOKIE_PREFIXES)


class OneTimeTokens:
    """Login tokens that work once, for a while. Only their hashes are kept."""

    def __init__(self) -> None:
        self._expiry: dict[bytes, float] = {}

    def issue(self, now: float) -> str:
        """A new token; the oldest unused one goes when there are too many."""
        token = secrets.token_urlsafe(32)
        while len(self._expiry) >= _MAX_ONE_TIME:
            del self._expiry[next(iter(self._expiry))]
        self._expiry[_hash(token)] = now + ONE_TIME_SECONDS
        return token

    def is_valid(self, token: str, now: float) -> bool:
        """Whether `use` would succeed."""
        return self._expiry.get(_hash(token), 0.0) > now

    def forget(self) -> None:
        """None of them can be used any more."""
        self._expiry.clear()

    def use(self, token: str, now: float) -> bool:
        """Use a token up; False when it is unknown, used or too old."""
        return self._expiry.pop(_hash(token), 0.0) > now


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


@dataclass(slots=True)
class _Failures:
    count: int
    until: float


class Throttle:
    """Slows those who guess: after `FREE_ATTEMPTS` failures an address waits 2 s, then twice as long
    each time, up to 15 min. A success clears the account.
    """

    def __init__(self) -> None:
        self._failures: dict[str, _Failures] = {}

    def wait(self, address: str, now: float) -> float:
        """Seconds that the address has to wait; 0 when it may try."""
        failures = self._failures.get(address)
        return 0.0 if failures is None else max(0.0, failures.until - now)

    def failed(self, address: str, now: float) -> None:
        """Record a failed attempt."""
        failures = self._failures.pop(address, None) or _Failures(0, now)
        if now - failures.until > _LONGEST_WAIT:
            failures.count = 0
        failures.count += 1
        over = failures.count - FREE_ATTEMPTS
        failures.until = now if over < 0 else now + min(_LONGEST_WAIT, 2.0 ** min(over + 1, 30))
        self._failures[address] = failures
        while len(self._failures) > _MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failures.pop(address, None)
