"""What is given to log in, as the form and Kinode's client send it."""

from __future__ import annotations

import json

import pytest

from guesthouse.http_server.auth.credentials import password_hash
from guesthouse.http_server.http.login.login_attempt import LoginAttempt, read_attempt

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=utf-8"])
def test_a_form_has_a_password_or_a_token(content_type: str) -> None:
    hashed = password_hash("p w")
    assert read_attempt(content_type, b"password=p+w") == LoginAttempt(hashed, from_form=True)
    assert read_attempt(content_type, b"token=+abc+") == LoginAttempt(token="abc", from_form=True)
    assert read_attempt(content_type, b"") == LoginAttempt(from_form=True)


def test_a_program_sends_the_hash_of_the_password_and_perhaps_a_subdomain() -> None:
    body = json.dumps({"password_hash": "0xab", "subdomain": "chat:chat:a.os"}).encode()
    assert read_attempt("application/json", body) == LoginAttempt("0xab", subdomain="chat:chat:a.os")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b""),
        ("application/json", b"[]"),
        ("application/json", b'{"password_hash": 1}'),
        ("application/json", b'{"token": null}'),
        ("application/json", b'{"token": "a", "subdomain": 1}'),
        ("", b"password=p"),
        (FORM, b"\xff=1"),
        (FORM, b"&".join(b"a=1" for _ in range(17))),
    ],
)
def test_what_is_neither_is_no_attempt(content_type: str, body: bytes) -> None:
    assert read_attempt(content_type, body) is None
