"""Tokens as the node issues and revokes them, and what a revocation ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from guesthouse.core.config import Settings
from guesthouse.core.ports import LogPort, RouterPort
from guesthouse.core.printable import number_of
from guesthouse.http_server.api.port import HttpServerActions
from guesthouse.http_server.auth import credentials
from guesthouse.http_server.auth.credentials import CredentialsError
from guesthouse.http_server.auth.local_access import LocalAccess
from guesthouse.http_server.auth.pending_writes import PendingWrites
from guesthouse.http_server.auth.revocations import REVOKED_FILE, RevocationList
from guesthouse.http_server.auth.tokens import Scope, Tokens
from guesthouse.http_server.channel.channel import Channel
from guesthouse.http_server.close_codes import TOKEN_REVOKED
from guesthouse.http_server.context import new_context
from guesthouse.http_server.http.login.login import Login
from guesthouse.http_server.state.pending_responses import BodyBudget, PendingResponses

_BODIES_AT_ONCE: Final = 16


class TokenActions(HttpServerActions):
    """The part of an HTTP server that knows its secrets.

    Args:
        router: finds the node's processes.
        log: the node's log.
        settings: `http` and `connections` are used.
        home: the node's folder, with its secrets and password.

    Raises:
        CredentialsError: a secret cannot be read.
    """

    def __init__(self, router: RouterPort, log: LogPort, settings: Settings, home: Path) -> None:
        self._home = home
        revoked = self._revoked = RevocationList(home, time.time())
        revoked.reserve()
        self.pending_writes = PendingWrites(log)
        """What was revoked and is not on the disk."""
        if revoked.damaged:
            lines = number_of(revoked.damaged, "line is", "lines are")
            text = f"{home / REVOKED_FILE}: {lines} damaged, by a full disk or a power cut: if somebody may still use "
            log.write("node", "warning", f"{text}a token that was revoked, run `guesthouse revoke --all`")
        self._login_key = credentials.LoginKey(home)
        tokens = Tokens(
            router.node,
            credentials.load_secret(home),
            revoked.__contains__,
            self._login_key,
            settings.http.renewable_seconds,
        )
        required = settings.http.local_access == "secret"
        local = LocalAccess(credentials.load_local_secret(home), required)
        context = new_context(router, log, settings, tokens, local)
        super().__init__(context, PendingResponses(context.router.forget))
        self._bodies = BodyBudget(_BODIES_AT_ONCE * settings.connections.http_body_bytes)
        self._login = Login(context, home, self._bodies, self.revoke_family)

    def issue_token(self, ttl: float, scope: Scope | None = None, *, renewable: bool = True) -> str:
        """Issue an auth token that is valid for `ttl` seconds, and unless it is `renewable`, no longer."""
        return self._context.tokens.issue(ttl, self._context.now(), scope or Scope(), renewable=renewable)

    def family_of(self, token: str) -> tuple[str, int]:
        """Family of a token of this node, and when that ends."""
        known = self._context.tokens.revocable(token)
        if known is None:
            raise ValueError("no token of this node")
        return known

    def mac(self, purpose: bytes, data: bytes) -> bytes:
        """A MAC by the key that signs tokens, until that is replaced."""
        return self._context.tokens.mac(purpose, data)

    async def revoke_family(self, family: str, ends: int) -> None:
        """Revoke a family of tokens without holding up the node, as `revoke` does."""
        now = self._context.now()
        with self._revoking(family):
            if ends > now and not self._revoked.is_stored(family):
                await asyncio.to_thread(self._revoked.add, family, ends, now)

    def revoke(self, token: str) -> bool:
        """Revoke a token's family and close its channels with 1008. Durable on return.

        Returns:
            False when it is not a token of this node.

        Raises:
            CredentialsError: the revocation cannot be saved; it holds until the node exits, which tries again.
        """
        known = self._context.tokens.revocable(token)
        if known is None:
            return False
        with self._revoking(known[0]):
            self._revoked.add(*known, self._context.now())
        return True

    @contextmanager
    def _revoking(self, family: str) -> Iterator[None]:
        try:
            yield
        except CredentialsError as error:
            held = CredentialsError(f"{error}; the revocation holds until the node ends, which tries again")
            self.pending_writes.add(REVOKED_FILE, lambda: self._revoked.write(self._context.now()), held)
            raise held from None
        finally:
            self.family_revoked(family)

    def revoke_all(self) -> None:
        """Revoke all tokens, one-time links, tickets and tokens being issued for current requests. Durable on return.

        Raises:
            CredentialsError: the new signing key cannot be saved; nothing is revoked.
        """
        self._context.tokens.sign_with(credentials.replace_secret(self._home))
        self._login.forget_unused()
        self._end_channels(lambda connection: bool(connection.token_family))

    def password_changed(self) -> None:
        """End logins made with the old password: links, tickets and channels. Their cookies are already invalid."""
        self._login.forget_unused()
        key = self._login_key()
        self._end_channels(lambda connection: connection.token_login not in (None, key))

    def family_revoked(self, family: str) -> None:
        """Close the channels opened with tokens of a family."""
        self._end_channels(lambda connection: connection.token_family == family)

    def _end_channels(self, is_revoked: Callable[[Channel], bool]) -> None:
        for connection in tuple(self._context.connections):
            if is_revoked(connection):
                connection.end(TOKEN_REVOKED)
        for channel in self._context.sessions:
            if is_revoked(channel):
                channel.revoke(TOKEN_REVOKED)
        for relayed in tuple(self._context.relayed):
            if is_revoked(relayed):
                relayed.end(TOKEN_REVOKED)
