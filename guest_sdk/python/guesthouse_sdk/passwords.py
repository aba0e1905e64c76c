"""Hashes of passwords, by Argon2id in the node: the API of `passwords:distro:sys`.

The manifest has to request the capability: `request-capabilities = ["passwords:distro:sys"]`. A hash takes the
node some hundredths of a second; it makes one at a time, and lets a package that asks for many wait.
"""

from __future__ import annotations

from typing import Any, NoReturn

from guesthouse_sdk._checks import checked_text
from guesthouse_sdk._runtime_modules import Refusal, ask
from guesthouse_sdk.errors import GuestError

__all__ = ["Busy", "PasswordError", "hash_password", "is_outdated", "verify_password"]


class PasswordError(GuestError):
    """A password was not hashed, or not verified."""


class Busy(PasswordError):
    """Too many passwords of this package wait: try again later."""


def hash_password(password: str) -> str:
    """Hash a password, with a salt of its own: store the result.

    Args:
        password: 1 to 1024 bytes of UTF-8.

    Raises:
        PasswordError: it was not hashed; the subclass says why.
        NotAuthorised: the manifest does not request `passwords:distro:sys`.
        SendError: the node did not answer in time.
    """
    return str(_ask({"Hash": checked_text(password, "a password")})["Hash"])


def verify_password(password: str, stored: str) -> bool:
    """Whether a password is the one that was hashed.

    Args:
        password: what somebody typed.
        stored: what `hash_password` returned; also another Argon2id hash that does not cost much more.

    Raises:
        PasswordError: it was not verified; the subclass says why.
        NotAuthorised: the manifest does not request `passwords:distro:sys`.
        SendError: the node did not answer in time.
    """
    return bool(_verify(password, stored)["matches"])


def is_outdated(password: str, stored: str) -> bool:
    """Whether a password is right, and to be hashed again, since the node now does so at another cost. Raises as
    `verify_password`.
    """
    found = _verify(password, stored)
    return bool(found["matches"] and found["outdated"])


def _verify(password: str, stored: str) -> Any:
    fields = {"password": checked_text(password, "a password"), "hash": checked_text(stored, "a hash")}
    return _ask({"Verify": fields})["Verify"]


def _ask(body: object) -> Any:
    try:
        return ask("passwords", body)[0]
    except Refusal as refusal:
        _raise(refusal)


def _raise(refusal: Refusal) -> NoReturn:
    if refusal.kind == "Busy":
        raise Busy("too many passwords of this package wait: try again later") from None
    raise PasswordError(f"{refusal.kind}: {refusal.reason}") from None
