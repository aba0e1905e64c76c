"""Revocations as they are stored: what was acknowledged is there after a restart, whatever a disk did before."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.full_disk import largest_file

from guesthouse.http_server.auth.credentials import CredentialsError
from guesthouse.http_server.auth.revocations import REVOKED_FILE, RevocationList

ONE, TWO, THREE = (letter * 16 for letter in "abc")


def revoked(home: Path, now: float = 0) -> list[str]:
    """Which of the families a node that starts now takes for revoked."""
    after = RevocationList(home, now)
    return [family for family in (ONE, TWO, THREE) if family in after]


def test_a_revocation_after_one_that_found_no_room_is_there_after_a_restart(tmp_path: Path) -> None:
    families = RevocationList(tmp_path, 0)
    families.add(ONE, 1000, 0)
    with largest_file((tmp_path / REVOKED_FILE).stat().st_size + 18), pytest.raises(CredentialsError):
        families.add(TWO, 1000, 0)
    families.add(THREE, 1000, 0)
    assert {ONE, THREE} <= set(revoked(tmp_path))
    assert RevocationList(tmp_path, 0).damaged == 0


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (f"{ONE} 1000\n{TWO} 10", [ONE, TWO]),  # cut off in its end: revoked all the same
        (f"{ONE} 1000\n{TWO}", [ONE, TWO]),
        (f"{ONE} 1000\n{TWO[:7]}", [ONE]),
        (f"{ONE} 1000\n{TWO} 1{THREE} 1000\n", [ONE, TWO, THREE]),  # as 0.1.0 went on
        (f"{ONE} 1000\n{TWO} {THREE} 1000\n", [ONE, TWO, THREE]),
        (f"{ONE} 1000\n{TWO[:9]}{THREE} 1000\n", [ONE, THREE]),
        (f"{ONE} 1000\n{TWO} x\n\x00\x00\x00", [ONE, TWO]),
    ],
)
def test_what_may_be_meant_by_a_damaged_line_is_revoked(tmp_path: Path, left: str, kept: list[str]) -> None:
    (tmp_path / REVOKED_FILE).write_text(left)
    assert revoked(tmp_path, now=500) == kept
    families = RevocationList(tmp_path, 500)
    assert families.damaged == 1 + left.count("\x00\x00\x00")
    families.add("d" * 16, 1000, 500)
    assert "d" * 16 in RevocationList(tmp_path, 500)


def test_bytes_that_are_no_text_do_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    (tmp_path / REVOKED_FILE).write_bytes(b"\xff\xfe\n" + f"{ONE} 1000\n".encode())
    assert revoked(tmp_path) == [ONE]
    assert RevocationList(tmp_path, 0).damaged == 1
