"""Access to what is for local programs only: `/rpc…`, extensions and `local_only` bindings. Pure.

Every user of the machine can connect to a loopback address, and so can any web page in a local browser. The node's
user is recognised by a secret that only they can read, `local.secret`, sent in the header `Guesthouse-Local`. Pages
cannot send that header to another origin without a preflight, and guests do not see it.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.routing.origin import PROXY_HEADERS, is_local

SECRET_HEADER: Final = "guesthouse-local"  # noqa: S105 - a header's name


class HeaderValues(Protocol):
    """Request headers, by case-insensitive name."""

    def get_all(self, key: str) -> Sequence[str]:
        """Values of all headers of that name."""


class LocalAccess(Struct, frozen=True):
    """Decides which requests come from the node's user."""

    secret: str = ""
    """The secret to present; an empty one never matches."""
    required: bool = True
    """Whether a loopback address alone is not enough (`http.local_access`)."""

    def refusal_of_program(self, address: str, headers: HeaderValues) -> Refusal | None:
        """The refusal unless the request comes from a program, not a browser, of the node's user."""
        if not _is_local(address, headers):
            return close_codes.LOCAL_ONLY
        if headers.get_all("Origin") or headers.get_all("Sec-Fetch-Site"):
            return close_codes.WRONG_ORIGIN
        return close_codes.NO_LOCAL_SECRET if self.required and not self._has_secret(headers) else None

    def refusal(self, address: str, headers: HeaderValues) -> Refusal | None:
        """The refusal unless the request comes from a program or page of the node's user.

        `NO_LOCAL_SECRET` means that a login is sufficient instead.
        """
        if not _is_local(address, headers):
            return close_codes.LOCAL_ONLY
        if self._has_secret(headers):
            return None
        foreign = any(site not in ("same-origin", "none") for site in headers.get_all("Sec-Fetch-Site"))
        return close_codes.NO_LOCAL_SECRET if self.required or foreign or headers.get_all("Origin") else None

    def _has_secret(self, headers: HeaderValues) -> bool:
        given = headers.get_all(SECRET_HEADER)
        return (
            len(given) == 1
            and bool(self.secret)
            and hmac.compare_digest(_bytes(given[0]), _bytes(self.secret))
        )


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _is_local(address: str, headers: HeaderValues) -> bool:
    proxied = [name for name in PROXY_HEADERS if headers.get_all(name)]
    return is_local(address, proxied, headers.get_all("Host"))
