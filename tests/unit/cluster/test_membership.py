"""What a home keeps of a cluster, also when a change of it is cut off; and the file of settings."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from guesthouse.cluster.membership import membership as module
from guesthouse.cluster.membership.authority import NotAllowed
from guesthouse.cluster.membership.membership import KEY_FILE, STATE_FILE, BadMembership, Membership
from guesthouse.cluster.settings_file import remember
from guesthouse.core.config import load_settings
from guesthouse.core.errors import BadSetting

URLS = ("nats://10.0.0.1:4222",)
KEY = Ed25519PrivateKey.generate()


def found(home: Path) -> Membership:
    return Membership.found(home, "a.os", KEY, URLS, time.time())


def loaded(home: Path) -> Membership:
    membership = Membership.load(home)
    assert membership is not None
    return membership


def test_it_is_as_it_was_saved(tmp_path: Path) -> None:
    assert Membership.load(tmp_path) is None
    made = found(tmp_path)
    assert made.authority is not None
    ticket = made.authority.ticket(time.time(), 60, URLS)
    made.authority.issue("b.os", KEY.public_key().public_bytes_raw(), "member", time.time())
    made.authority.expel("b.os", time.time())
    made.save()
    again = loaded(tmp_path)
    assert again.encoded() == made.encoded()
    assert again.authority is not None
    assert [each.id for each in again.authority.tickets] == [ticket.id]
    assert again.authority.expelled == [KEY.public_key().public_bytes_raw()]
    assert again.roster.latest == made.roster.latest
    for name in (KEY_FILE, STATE_FILE):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_node_is_in_one_cluster(tmp_path: Path) -> None:
    found(tmp_path)
    with pytest.raises(NotAllowed, match="is in a cluster"):
        found(tmp_path)
    loaded(tmp_path).remove()
    assert list(tmp_path.iterdir()) == []
    found(tmp_path)


def test_only_the_authority_changes_the_cluster(tmp_path: Path) -> None:
    made = found(tmp_path)
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(NotAllowed, match=r"is in the home of a\.os"):
        loaded(tmp_path).must_be_authority()
    assert loaded(tmp_path).roster.latest == made.roster.latest


def rotate(membership: Membership) -> None:
    """What `guesthouse cluster rotate-key` does."""
    membership.must_be_authority().rotate(membership.new_key(), time.time())
    membership.save()
    membership.keep_new_key()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_rotation_that_is_cut_off_leaves_a_key_that_fits(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = found(tmp_path)
    writes = 0
    write = module._write

    def cut_off(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == at:
            raise BadMembership("the power is cut")
        write(path, content)

    monkeypatch.setattr(module, "_write", cut_off)
    if at == 3:  # before the last step, which is no write
        monkeypatch.setattr(Membership, "keep_new_key", _power_cut)
    with pytest.raises(BadMembership, match="power is cut"):
        rotate(made)
    monkeypatch.undo()
    again = loaded(tmp_path)
    assert again.authority is not None
    rotate(again)
    last = loaded(tmp_path)
    assert last.authority is not None
    assert last.authority.key.public_key() == last.roster.key
    assert len(last.roster.successions) == {1: 1, 2: 1, 3: 2}[at]


def _power_cut(*_: object) -> None:
    raise BadMembership("the power is cut")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda text: "{}",
        lambda text: "[" * 10_000,
        lambda text: text.replace('"a.os"', "7"),
        lambda text: "\xff",
    ],
)
def test_a_damaged_file_is_said_to_be(spoil: Callable[[str], str], tmp_path: Path) -> None:
    found(tmp_path)
    text = (tmp_path / STATE_FILE).read_text()
    (tmp_path / STATE_FILE).write_bytes(spoil(text).encode("latin-1"))
    with pytest.raises(BadMembership, match="is damaged"):
        Membership.load(tmp_path)


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    found(tmp_path)
    path = tmp_path / STATE_FILE
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(BadMembership, match="later version"):
        Membership.load(tmp_path)


def test_a_key_of_another_cluster_is_not_used(tmp_path: Path) -> None:
    found(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(bytes(range(32)))
    with pytest.raises(BadMembership, match="is not the key of the cluster"):
        Membership.load(tmp_path)


@pytest.mark.parametrize(
    "before",
    [
        "",
        "workers = 2\n",
        "workers = 2",
        "[http]\nport = 1\n\n",
        "[cluster]\n# ours\n\n[http]\nport = 1\n",
        "[cluster] # ours\ntls_ca = 'x'\n",
    ],
)
def test_the_servers_are_added_to_the_settings(before: str, tmp_path: Path) -> None:
    path = tmp_path / "guesthouse.toml"
    path.write_text(before)
    remember(tmp_path, URLS, "b.os")
    for line in before.splitlines():
        assert line in path.read_text().splitlines()
    settings = load_settings(str(tmp_path), environment={})
    assert settings.cluster.nats == URLS
    assert settings.node == "b.os"
    text = path.read_text()
    remember(tmp_path, ("nats://elsewhere:1",), "b.os")
    assert path.read_text() == text, "what is there is kept"


def test_a_file_that_it_cannot_add_to_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "guesthouse.toml"
    for text, node, why in (
        ("cluster = {tls_ca = 'x'}\n", None, "by hand"),
        ("node = 'c.os'\n", "b.os", "change it there"),
        ("node = \n", None, "not TOML"),
    ):
        path.write_text(text)
        with pytest.raises(BadSetting, match=why):
            remember(tmp_path, URLS, node)
        assert path.read_text() == text
