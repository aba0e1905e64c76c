"""The file by which a node hands over: read as it was written, once, or refused in one line."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.full_disk import largest_file

from guesthouse.core.messages import WebSocketOpen
from guesthouse.http_server.sessions.handed_channel import (
    BadHandover,
    HandedChannel,
    HandedCipher,
    HandedClose,
)
from guesthouse.kernel.process.handed_mailbox import HandedMessage, HandedOpen, HandedRequest
from guesthouse.link.to_node import Send
from guesthouse.link.to_worker import Open, Push, Request
from guesthouse.node import handover_file
from guesthouse.node.handover_file import MAX_FILE, MAX_RECORD, HandoverFile, Record, take, write

KEY = secrets.token_bytes(32)
NODE = "here.os"
CHAT = "chat:chat:guesthouse.os"
CHANNEL = HandedChannel(
    channel_id=7,
    owner=CHAT,
    event=WebSocketOpen(7, "/room", query_params=(("a", "b"),)),
    realm=None,
    token_family="family",
    token_login=None,
    user="token family",
    window_bits=15,
    open_seconds=3.5,
    left_seconds=60.0,
    messages_in=1,
    messages_out=2,
    session_id=b"i" * 12,
    keys=(b"k" * 32,),
    received=5,
    first=3,
    highest=6,
    entries=((65, b"frame"), (-2, b"")),
    cipher=HandedCipher(b"s" * 32, b"p" * 8, 9, b"n" * 24),
    closed=HandedClose(1000, "over"),
)
OPENED = Open(0, 7, "/room", None, None, (), (), False, 100, "/room", None)
RECORDS: list[Record] = [
    CHANNEL,
    HandedRequest(3, CHAT, Send(1, CHAT, b"body"), 2.5, (CHAT,)),
    HandedOpen(CHAT, OPENED),
    HandedMessage(CHAT, Push(4, 7, 0, b"payload"), 263),
    HandedMessage(CHAT, Request(4, 3, CHAT, b"body"), 260),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "handover"
    assert write(path, KEY, NODE, RECORDS) == 0
    return path


def refused(path: Path, key: bytes = KEY, node: str = NODE) -> str:
    with pytest.raises(BadHandover) as error:
        take(path, key, node)
    assert not path.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_it_is_read_as_it_was_written_and_once(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    handed = take(file, KEY, NODE)
    assert handed is not None
    assert handed.records == RECORDS
    assert 0 <= handed.away_seconds < 3600
    assert take(file, KEY, NODE) is None
    assert list(file.parent.iterdir()) == []


def test_what_was_said_and_who_said_it_cannot_be_read_in_a_copy(file: Path) -> None:
    data = file.read_bytes()
    for secret in (b"payload", b"frame", b"k" * 32, b"s" * 32, b"family", CHAT.encode()):
        assert secret not in data


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: b"", "does not begin"),
        (lambda data: b"\0" * 100, "does not begin"),
        (lambda data: data.replace(b" 1\n", b" 12\n", 1), "another version of Guesthouse (12"),
        (lambda data: data.replace(b" 1\n", b" " + b"1" * 100, 1), "another version"),
        (lambda data: data[:22], "no end"),
        (lambda data: data[:30], "no end"),
        (lambda data: data + b"\0", "goes on after its end"),
        (lambda data: data[:30] + b"\xff\xff\xff\xff" + data[34:], "a record is too large"),
    ],
)
def test_what_was_damaged_is_refused_in_one_line(
    file: Path, spoil: Callable[[bytes], bytes], says: str
) -> None:
    file.write_bytes(spoil(file.read_bytes()))
    assert says in refused(file)


def test_nothing_in_it_can_be_changed_left_out_or_moved(file: Path) -> None:
    whole = file.read_bytes()
    records, place = [], 30
    while place < len(whole):
        end = place + 4 + int.from_bytes(whole[place : place + 4], "big")
        records.append(whole[place:end])
        place = end
    assert len(records) == len(RECORDS) + 2
    for number in range(len(records)):
        others = records[:number] + records[number + 1 :]
        file.write_bytes(whole[:30] + b"".join(others))
        refused(file)
    file.write_bytes(whole[:30] + b"".join((records[0], records[2], records[1], *records[3:])))
    refused(file)
    for place in range(0, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refused(file)


def test_it_is_for_one_home_and_one_node(file: Path) -> None:
    whole = file.read_bytes()
    assert "another home" in refused(file, key=secrets.token_bytes(32))
    file.write_bytes(whole)
    assert "another node" in refused(file, node="elsewhere.os")


def test_it_has_bounds(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with file.open("ab") as data:
        data.truncate(MAX_FILE + 1)
    assert "too large" in refused(file)
    large = HandedMessage(CHAT, Push(4, 7, 0, bytes(MAX_RECORD)), 1)
    assert write(file, KEY, NODE, [CHANNEL, large, *RECORDS[1:]]) == 1
    handed = take(file, KEY, NODE)
    assert handed is not None
    assert handed.records == RECORDS
    monkeypatch.setattr(handover_file, "MAX_FILE", MAX_RECORD + 100)
    assert write(file, KEY, NODE, RECORDS) > 0


def test_room_is_taken_before_anything_is_written_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "handover"
    with largest_file(1 << 20), pytest.raises(OSError, match="too large"):
        HandoverFile(path, 1 << 20)
    assert list(tmp_path.iterdir()) == []
    file = HandoverFile(path, 1 << 20)
    (partial,) = tmp_path.iterdir()
    assert partial.stat().st_blocks * 512 >= 1 << 20
    file.close()
    assert list(tmp_path.iterdir()) == []
    assert HandoverFile(path, 1 << 20).write(KEY, NODE, RECORDS) == 0
    assert path.stat().st_size < 16 * 1024
    handed = take(path, KEY, NODE)
    assert handed is not None
    assert handed.records == RECORDS


def test_what_a_node_that_was_killed_had_reserved_is_given_back_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "handover"
    file = HandoverFile(path, 1 << 20)
    assert len(list(tmp_path.iterdir())) == 1
    assert take(path, KEY, NODE) is None
    assert list(tmp_path.iterdir()) == []
    file.close()


def test_what_finds_no_room_is_left_out_and_the_rest_is_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "handover"
    large = HandedMessage(CHAT, Push(4, 7, 0, bytes(1 << 20)), 1)
    file = HandoverFile(path)
    with largest_file(1 << 19):
        assert file.write(KEY, NODE, [CHANNEL, large, *RECORDS[1:]]) == 1
    handed = take(path, KEY, NODE)
    assert handed is not None
    assert handed.records == RECORDS


def test_a_link_is_not_followed(file: Path) -> None:
    elsewhere = file.with_name("elsewhere")
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic link"):
        take(file, KEY, NODE)


@pytest.mark.parametrize(
    "changed",
    [
        {"channel_id": 0},
        {"channel_id": 2**32},
        {"session_id": b"short"},
        {"keys": ()},
        {"keys": (b"k" * 31,)},
        {"keys": (b"k" * 32,) * 5},
        {"received": -1},
        {"received": 2**53},
        {"left_seconds": -1.0},
        {"left_seconds": float("nan")},
        {"window_bits": 16},
        {"owner": "x" * 5000},
        {"cipher": HandedCipher(b"", b"p" * 8, 0, b"")},
        {"closed": HandedClose(5000, "")},
    ],
)
def test_a_record_that_cannot_be_is_refused(file: Path, changed: dict[str, object]) -> None:
    write(file, KEY, NODE, [replace(CHANNEL, **changed)])
    assert "a record is not in order" in refused(file)


@pytest.mark.parametrize("entries", [((0, b""),), ((5, b""),), ((-1, b"frame"),), ((2**33, b"frame"),)])
def test_what_is_kept_costs_something_and_what_is_lost_is_nothing(
    entries: tuple[tuple[int, bytes], ...],
) -> None:
    with pytest.raises(BadHandover):
        replace(CHANNEL, entries=entries).kept()
