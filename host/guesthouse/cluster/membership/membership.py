"""A node's place in a cluster, as its home keeps it: `cluster.json`, and at the authority `cluster.ed25519`.

The file has the greatest serial of each card that the node has seen, so NATS cannot go back behind it, not even while
the node is down. At the authority it has the secrets of tickets, too. Blocking I/O, but for `take`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder, Encoder
from msgspec.json import format as indented

from guesthouse.cluster.membership.authority import Authority, IssuedTicket, NotAllowed
from guesthouse.cluster.membership.records import BadRecord, Key, NodeName
from guesthouse.cluster.membership.roster import Roster
from guesthouse.core import atomic_file
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import GuesthouseError

STATE_FILE: Final = "cluster.json"
KEY_FILE: Final = "cluster.ed25519"
_NEXT_KEY_FILE: Final = "cluster.ed25519.next"
"""Of a rotation that was cut off."""
_KEY_BYTES: Final = 32
VERSION: Final = 1


class BadMembership(GuesthouseError):
    """The cluster's files in the home cannot be read or written."""


class Saved(Struct, kw_only=True):
    """What `cluster.json` has."""

    version: Annotated[int, Meta(ge=1)] = VERSION
    node: NodeName
    nats: tuple[str, ...]
    name: Annotated[str, Meta(max_length=64)] = ""
    first_key: Key
    successions: tuple[bytes, ...] = ()
    cards: tuple[bytes, ...] = ()
    serial: int = 0
    tickets: list[IssuedTicket] = []
    expelled: list[bytes] = []


_encode: Final = Encoder().encode
_decode: Final = Decoder(Saved).decode


class Membership:
    """What a node knows of its cluster.

    Args:
        home: the node's folder.
        node: its name in the cluster.
        nats: the URLs of NATS servers that came with its ticket.
        roster: the nodes.
        authority: if this node holds the key of the cluster.
        name: of the cluster; empty if it has none.
    """

    def __init__(
        self,
        home: Path,
        node: str,
        nats: tuple[str, ...],
        roster: Roster,
        authority: Authority | None = None,
        name: str = "",
    ) -> None:
        self.home = home
        self.node = node
        self.nats = nats
        self.roster = roster
        self.authority = authority
        self.name = name

    @classmethod
    def found(
        cls,
        home: Path,
        node: str,
        node_key: Ed25519PrivateKey,
        nats: tuple[str, ...],
        now: float,
        name: str = "",
    ) -> Membership:
        """Found a cluster, and save it.

        Raises:
            NotAllowed: the node is in one.
            BadMembership: the files cannot be written.
        """
        refuse_second(home)
        key = Ed25519PrivateKey.generate()
        roster = Roster(key.public_key().public_bytes_raw())
        authority = Authority(roster, key, node)
        authority.issue(node, node_key.public_key().public_bytes_raw(), "member", now)
        made = cls(home, node, nats, roster, authority, name)
        _write(home / KEY_FILE, key.private_bytes_raw())
        made.write(made.encoded())
        return made

    @classmethod
    def load(cls, home: Path) -> Membership | None:
        """What the home has; None if the node is in no cluster.

        Raises:
            BadMembership: the files cannot be read.
        """
        path = home / STATE_FILE
        try:
            saved = _decode(path.read_bytes())
            if saved.version > VERSION:
                raise BadMembership(f"{path} is of a later version: run that version of Guesthouse")
            roster = Roster(saved.first_key)
            for succession in saved.successions:
                roster.take_succession(succession)
            roster.restore(saved.cards)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BadMembership(f"{path}: {error.strerror}: make it readable for this user") from None
        except (MsgspecError, BadRecord, UnicodeDecodeError, RecursionError) as error:
            raise BadMembership(f"{path} is damaged ({error}): restore it from a backup") from None
        key = _load_key(home, roster)
        authority = None
        if key is not None:
            authority = Authority(roster, key, saved.node, saved.serial, saved.tickets, saved.expelled)
        return cls(home, saved.node, saved.nats, roster, authority, saved.name)

    @property
    def shown(self) -> str:
        """The cluster for people: its name, if it has one, and its id."""
        return f"{self.name} ({self.roster.cluster_id})" if self.name else self.roster.cluster_id

    def encoded(self) -> bytes:
        """The content of `cluster.json`."""
        roster, authority = self.roster, self.authority
        saved = Saved(
            node=self.node,
            nats=self.nats,
            name=self.name,
            first_key=roster.first_key,
            successions=tuple(roster.successions),
            cards=tuple(roster.newer_than(0)),
        )
        if authority is not None:
            saved.serial, saved.tickets = authority.serial, authority.tickets
            saved.expelled = authority.expelled
        return indented(_encode(saved), indent=1)

    def write(self, content: bytes) -> None:
        """Write `cluster.json`; may run in another thread.

        Raises:
            BadMembership: it cannot be written.
        """
        _write(self.home / STATE_FILE, content)

    def save(self) -> None:
        """Write what has changed.

        Raises:
            BadMembership: it cannot be written.
        """
        self.write(self.encoded())

    def new_key(self) -> Ed25519PrivateKey:
        """Make the cluster's next key, and save it beside the present one.

        Raises:
            BadMembership: it cannot be written.
        """
        key = Ed25519PrivateKey.generate()
        _write(self.home / _NEXT_KEY_FILE, key.private_bytes_raw())
        return key

    def keep_new_key(self) -> None:
        """Put the next key in the place of the present one, once the roster that it signed is saved.

        Raises:
            BadMembership: it cannot be written.
        """
        try:
            (self.home / _NEXT_KEY_FILE).replace(self.home / KEY_FILE)
            atomic_file.sync_folder(self.home)
        except OSError as error:
            raise BadMembership(disk_errors.unwritten(self.home / KEY_FILE, error)) from None

    def must_be_authority(self) -> Authority:
        """Raises:
        NotAllowed: another node holds the cluster's key.
        """
        if self.authority is None:
            holder = self.roster.authority or "another node"
            raise NotAllowed(f"the cluster key is in the home of {holder}: run the command there")
        return self.authority

    def take(self, data: bytes) -> bool:
        """Take a card or a succession; returns whether it is new.

        Raises:
            BadRecord: it is not to be trusted.
        """
        if data[:1] == b"s":
            return self.roster.take_succession(data)
        return self.roster.take_card(data) is not None

    def remove(self) -> None:
        """Forget the cluster.

        Raises:
            BadMembership: a file cannot be removed.
        """
        try:
            for name in (STATE_FILE, KEY_FILE, _NEXT_KEY_FILE):
                (self.home / name).unlink(missing_ok=True)
        except OSError as error:
            raise BadMembership(f"{self.home / STATE_FILE}: {error.strerror}: remove it") from None


def refuse_second(home: Path) -> None:
    """Raises:
    NotAllowed: the node is in a cluster.
    """
    if (home / STATE_FILE).exists():
        raise NotAllowed("this node is in a cluster: run `guesthouse cluster leave` first")


def _load_key(home: Path, roster: Roster) -> Ed25519PrivateKey | None:
    """The cluster's key. A rotation that was cut off after the new key was announced is finished."""
    for name in (KEY_FILE, _NEXT_KEY_FILE):
        path = home / name
        try:
            key = Ed25519PrivateKey.from_private_bytes(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            raise BadMembership(f"{path} cannot be read: restore it from a backup") from None
        if key.public_key() == roster.key:
            if name == _NEXT_KEY_FILE:
                path.replace(home / KEY_FILE)
            return key
    if (home / KEY_FILE).exists():
        raise BadMembership(
            f"{home / KEY_FILE} is not the key of the cluster in {STATE_FILE}: restore both from one backup"
        )
    return None


def _write(path: Path, content: bytes) -> None:
    try:
        atomic_file.replace(path, content)
    except OSError as error:
        raise BadMembership(disk_errors.unwritten(path, error, f"make {path.parent} writable")) from None
