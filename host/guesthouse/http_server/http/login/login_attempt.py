"""What is given to log in: by the form, or as JSON as Kinode's client sends it. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from msgspec import Struct

from guesthouse.core.json_text import read_json
from guesthouse.http_server.auth import credentials

MAX_BODY: Final = 16 * 1024
"""Bytes of a request to log in."""
_FORM: Final = "application/x-www-form-urlencoded"


class LoginAttempt(Struct, frozen=True):
    """Credentials of a login: the hash of the password, or a token."""

    password_hash: str = ""
    token: str = ""
    subdomain: str | None = None
    from_form: bool = False


def read_attempt(content_type: str, body: bytes) -> LoginAttempt | None:
    """Read the body of a request to log in; None if it is not one."""
    if content_type.partition(";")[0].strip() == _FORM:
        return _from_form(body)
    return _from_json(body)


def _from_form(body: bytes) -> LoginAttempt | None:
    try:
        fields = parse_qs(body.decode(), max_num_fields=16)
    except ValueError:
        return None
    password, token = fields.get("password", [""])[0], fields.get("token", [""])[0].strip()
    try:
        return LoginAttempt(credentials.password_hash(password) if password else "", token, from_form=True)
    except UnicodeEncodeError:
        return None


def _from_json(body: bytes) -> LoginAttempt | None:
    try:
        fields = read_json(body, MAX_BODY)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    given, token, subdomain = (
        fields.get("password_hash", ""),
        fields.get("token", ""),
        fields.get("subdomain"),
    )
    if not isinstance(given, str) or not isinstance(token, str) or not isinstance(subdomain, str | None):
        return None
    return LoginAttempt(given, token, subdomain)
