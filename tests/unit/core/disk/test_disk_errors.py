"""What is said of a disk: room is wanted where it is full, and rights where these are missing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from guesthouse.core.disk.disk_errors import remedy, unwritten
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.home import Home
from guesthouse.http_api.api_keys import ApiKeys
from guesthouse.http_server.auth import credentials
from guesthouse.http_server.auth.revocations import RevocationList
from guesthouse.package.store.installed import Installed, write_installed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_wants_room(number: int) -> None:
    error = OSError(number, "full")
    assert remedy(error, "check both") == "see that the disk has room"
    assert unwritten(Path("a"), error) == "a: full: see that the disk has room"
    assert (
        unwritten(Path("a"), PermissionError(errno.EACCES, "no")) == "a: no: make it writable for this user"
    )


_WRITERS: dict[str, Callable[[Path], object]] = {
    "tokens.revoked": lambda home: RevocationList(home, 0).add("a", 10, 0),
    "api.keys": lambda home: ApiKeys(home).create("a", "read", 0),
    "token.secret": credentials.replace_secret,
    "password.argon2": lambda home: credentials.set_password(home, "secret"),
    "node.ed25519": credentials.load_node_key,
    "local.secret": credentials.load_local_secret,
    "installed.json": lambda home: write_installed(home, Installed()),
    "node.name": lambda home: Home(home).remember_node("a.os"),
}


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(errno.ENOSPC, r"No space.*[:;] see that the disk has room"), (errno.EACCES, r"denied.* (make|fix) ")],
)
@pytest.mark.parametrize("name", _WRITERS)
def test_what_cannot_be_written_is_named_with_what_to_do(
    tmp_path: Path, name: str, number: int, wanted: str
) -> None:
    error = OSError(number, os.strerror(number))
    with (
        mock.patch("guesthouse.core.atomic_file.replace", side_effect=error),
        mock.patch("guesthouse.core.atomic_file.overwrite", side_effect=error),
        mock.patch("guesthouse.core.atomic_file.create", side_effect=error),
        mock.patch("guesthouse.http_server.auth.revocations.LineFile", side_effect=error),
        pytest.raises(GuesthouseError, match=wanted) as refused,
    ):
        _WRITERS[name](tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)
