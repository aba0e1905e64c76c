"""The token of a channel: given, or asked for when one is needed."""

from __future__ import annotations

import base64
import binascii
import inspect
import json
import math
import time
from typing import Any, Final

from ._options import Token
from .errors import TokenRefused, TokenUnavailable

RENEWED_BEFORE: Final = 60.0
"""So many seconds before a token expires another is asked for, or a tenth of its time before, if that is less."""
MOST_REFUSALS: Final = 3
"""So many fresh tokens are tried in a row."""


class Tokens:
    """What knows the token that is good now.

    Args:
        source: a token, a function that gives one, or nothing.
    """

    def __init__(self, source: Token | None) -> None:
        self._source = source
        self._present: str | None = None
        self._got = 0.0
        self._offered: str | None = None
        self._refusals = 0

    async def get(self) -> str | None:
        """The token. A function is asked when there is none, or none that is valid. (Not before: the session is of this
        one's family, and another may be of another.)
        """
        if self._present is None or self._expiration() <= time.time():
            self._use(await self.another())
        return self._present

    async def another(self) -> str | None:
        """Ask for another token, if that can be.

        Raises:
            TokenUnavailable: the function failed.
            TypeError: the function gave none.
        """
        source = self._source
        if not callable(source):
            return source
        try:
            given = source()
            token = await given if inspect.isawaitable(given) else given
        except Exception as error:  # of whatever it asks for the token
            raise TokenUnavailable(f"the function that gives the token failed: {error!r}") from error
        if not isinstance(token, str):
            raise TypeError(f"the token is {type(token).__name__}, not str")
        return token

    def offer(self, token: str) -> None:
        """The node is asked to move the session to a token. Until it has answered nobody knows which is good."""
        self._offered = token

    def settle(self, *, accepted: bool) -> None:
        """The node has answered."""
        if accepted and self._offered is not None:
            self._use(self._offered)
        self._offered = None

    def try_offered(self) -> bool:
        """The session was not found with the present token: whether there is one that may be its by now."""
        if self._offered is None:
            return False
        self.settle(accepted=True)
        return True

    def accepted(self) -> None:
        """The node took the token."""
        self._refusals = 0

    def refused(self) -> bool:
        """The node did not take it. Returns whether to try another."""
        self._present = None
        self._refusals += 1
        return callable(self._source) and self._refusals <= MOST_REFUSALS

    def renewed_in(self) -> float:
        """Seconds until another is to be asked for; infinite if nobody knows, or nobody can be asked."""
        expiration = self._expiration()
        margin = min(RENEWED_BEFORE, max(0.0, expiration - self._got) / 10)
        return expiration - margin - time.time()

    def _expiration(self) -> float:
        """When another is needed."""
        expiration = claims_of(self._present or "").get("expiration")
        if not callable(self._source) or not isinstance(expiration, int | float):
            return math.inf
        return float(expiration)

    def _use(self, token: str | None) -> None:
        self._present = token
        self._got = time.time()


def claims_of(token: str) -> dict[str, Any]:
    """What a token says of itself, which only its node can check; nothing if it cannot be read."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def cookie_of(token: str) -> str:
    """The cookie by which a bound path takes a token.

    Raises:
        TokenRefused: it is no token of a node.
    """
    claims = claims_of(token)
    node, subdomain = claims.get("username"), claims.get("subdomain")
    if not isinstance(node, str):
        raise TokenRefused("that is not a token of a node")
    return f"kinode-auth_{node}{f'@{subdomain}' if subdomain else ''}={token}"
