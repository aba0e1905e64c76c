"""The fake host's `passwords:distro:sys`: hashes of the same form that cost nothing, and protect nothing."""

from __future__ import annotations

import hashlib
import re
from itertools import count
from typing import Any, Final

from guesthouse_sdk.testing._module_requests import BadRequest, encoded, error, parse, tagged

MAX_PASSWORD: Final = 1024
_HASH: Final = re.compile(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_COST: Final = "m=19456,t=2,p=1"
_MOST_KIB, _MOST_WORK, _MOST_LANES = 65_536, 65_536 * 4, 4


class FakePasswords:
    """Makes and verifies hashes of its own."""

    def __init__(self) -> None:
        self._numbers = count()

    def carry_out(self, body: bytes) -> bytes:
        """Answer a request."""
        try:
            name, fields = tagged(parse(body))
            if name == "Hash":
                return encoded({"Hash": _hashed(_password(fields), f"salt{next(self._numbers):012}")})
            if name == "Verify" and isinstance(fields, dict):
                return encoded({"Verify": _verified(_password(fields.get("password")), fields.get("hash"))})
            raise BadRequest(f"no action is named {name[:40]}")
        except BadRequest as bad:
            return error("InputError", str(bad))


def _verified(password: str, text: Any) -> dict[str, bool]:
    match = _HASH.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise BadRequest("the hash is not one of Argon2")
    memory, passes, lanes = (int(match[number]) for number in (1, 2, 3))
    if not 0 < memory <= _MOST_KIB or not 0 < passes * memory <= _MOST_WORK:
        raise BadRequest("the hash costs more than it may")
    if not 0 < lanes <= _MOST_LANES:
        raise BadRequest("the hash has too many lanes")
    return {"matches": text == _hashed(password, match[4]), "outdated": _COST not in text}


def _hashed(password: str, salt: str) -> str:
    return f"$argon2id$v=19${_COST}${salt}${hashlib.sha256((salt + password).encode()).hexdigest()}"


def _password(value: Any) -> str:
    try:
        if isinstance(value, str) and 0 < len(value.encode()) <= MAX_PASSWORD:
            return value
    except UnicodeEncodeError:
        pass
    raise BadRequest(f"a password is a text of 1 to {MAX_PASSWORD} bytes")
