"""Ids by which tokens are revoked."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from guesthouse.http_api.token_ids import IssuedFor, id_of, read_id

TOKEN = IssuedFor("a-family_0", 1_000_000, "chat:chat:guesthouse.os")


def sign(data: bytes) -> bytes:
    return hashlib.sha256(b"key" + data).digest()


def test_an_id_reads_back_and_is_of_one_key() -> None:
    made = id_of(TOKEN, sign)
    assert read_id(made, sign) == TOKEN
    assert read_id(made, lambda data: hashlib.sha256(data).digest()) is None


@given(st.text() | st.tuples(st.text("AZaz09_-"), st.text("AZaz09_-")).map(".".join))
def test_what_the_node_did_not_sign_is_no_id(text: str) -> None:
    assert read_id(text, sign) is None
