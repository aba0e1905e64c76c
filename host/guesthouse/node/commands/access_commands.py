"""Commands about who gets in: tokens, the password, keys of the HTTP API, the dashboard."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from guesthouse.control.control_server import BadCommand, Command
from guesthouse.http_api.api_keys import KeysUnreadable, key_row
from guesthouse.node.commands.commanded_node import CommandedNode
from guesthouse.node.commands.request_fields import LONGEST_TOKEN_SECONDS, text_of


class AccessCommands:
    """The commands about tokens, the password and keys. Each takes a request and yields JSON values."""

    def __init__(self, node: CommandedNode) -> None:
        self._node = node

    def all(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {
            "token": self.token,
            "revoke": self.revoke,
            "password-changed": self.password_changed,
            "api-keys": self.api_keys,
            "api-key-create": self.create_api_key,
            "api-key-revoke": self.revoke_api_key,
            "dashboard-link": self.dashboard_link,
        }

    async def token(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """An auth token of this node, valid for `ttl` seconds."""
        ttl = request.get("ttl")
        if type(ttl) is not int or not 0 < ttl <= LONGEST_TOKEN_SECONDS:
            raise BadCommand(f"a token's ttl is from 1 to {LONGEST_TOKEN_SECONDS} seconds")
        yield self._node.http.issue_token(ttl)

    async def revoke(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Revoke a token and its family, or `all` tokens; yields whether the token was one of this node."""
        token = request.get("token")
        if request.get("all") is True:
            self._node.http.revoke_all()
            self._node.log.write("node", "info", "all tokens were revoked")
            yield True
            return
        if not isinstance(token, str):
            raise BadCommand("revoke takes a `token`")
        yield self._node.http.revoke(token)

    async def password_changed(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The password was set: end logins with the old one."""
        self._node.http.password_changed()
        yield True

    async def api_keys(self, _: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Each key of the HTTP API, without the key itself."""
        for key in self._node.api_keys.listed():
            yield key_row(key)

    async def create_api_key(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Make a key of the HTTP API: yields it, and what is stored of it."""
        seconds, process = request.get("seconds"), request.get("process")
        if (
            type(seconds) is bool
            or not isinstance(seconds, int | None)
            or not isinstance(process, str | None)
        ):
            raise BadCommand("a key has `seconds` and a `process`, or null")
        if seconds is not None and not 0 < seconds <= LONGEST_TOKEN_SECONDS:
            raise BadCommand(f"a key is valid for 1 to {LONGEST_TOKEN_SECONDS} seconds")
        name, role = text_of(request, "name"), text_of(request, "role")
        text, key = self._node.api_keys.create(name, role, time.time(), seconds=seconds, process=process)
        self._node.log.write(
            "api", "info", f"the operator made the key {name} ({key.id}) with the role {role}"
        )
        yield {"key": text, **key_row(key)}

    async def revoke_api_key(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Revoke a key of the HTTP API."""
        try:
            key = self._node.api_keys.revoke(text_of(request, "name"))
        except KeysUnreadable as error:
            raise BadCommand(f"{error}; the key is refused until the node ends, which tries again") from None
        self._node.log.write("api", "info", f"the operator revoked the key {key.name} ({key.id})")
        yield key_row(key)

    async def dashboard_link(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """A link to the dashboard that logs in once, with a `role`, for `seconds`."""
        role, seconds = text_of(request, "role"), request.get("seconds")
        if type(seconds) is not int or not 0 < seconds <= LONGEST_TOKEN_SECONDS:
            raise BadCommand(f"a login takes `seconds`, from 1 to {LONGEST_TOKEN_SECONDS}")
        link = self._node.dashboard_link(role, seconds)
        if link is None:
            raise BadCommand(
                "this node serves no dashboard: set port and dashboard = true in the section [api] of "
                "guesthouse.toml, and restart it"
            )
        self._node.log.write("api", "info", f"the operator made a link to the dashboard with the role {role}")
        yield {"url": link}
