"""Revocations as they are stored: what was acknowledged is there after a restart, whatever a disk did before."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.full_disk import largest_file

from guesthouse.core import atomic_file
from guesthouse.http_server.auth import pending_writes
from guesthouse.http_server.auth.credentials import CredentialsError
from guesthouse.http_server.auth.pending_writes import PendingWrites
from guesthouse.http_server.auth.revocations import _COMPACT_AT, REVOKED_FILE, RevocationList
from guesthouse.http_server.close_codes import LOGOUT_NOT_STORED

from .conftest import NODE, FakeLog, Start, until

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


@pytest.mark.parametrize("cut", ["f" * 16 + " 17", "f" * 16 + " ", "f" * 16])
def test_what_a_line_that_is_cut_off_revokes_is_written_whole_before_others_follow(
    tmp_path: Path, cut: str
) -> None:
    (tmp_path / REVOKED_FILE).write_text(cut)
    known = RevocationList(tmp_path, 1000)
    assert "f" * 16 in known
    assert not known.is_stored("f" * 16)
    known.add("f" * 16, 5000, 1000)
    assert known.is_stored("f" * 16)
    known.add("a" * 16, 5000, 1000)
    again = RevocationList(tmp_path, 1000)
    assert ("f" * 16 in again, "a" * 16 in again) == (True, True)


def test_what_a_line_that_is_cut_off_revokes_is_written_with_the_next_one(tmp_path: Path) -> None:
    (tmp_path / REVOKED_FILE).write_text("f" * 16 + " 17")
    RevocationList(tmp_path, 1000).add("a" * 16, 5000, 1000)
    assert "f" * 16 in RevocationList(tmp_path, 1000)


def test_families_of_tokens_without_one_are_whole(tmp_path: Path) -> None:
    RevocationList(tmp_path, 1000).add("0" * 16 + "f" * 16, 5000, 1000)
    known = RevocationList(tmp_path, 1000)
    assert "0" * 16 + "f" * 16 in known
    assert known.damaged == 0


def test_bytes_that_are_no_text_do_not_keep_a_node_from_starting(tmp_path: Path) -> None:
    (tmp_path / REVOKED_FILE).write_bytes(b"\xff\xfe\n" + f"{ONE} 1000\n".encode())
    assert revoked(tmp_path) == [ONE]
    assert RevocationList(tmp_path, 0).damaged == 1


def test_what_could_not_be_written_is_written_with_the_next_one_and_when_it_is_asked_for_again(
    tmp_path: Path,
) -> None:
    families = RevocationList(tmp_path, 0)
    families.add(ONE, 1000, 0)
    with largest_file((tmp_path / REVOKED_FILE).stat().st_size + 18):
        for _ in range(2):
            with pytest.raises(CredentialsError, match=r"tokens\.revoked: .*"):
                families.add(TWO, 1000, 0)
        assert TWO in families
        assert not families.is_stored(TWO)
    families.add(THREE, 1000, 0)
    assert revoked(tmp_path) == [ONE, TWO, THREE]
    stored = (tmp_path / REVOKED_FILE).read_bytes()
    families.add(TWO, 1000, 0)
    assert families.is_stored(TWO)
    assert (tmp_path / REVOKED_FILE).read_bytes() == stored


def test_a_list_that_cannot_be_written_anew_goes_on_to_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / REVOKED_FILE).write_text("".join(f"{number:016} 1000\n" for number in range(_COMPACT_AT)))
    families = RevocationList(tmp_path, 0)

    def full(_: Path, __: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_file, "replace", full)
    families.add(ONE, 1000, 0)
    assert revoked(tmp_path) == [ONE]


async def test_a_logout_that_finds_no_room_says_so_and_is_written_later(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_writes, "RETRY_SECONDS", 0.01)
    house = await start()
    token, other = (house.server.issue_token(1000) for _ in range(2))
    family, _ = house.server.family_of(token)
    path = house.home / REVOKED_FILE
    async with house.http(headers={"Cookie": f"kinode-auth_{NODE}={token}"}) as client:
        with largest_file(8):
            for _ in range(2):
                answer = await client.post("/logout")
                assert answer.status_code == 503
                assert answer.text == f"{LOGOUT_NOT_STORED.reason}\n"
                assert "max-age=0" in answer.headers["set-cookie"].lower()
            with pytest.raises(CredentialsError, match="holds until the node ends"):
                house.server.revoke(other)
        assert str(path) in house.log.errors[0]
        assert "Traceback" not in "".join(house.log.errors)
        await until(lambda: path.read_bytes().count(b"\n") == 2)
        assert (await client.post("/logout")).status_code == 303
    again = RevocationList(house.home, 0)
    assert family in again
    assert house.server.family_of(other)[0] in again


async def test_a_node_that_ends_tries_for_the_last_time() -> None:
    log = FakeLog()
    writes = PendingWrites(log)
    tried = []

    def write() -> None:
        tried.append(1)
        raise CredentialsError("tokens.revoked: full")

    writes.add("tokens.revoked", write, CredentialsError("full"))
    await writes.finish()
    assert tried == [1]
    assert "valid again when the node starts: tokens.revoked: full" in log.errors[-1]
