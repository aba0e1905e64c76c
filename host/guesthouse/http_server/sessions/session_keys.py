"""The key of a session: who has it may resume, and each resuming makes another. Pure but for randomness."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

_ID: Final = 12
_SECRET: Final = 24
_TAG: Final = 12
_MOST: Final = 4
"""Keys of one session that are good at a time."""

KEY_CHARACTERS: Final = (_ID + _SECRET + _TAG) * 4 // 3
_FORM: Final = re.compile(f"[A-Za-z0-9_-]{{{KEY_CHARACTERS}}}")

Sign: TypeAlias = Callable[[bytes], bytes]
"""A MAC by a key that only this node has, and has for longer than it runs."""


class Shown(Struct, frozen=True):
    """The parts of a key that a client shows."""

    id: bytes
    secret: bytes
    genuine: bool
    """Whether this node made it, now or before it was started last: who guesses has none such."""


def read_key(text: str, sign: Sign) -> Shown | None:
    """Take a key apart; None when it is of no such form."""
    if _FORM.fullmatch(text) is None:
        return None
    parts = base64.urlsafe_b64decode(text)
    body, tag = parts[:-_TAG], parts[-_TAG:]
    return Shown(body[:_ID], body[_ID:], hmac.compare_digest(sign(body)[:_TAG], tag))


class SessionKeys:
    """The keys of one session. Good are the one that its client is known to have, and the few that were made since,
    of which it may have got any: the answer that brings a key can be lost, or come by a socket that it has given up.
    """

    __slots__ = ("_good", "_shown", "_sign", "id")

    def __init__(self, sign: Sign) -> None:
        self.id = secrets.token_bytes(_ID)
        self._sign = sign
        self._good = [secrets.token_bytes(_SECRET)]
        self._shown = 0

    def newest(self) -> str:
        """The newest, as the client gets it."""
        body = self.id + self._good[-1]
        return base64.urlsafe_b64encode(body + self._sign(body)[:_TAG]).decode()

    def fit(self, secret: bytes) -> bool:
        """Whether this is a good one, found in a time that tells nothing."""
        matches = [hmac.compare_digest(secret, each) for each in self._good]
        if True in matches:
            self._shown = matches.index(True)
        return True in matches

    def rotate(self) -> str:
        """Make another for who has shown the last that did `fit`; those before that are void."""
        del self._good[: self._shown]
        del self._good[1 : 2 - _MOST if len(self._good) >= _MOST else 1]
        self._good.append(secrets.token_bytes(_SECRET))
        self._shown = 0
        return self.newest()

    def confirm(self) -> None:
        """The client has the newest: all others are void."""
        del self._good[:-1]
        self._shown = 0
