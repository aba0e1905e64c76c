"""The file by which a node hands over to its successor: written whole or not at all, read once.

It is encrypted and authenticated by a key of the home's (AES-256-GCM), record by record, so that a copy of it alone
says nothing, and nothing in it can be changed, left out or moved. It begins with a line of text, "guesthouse handover"
and the version, and the prefix of the nonces (8 bytes). Each record is its length (4 bytes, big-endian), and ciphertext
and tag; its nonce is the prefix and its number.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Annotated, BinaryIO, Final, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from guesthouse.core import atomic_file
from guesthouse.http_server.sessions.handed_channel import BadHandover, HandedChannel
from guesthouse.kernel.process.handed_mailbox import HandedMessage, HandedOpen, HandedRequest

MAX_RECORD: Final = 64 * 1024 * 1024
MAX_FILE: Final = 1024 * 1024 * 1024

_BEGINNING: Final = b"guesthouse handover "
_VERSION: Final = 1
_PREFIX: Final = 8
_LENGTH: Final = 4
_TAG: Final = 16
_END_BYTES: Final = 128
_LEAST_ROOM: Final = 16 * 1024


class HandoverHead(Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="head"):
    """The first record."""

    node: Annotated[str, Meta(max_length=4096)]
    written: float
    """Unix seconds."""


class HandoverEnd(Struct, frozen=True, forbid_unknown_fields=True, tag_field="is", tag="end"):
    """The last record."""


Record: TypeAlias = HandedChannel | HandedMessage | HandedOpen | HandedRequest


class Handover(Struct, frozen=True):
    """What was handed over."""

    away_seconds: float
    """How long ago."""
    records: list[Record]


class HandoverFile:
    """The file before it is written, while the disk keeps room for it. To be written or closed.

    Args:
        path: where it will be.
        room: bytes to reserve.

    Raises:
        OSError: on creation: there is no room, or it cannot be written.
    """

    def __init__(self, path: Path, room: int = 0) -> None:
        self._room = min(_LEAST_ROOM + room, MAX_FILE)
        self._stack = ExitStack()
        self._file = self._stack.enter_context(atomic_file.replacing(path))
        try:
            os.posix_fallocate(self._file.fileno(), 0, self._room)
        except BaseException:
            self.close()
            raise

    def write(self, key: bytes, node: str, records: Iterable[Record]) -> int:
        """Write the file; blocks. Returns how many records found no room in it or on the disk.

        Raises:
            OSError: it cannot be written; there is none.
        """
        head = _BEGINNING + str(_VERSION).encode() + b"\n" + secrets.token_bytes(_PREFIX)
        sealing, encode = _Sealing(key, head), Encoder().encode
        left_out = size = 0
        with self._stack:
            file = self._file
            size += file.write(head)
            size += file.write(sealing.seal(encode(HandoverHead(node, time.time()))))
            for record in records:
                data = encode(record)
                if len(data) > MAX_RECORD or not self._has_room(size + len(data) + _LENGTH + _TAG):
                    left_out += 1
                    continue
                size += file.write(sealing.seal(data))
            file.write(sealing.seal(encode(HandoverEnd())))
            file.truncate()
        return left_out

    def close(self) -> None:
        """Give the room up, unless it was written."""
        with suppress(_NotWritten), self._stack:
            raise _NotWritten

    def _has_room(self, size: int) -> bool:
        """Whether the file can have so many bytes, and its end."""
        end = size + _END_BYTES
        if end > MAX_FILE - MAX_RECORD:
            return False
        if end <= self._room:
            return True
        try:
            os.posix_fallocate(self._file.fileno(), self._room, end - self._room)
        except OSError:
            return False
        self._room = end
        return True


class _NotWritten(Exception):
    """The file is not wanted."""


def write(path: Path, key: bytes, node: str, records: Iterable[Record]) -> int:
    """Write the file; blocks. Returns how many records were too large for it or the disk.

    Raises:
        OSError: it cannot be written; there is none.
    """
    return HandoverFile(path).write(key, node, records)


def take(path: Path, key: bytes, node: str) -> Handover | None:
    """Read the file and delete it, in the opposite order: what a node was told once it is not told again. Blocks.
    Returns None if there is none.

    Raises:
        BadHandover: it is of another version, of another node, or damaged; it is deleted.
        OSError: it cannot be read or deleted.
    """
    for unfinished in path.parent.glob(f".{path.name}.*"):  # of a node that was killed, which may be large
        unfinished.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        path.unlink()
        atomic_file.sync_folder(path.parent)
        if os.fstat(descriptor).st_size > MAX_FILE:
            raise BadHandover("it is too large")
        return _read(file, key, node)


def _read(file: BinaryIO, key: bytes, node: str) -> Handover:
    line = file.readline(len(_BEGINNING) + 16)
    if not line.startswith(_BEGINNING):
        raise BadHandover("it does not begin as such a file")
    if line != _BEGINNING + str(_VERSION).encode() + b"\n":
        raise BadHandover(f"it is of another version of Guesthouse ({ascii(line[len(_BEGINNING) :])[2:-1]})")
    records: list[Record] = []
    head: HandoverHead | None = None
    for data in _Sealing(key, line + file.read(_PREFIX)).open_all(file):
        record = read_record(data)
        if isinstance(record, HandoverHead) is (head is not None):
            raise BadHandover("its head is not first, and once")
        if isinstance(record, HandoverHead):
            head = record
        elif not isinstance(record, HandoverEnd):
            records.append(record)
        elif head is None or head.node != node or file.read(1):
            raise BadHandover("it is of another node, or goes on after its end")
        else:
            return Handover(max(0.0, time.time() - head.written), records)
    raise BadHandover("it has no end")


def read_record(data: bytes) -> HandoverHead | HandoverEnd | Record:
    """Decode one record.

    Raises:
        BadHandover: it is none.
    """
    try:
        return _decoder().decode(data)
    except (MsgspecError, ValueError, RecursionError) as error:
        raise BadHandover(f"a record is not in order: {ascii(str(error))[1:-1][:80]}") from None


@cache
def _decoder() -> Decoder[HandoverHead | HandoverEnd | Record]:
    return Decoder(HandoverHead | HandoverEnd | HandedChannel | HandedMessage | HandedOpen | HandedRequest)


class _Sealing:
    """Seals and opens records in their order."""

    def __init__(self, key: bytes, head: bytes) -> None:
        self._cipher = AESGCM(key)
        self._head = head
        self._number = 0

    def seal(self, data: bytes) -> bytes:
        """A record, with its length."""
        sealed = self._cipher.encrypt(self._nonce(), data, self._head)
        return len(sealed).to_bytes(_LENGTH, "big") + sealed

    def open_all(self, file: BinaryIO) -> Iterator[bytes]:
        """The records that follow.

        Raises:
            BadHandover: one is not as it was written.
        """
        while length := file.read(_LENGTH):
            size = int.from_bytes(length, "big")
            if size > MAX_RECORD + _TAG:
                raise BadHandover("a record is too large")
            try:
                yield self._cipher.decrypt(self._nonce(), file.read(size), self._head)
            except (InvalidTag, ValueError):
                raise BadHandover("it was damaged, or is of another home") from None

    def _nonce(self) -> bytes:
        self._number += 1
        return self._head[-_PREFIX:] + self._number.to_bytes(4, "big")
