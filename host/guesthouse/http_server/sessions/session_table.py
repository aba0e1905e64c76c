"""The sessions of a node: found by key, and bounded in number, bytes and tries. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from guesthouse.http_server.auth.tokens import LoginThrottle
from guesthouse.http_server.close_codes import NO_SUCH_SESSION, TOO_MANY_RESUMES, CloseReason
from guesthouse.http_server.sessions.session import Session
from guesthouse.http_server.sessions.session_keys import Sign, read_key


class HeldSession(Protocol):
    """A channel with a session."""

    @property
    def session(self) -> Session:
        """Its session."""

    @property
    def user(self) -> str:
        """Whose it is: the family of its token, or without one the address of its client."""

    def give_up(self) -> None:
        """Its client will not return, or there is no room for it: `forget` it."""


_Channel = TypeVar("_Channel", bound=HeldSession)


class SessionTable(Generic[_Channel]):
    """All sessions, and those without a socket in the order in which they lost it.

    Args:
        sign: makes keys known as this node's.
        most: sessions without a socket, in all.
        most_of_user: the same, of one user.
        most_bytes: what they keep for their clients, in all.
    """

    def __init__(self, sign: Sign, most: int, most_of_user: int, most_bytes: int) -> None:
        self.sign = sign
        self._most = most
        self._most_of_user = most_of_user
        self._most_bytes = most_bytes
        self._sessions: dict[bytes, _Channel] = {}
        self._away: dict[_Channel, int] = {}
        self._by_user: dict[str, dict[_Channel, None]] = {}
        self._resumes = LoginThrottle()
        self._refreshes = LoginThrottle()
        self.away_bytes = 0
        """What sessions without a socket keep."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[_Channel]:
        return iter(tuple(self._sessions.values()))

    @property
    def away(self) -> int:
        """Sessions without a socket."""
        return len(self._away)

    def add(self, channel: _Channel) -> None:
        """A session begins."""
        self._sessions[channel.session.keys.id] = channel

    def find(self, key: str, address: str, now: float) -> _Channel | CloseReason:
        """The session of a key, or how to refuse it.

        A key that this node never made, or has made void since, counts as a failed try of the address: for that
        session, or for all that there are not. So nobody is kept from a session of theirs by what others at the same
        address guess. A key of a session that is over does not count.
        """
        shown = read_key(key, self.sign)
        channel = None if shown is None else self._sessions.get(shown.id)
        tried = address if channel is None else _tried(channel, address)
        if self._resumes.wait(tried, now):
            return TOO_MANY_RESUMES
        if shown is not None and shown.genuine:
            if channel is None:
                return NO_SUCH_SESSION
            if channel.session.keys.fit(shown.secret):
                return channel
        self._resumes.failed(tried, now)
        return NO_SUCH_SESSION

    def refuse(self, channel: _Channel, address: str, now: float) -> CloseReason:
        """Whoever has shown the key of that session is not its user: how to refuse them."""
        self._resumes.failed(_tried(channel, address), now)
        return NO_SUCH_SESSION

    def may_refresh(self, channel: HeldSession, now: float) -> bool:
        """Whether the client of a session has not shown too many bad tokens in it lately."""
        return not self._refreshes.wait(channel.session.keys.id.hex(), now)

    def refresh_failed(self, channel: HeldSession, now: float) -> None:
        """The client of a session has shown a bad token in it, which is no matter of any other client."""
        self._refreshes.failed(channel.session.keys.id.hex(), now)

    def leave(self, channel: _Channel, size: int) -> None:
        """A session has lost its socket, and keeps `size` bytes. Where there are too many, those without one for the
        longest are given up, of the same user if it is the user who has too many.
        """
        if channel not in self._away:
            self._away[channel] = 0
            of_user = self._by_user.setdefault(channel.user, {})
            of_user[channel] = None
            if len(of_user) > self._most_of_user:
                next(iter(of_user)).give_up()
        self.resize(channel, size)
        if len(self._away) > self._most:
            next(iter(self._away)).give_up()

    def resize(self, channel: _Channel, size: int) -> None:
        """A session without a socket keeps so much now."""
        held = self._away.get(channel)
        if held is None:
            return
        self._away[channel] = size
        self.away_bytes += size - held
        while self.away_bytes > self._most_bytes and self._away:
            next(iter(self._away)).give_up()

    def come_back(self, channel: _Channel) -> None:
        """A session has a socket again."""
        size = self._away.pop(channel, None)
        if size is None:
            return
        self.away_bytes -= size
        of_user = self._by_user[channel.user]
        del of_user[channel]
        if not of_user:
            del self._by_user[channel.user]

    def forget(self, channel: _Channel) -> None:
        """A session is over, and its key worth nothing. Forgetting it twice does nothing."""
        self.come_back(channel)
        self._sessions.pop(channel.session.keys.id, None)
        self._refreshes.succeeded(channel.session.keys.id.hex())


def _tried(channel: HeldSession, address: str) -> str:
    """What failed tries of an address for one session are counted by."""
    return f"{address} {channel.session.keys.id.hex()}"
