"""The sessions of a node: found by key, and bounded in number, bytes and tries. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from guesthouse.http_server.auth.login_throttle import LoginThrottle
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

    def give_up(self, limit: str) -> None:
        """There is no room for it by that limit: `forget` it."""


_Channel = TypeVar("_Channel", bound=HeldSession)

LIMITS: Final = ("resume_seconds", "away", "away_per_user", "away_bytes")
"""The settings by which sessions are given up."""


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
        self.given_up = dict.fromkeys(LIMITS, 0)
        """Sessions whose clients may still have wanted them, by the limit that was reached."""

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

    def find(self, key: str, address: str, user: str, now: float) -> _Channel | CloseReason:
        """The session of a key, or how to refuse it.

        A key that this node never made, or has made void since, counts as a failed try of that user at that address:
        for that session, or for all that there are not. So nobody is kept from a session of theirs by what others at
        the same address guess or have stolen. A key of a session that is over does not count.
        """
        shown = read_key(key, self.sign)
        channel = None if shown is None else self._sessions.get(shown.id)
        tried = address if channel is None else _tried(channel, address, user)
        if self._resumes.wait(tried, now):
            return TOO_MANY_RESUMES
        if shown is not None and shown.genuine:
            if channel is None:
                return NO_SUCH_SESSION
            if channel.session.keys.fit(shown.secret):
                return channel
        self._resumes.failed(tried, now)
        return NO_SUCH_SESSION

    def refuse(self, channel: _Channel, address: str, user: str, now: float) -> CloseReason:
        """That user has shown the key of a session that is not theirs: how to refuse them."""
        self._resumes.failed(_tried(channel, address, user), now)
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
                self._give_up(next(iter(of_user)), "away_per_user")
        self.resize(channel, size)
        if len(self._away) > self._most:
            self._give_up(next(iter(self._away)), "away")

    def leave_with_all(self, channel: _Channel, size: int) -> None:
        """A session has no socket now because the node ends, or has begun: all lose theirs at once, so what bounds the
        number of those that lose it one by one does not count, but what bounds their size does.
        """
        if channel not in self._away:
            self._away[channel] = 0
            self._by_user.setdefault(channel.user, {})[channel] = None
        self.resize(channel, size)

    def resize(self, channel: _Channel, size: int) -> None:
        """A session without a socket keeps so much now."""
        held = self._away.get(channel)
        if held is None:
            return
        self._away[channel] = size
        self.away_bytes += size - held
        while self.away_bytes > self._most_bytes and self._away:
            self._give_up(next(iter(self._away)), "away_bytes")

    def _give_up(self, channel: _Channel, limit: str) -> None:
        self.given_up[limit] += 1
        channel.give_up(limit)

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


def _tried(channel: HeldSession, address: str, user: str) -> str:
    """What failed tries of a user at an address for one session are counted by."""
    return f"{address} {channel.session.keys.id.hex()} {user}"
