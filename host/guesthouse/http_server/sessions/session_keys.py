"""The key of a session: who has it may resume, and each resuming makes another. Pure but for randomness."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

_ID: Final = 12
_SECRET: Final = 24
_TAG: Final = 12
MOST_KEYS: Final = 4
"""Keys of one session that are good at a time."""
ID_BYTES: Final = _ID
DIGEST_BYTES: Final = 32

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

    Args:
        sign: makes keys known as this node's.
        known: the id of a session that another run of the node began, and the digests of its good keys.
    """

    __slots__ = ("_good", "_newest", "_shown", "_sign", "id")

    def __init__(self, sign: Sign, known: tuple[bytes, Sequence[bytes]] | None = None) -> None:
        self._sign = sign
        self._shown = 0
        self._newest = b"" if known else secrets.token_bytes(_SECRET)
        self.id, good = known or (secrets.token_bytes(_ID), (_digest(self._newest),))
        self._good = list(good)

    @property
    def digests(self) -> tuple[bytes, ...]:
        """Of the keys that are good, the newest last: enough to know them by, and not to show them."""
        return tuple(self._good)

    def newest(self) -> str:
        """The newest, as the client gets it."""
        body = self.id + self._newest
        return base64.urlsafe_b64encode(body + self._sign(body)[:_TAG]).decode()

    def fit(self, secret: bytes) -> bool:
        """Whether this is a good one, found in a time that tells nothing."""
        digest = _digest(secret)
        matches = [hmac.compare_digest(digest, each) for each in self._good]
        if True in matches:
            self._shown = matches.index(True)
        return True in matches

    def rotate(self) -> str:
        """Make another for who has shown the last that did `fit`; those before that are void."""
        del self._good[: self._shown]
        del self._good[1 : 2 - MOST_KEYS if len(self._good) >= MOST_KEYS else 1]
        self._newest = secrets.token_bytes(_SECRET)
        self._good.append(_digest(self._newest))
        self._shown = 0
        return self.newest()

    def confirm(self) -> None:
        """The client has the newest: all others are void."""
        del self._good[:-1]
        self._shown = 0


def _digest(secret: bytes) -> bytes:
    """Of a secret that is too long to be guessed."""
    return hashlib.sha256(secret).digest()
