"""Whether somebody shows a valid key. Wrong ones have to wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from guesthouse.http_api.api_keys import ApiKey, ApiKeys
from guesthouse.http_api.problems import NO_KEY, TOO_MANY_FAILURES, ApiProblem
from guesthouse.http_server.auth.login_throttle import LoginThrottle
from guesthouse.http_server.context import Context
from guesthouse.http_server.routing.origin import counted_as, forwarded_for


class KeyCheck:
    """Finds keys, and counts wrong ones by address.

    Args:
        keys: of the node.
        context: of the listener.
    """

    def __init__(self, keys: ApiKeys, context: Context) -> None:
        self._keys = keys
        self._context = context
        self._throttle = LoginThrottle()

    def address(self, peer: str, forwarded: Sequence[str]) -> str:
        """The address that failures are counted for.

        Args:
            peer: of the socket.
            forwarded: values of all `X-Forwarded-For` headers.
        """
        return counted_as(forwarded_for(peer, forwarded, self._context.access.trusted_proxies) or peer)

    def key(self, text: str, address: str) -> ApiKey:
        """The key that is shown. An address whose keys were refused again and again is told to wait, unless it shows a
        valid one: a service with an old key does not lock out others of its machine.

        Raises:
            ApiProblem: it is not valid.
        """
        key = self._keys.find(text, self._context.now())
        if key is None:
            self.refuse(address, "an API key was refused")
        return key

    def refuse(self, address: str, fault: str) -> NoReturn:
        """Count a failure.

        Raises:
            ApiProblem: always.
        """
        now = self._context.monotonic()
        wait = self._throttle.wait(address, now)
        if wait > 0:
            raise ApiProblem(TOO_MANY_FAILURES, retry_after=int(wait) + 1)
        self._throttle.failed(address, now)
        self._context.log_client_fault(address, fault)
        raise ApiProblem(NO_KEY)
