"""Keys of the HTTP API."""

from __future__ import annotations

import hmac
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from guesthouse.http_api.api_keys import KEYS_FILE, MOST_KEYS, ApiKeys, BadApiKey, KeysUnreadable, Role

NOW = 1_000_000.0


def test_a_key_is_found_until_it_is_over_or_revoked(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path)
    text, key = keys.create("backend", "push", NOW, seconds=60, process="chat:chat:guesthouse.os")
    for known in (keys, ApiKeys(tmp_path)):
        assert known.find(text, NOW + 59) == key
        assert known.find(text, NOW + 60) is None
    assert keys.revoke("backend") == key
    assert keys.find(text, NOW) is None
    assert ApiKeys(tmp_path).listed() == ()


def test_the_key_itself_is_stored_nowhere_and_the_file_is_the_users_alone(tmp_path: Path) -> None:
    text, key = ApiKeys(tmp_path).create("backend", "read", NOW)
    stored = (tmp_path / KEYS_FILE).read_text()
    secret = text.removeprefix(f"ghk_{key.id}_")
    assert key.id in stored
    assert secret not in stored
    assert len(secret) == 43
    assert stat.S_IMODE((tmp_path / KEYS_FILE).stat().st_mode) == 0o600


def test_what_is_almost_a_key_is_none(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path)
    text, key = keys.create("backend", "read", NOW)
    other, _ = keys.create("other", "admin", NOW)
    for wrong in (
        "",
        key.id,
        text[:-1],
        f"{text} ",
        f"{text}\n",
        text.upper(),
        text[:17] + other[17:],
        text.replace(key.id, "0" * 12),
        "ghk_\ud800",
        "x" * 100_000,
    ):
        assert keys.find(wrong, NOW) is None


@pytest.mark.parametrize("known", [True, False])
def test_every_key_is_compared_in_constant_time_and_as_a_whole(tmp_path: Path, known: bool) -> None:
    keys = ApiKeys(tmp_path)
    text, _ = keys.create("backend", "read", NOW)
    shown = text if known else f"ghk_{'0' * 12}_{'A' * 43}"
    with mock.patch("hmac.compare_digest", wraps=hmac.compare_digest) as compared:
        keys.find(shown, NOW)
    assert [len(value) for value in compared.call_args.args] == [64, 64]


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\n", "é", "x" * 65, "../a"])
def test_a_name_is_one_that_a_line_of_the_log_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadApiKey, match="a key's name"):
        ApiKeys(tmp_path).create(name, "read", NOW)


def test_names_and_roles_are_checked_and_keys_are_not_without_number(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path)
    _, key = keys.create("backend", "read", NOW)
    for name in ("backend", key.id):
        with pytest.raises(BadApiKey, match="already"):
            keys.create(name, "read", NOW)
    with pytest.raises(BadApiKey, match="read, push, admin"):
        keys.create("other", "root", NOW)
    with pytest.raises(BadApiKey, match="api-key list"):
        keys.revoke("other")
    with mock.patch("guesthouse.core.atomic_file.replace"):
        for number in range(1, MOST_KEYS):
            keys.create(f"k{number}", "read", NOW)
        with pytest.raises(BadApiKey, match="revoke one first"):
            keys.create("more", "read", NOW)


@contextmanager
def full_disk() -> Iterator[None]:
    """It takes neither a new file nor other bytes in an old one."""
    error = OSError(28, "No space left")
    with (
        mock.patch("guesthouse.core.atomic_file.replace", side_effect=error),
        mock.patch("guesthouse.core.atomic_file.overwrite", side_effect=error),
    ):
        yield


def test_a_key_that_cannot_be_stored_is_none_and_one_whose_end_cannot_is_refused(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path)
    text, _ = keys.create("backend", "read", NOW)
    with full_disk():
        with pytest.raises(KeysUnreadable, match="No space left"):
            keys.create("other", "read", NOW)
        with pytest.raises(KeysUnreadable):
            keys.revoke("backend")
    assert keys.listed() == ()
    assert keys.find(text, NOW) is None


def test_a_key_whose_end_could_not_be_stored_is_revoked_again_until_it_is(tmp_path: Path) -> None:
    keys, failures = ApiKeys(tmp_path), list[KeysUnreadable]()
    keys.unwritten = failures.append
    text, key = keys.create("backend", "read", NOW)
    with full_disk():
        for _ in range(2):
            with pytest.raises(KeysUnreadable, match="see that the disk has room"):
                keys.revoke("backend")
    assert len(failures) == 2
    assert ApiKeys(tmp_path).find(text, NOW) is not None
    assert keys.revoke("backend") == key
    assert ApiKeys(tmp_path).find(text, NOW) is None
    with pytest.raises(BadApiKey):
        keys.revoke("backend")


def test_a_key_is_revoked_for_good_where_the_disk_has_no_room_for_a_file(tmp_path: Path) -> None:
    keys = ApiKeys(tmp_path)
    text, key = keys.create("backend", "read", NOW)
    other, _ = keys.create(key.hash, "read", NOW)  # whose name is what the first is known by
    with mock.patch("guesthouse.core.atomic_file.replace", side_effect=OSError(28, "No space left")):
        assert keys.revoke("backend") == key
    after = ApiKeys(tmp_path)
    assert (after.find(text, NOW), len(after.listed())) == (None, 1)
    assert after.find(other, NOW) is not None
    keys.create("backend", "read", NOW)
    assert len(ApiKeys(tmp_path).listed()) == 2


@pytest.mark.parametrize("content", [b"", b"{}", b'[{"id": 1}]', b"\xff"])
def test_a_file_that_is_none_of_keys_is_said_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEYS_FILE).write_bytes(content)
    with pytest.raises(KeysUnreadable, match=r"api\.keys"):
        ApiKeys(tmp_path)


def test_roles_include_those_below() -> None:
    assert [[have.covers(need) for need in Role] for have in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
