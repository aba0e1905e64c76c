"""Checks what is given to log in: the password, or a token."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, TypeAlias

from guesthouse.http_server.auth import credentials
from guesthouse.http_server.auth.login_throttle import LoginThrottle
from guesthouse.http_server.auth.tokens import AuthError, Claims
from guesthouse.http_server.context import Context
from guesthouse.http_server.http.login.login_attempt import LoginAttempt

WRONG_PASSWORD: Final = "Wrong password."  # noqa: S105 - a message
NO_PASSWORD: Final = "This node has no password. Use a login link or a token."  # noqa: S105 - a message
PAGE_TOKEN: Final = "This token was issued for a page. Log in with another."  # noqa: S105 - a message
NOTHING_GIVEN: Final = "Enter the password or a token."

_MAX_WAITING: Final = 8

Realm: TypeAlias = tuple[str | None, ...]
"""What a login is for: processes of a package, or the node itself (None)."""


class CredentialCheck:
    """Checks one password at a time, and throttles addresses that fail.

    Args:
        context: the server's state.
        home: the node's folder, with its password.
    """

    def __init__(self, context: Context, home: Path) -> None:
        self._context = context
        self._home = home
        self._throttle = LoginThrottle()
        self._hashing = asyncio.Semaphore(1)
        self._waiting = 0

    def wait(self, address: str) -> float:
        """Seconds until an address may try again."""
        return self._throttle.wait(address, self._context.monotonic())

    @property
    def is_busy(self) -> bool:
        """Whether too many passwords wait to be checked."""
        return self._waiting >= _MAX_WAITING

    async def problem_with(self, attempt: LoginAttempt, realm: Realm, address: str) -> str:
        """Check credentials; returns an error message, or an empty string.

        A password counts as failed until it is verified, so that concurrent attempts are throttled, too. Only the
        password resets the throttle: otherwise the holder of any token could keep guessing.
        """
        if attempt.token:
            _, problem = self.verified(attempt.token, realm)
            if problem:
                self._throttle.failed(address, self._context.monotonic())
            return problem
        self._throttle.failed(address, self._context.monotonic())
        if not attempt.password_hash:
            return NOTHING_GIVEN
        if not credentials.has_password(self._home):
            return NO_PASSWORD
        if not await self._is_password(attempt.password_hash):
            return WRONG_PASSWORD
        self._throttle.succeeded(address)
        return ""

    async def _is_password(self, password_hash: str) -> bool:
        key = self._context.tokens.login_key()
        self._waiting += 1
        try:
            async with self._hashing:
                right = await asyncio.to_thread(credentials.check_password, self._home, password_hash)
        finally:
            self._waiting -= 1
        return right and key == self._context.tokens.login_key()  # not changed meanwhile

    def verified(self, token: str, realm: Realm) -> tuple[Claims | None, str]:
        """The claims of a token that is valid in the realm, or an error message."""
        problem = ""
        for subdomain in realm:
            try:
                claims = self._context.tokens.verify(token, self._context.now(), subdomain)
            except AuthError as error:
                problem = f"This token is not valid: {error}."
            else:
                return (None, PAGE_TOKEN) if claims.page else (claims, "")
        return None, problem
