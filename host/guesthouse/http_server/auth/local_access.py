"""Who may ask what only programs on the node's own machine may: `/rpc…`, extensions, what is bound `local_only`. Pure.

Everybody on the machine reaches a loopback address, and so does any web page in a browser there. What tells the node's
user from them is a secret in the home, which only that user can read: `local.secret`, sent in the header
`Guesthouse-Local`. No page can send that header to another origin unasked, and guests are not shown it.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from guesthouse.http_server import close_codes
from guesthouse.http_server.close_codes import Refusal
from guesthouse.http_server.routing.origin import PROXY_HEADERS, is_local

SECRET_HEADER: Final = "guesthouse-local"  # noqa: S105 - a header's name


class HeaderValues(Protocol):
    """Request headers, by name in any case."""

    def get_all(self, key: str) -> Sequence[str]:
        """Values of all headers of that name."""


@dataclass(frozen=True, slots=True)
class LocalAccess:
    """Decides which requests are the node's user's own."""

    secret: str = ""
    """What has to be shown; nobody can show an empty one."""
    required: bool = True
    """Whether being on this machine is not enough (`http.local_access`)."""

    def refusal_of_program(self, address: str, headers: HeaderValues) -> Refusal | None:
        """Why a request is not one of a program of the node's user, or None. No browser is such a program."""
        if not _is_local(address, headers):
            return close_codes.LOCAL_ONLY
        if headers.get_all("Origin") or headers.get_all("Sec-Fetch-Site"):
            return close_codes.WRONG_ORIGIN
        return close_codes.NO_LOCAL_SECRET if self.required and not self._is_shown(headers) else None

    def refusal(self, address: str, headers: HeaderValues) -> Refusal | None:
        """Why a request, of a program or of a page, is not one of the node's user, or None.

        `NO_LOCAL_SECRET` means that it may be, and that a login would show it.
        """
        if not _is_local(address, headers):
            return close_codes.LOCAL_ONLY
        if self._is_shown(headers):
            return None
        foreign = any(site not in ("same-origin", "none") for site in headers.get_all("Sec-Fetch-Site"))
        return close_codes.NO_LOCAL_SECRET if self.required or foreign or headers.get_all("Origin") else None

    def _is_shown(self, headers: HeaderValues) -> bool:
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
