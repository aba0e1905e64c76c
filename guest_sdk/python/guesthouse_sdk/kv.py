"""Values by key, durable: the API of `kv:distro:sys`. All processes of a package share its databases.

The manifest has to request the capability: `request-capabilities = ["kv:distro:sys"]`. Each call waits for the
node's answer, after which `get_blob` returns no longer the payload of the message that is being handled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NoReturn

from guesthouse_sdk._checks import U32_MAX, checked_bytes, checked_int, checked_text
from guesthouse_sdk._runtime_modules import Refusal, ask
from guesthouse_sdk.errors import GuestError

__all__ = ["MAX_KEY", "MAX_LIST", "Conflict", "KeyValues", "KvError", "NotStored", "QuotaExceeded"]

MAX_KEY: Final = 1024
"""Bytes of a key."""
MAX_DB: Final = 128
"""Characters of a database's name."""
MAX_LIST: Final = 1000
"""Keys that the node lists at a time."""

_AS_GIVEN: Final = "surrogateescape"
"""How bytes of a key that are not UTF-8 are shown in a str, and taken back from it, as `os.fsdecode` does."""


class KvError(GuestError):
    """A key-value store refused an operation, which changed nothing."""


class Conflict(KvError):
    """`compare_and_set` found another value.

    Attributes:
        current: the value that is there; None if there is none.
    """

    def __init__(self, reason: str, current: bytes | None) -> None:
        super().__init__(reason)
        self.current = current


class QuotaExceeded(KvError):
    """The package would store more than the node allows: `process.kv_bytes`."""


class NotStored(KvError):
    """The node could not read or write it; its log says why."""


class KeyValues:
    """A database of this package. It is there with its first key.

    A key is a str or bytes of 1 to `MAX_KEY` bytes; a str stands for its UTF-8. Every method may raise

    - `KvError`: refused; the subclass says why.
    - `NotAuthorised`: the manifest does not request `kv:distro:sys`.
    - `SendError`: the node did not answer; whether a change was made is not known.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Use a database.

        Args:
            name: 1 to 128 characters.
        """
        if not 0 < len(checked_text(name, "the name of a database")) <= MAX_DB:
            raise ValueError(f"the name of a database has 1 to {MAX_DB} characters, not {len(name)}")
        self.name = name

    def get(self, key: str | bytes) -> bytes | None:
        """The value of a key; None if it has none, or it expired."""
        try:
            return self._ask({"Get": {"key": _key(key)}})[1]
        except _Missing:
            return None

    def set(self, key: str | bytes, value: str | bytes, ttl: int | None = None) -> None:
        """Store a value. It is durable once this returns.

        Args:
            key: the key; a value that it has is replaced.
            value: bytes, or a str, which is stored as UTF-8.
            ttl: seconds until it expires; never by default.
        """
        fields: dict[str, Any] = {"key": _key(key)}
        if ttl is not None:
            fields["ttl"] = checked_int(ttl, "ttl", 0, U32_MAX)
        self._ask({"Set": fields}, _value(value))

    def delete(self, key: str | bytes) -> None:
        """Remove a key; one that is not there is none."""
        self._ask({"Delete": {"key": _key(key)}})

    def compare_and_set(
        self, key: str | bytes, expected: str | bytes | None, value: str | bytes | None
    ) -> None:
        """Store a value only if the present one is as expected, in one step.

        Args:
            key: the key.
            expected: the value that it has now; None: it has none.
            value: the new value; None removes the key.

        Raises:
            Conflict: it has another value, which is the error's `current`.
        """
        wanted = None if expected is None else _json_bytes(_value(expected))
        fields = {"key": _key(key), "expected": wanted}
        self._ask({"CompareAndSet": fields}, None if value is None else _value(value))

    def keys(self, prefix: str | bytes = "", after: str | bytes = "", limit: int = MAX_LIST) -> list[str]:
        """Keys in the order of their bytes.

        Args:
            prefix: what they begin with.
            after: only keys after this one: the last of the list before.
            limit: at most so many, and at most `MAX_LIST`.

        Returns:
            The keys as text. Bytes that are not UTF-8 are in it as `os.fsdecode` has them, and every method takes
            them so.
        """
        fields = {
            "prefix": _json_bytes(_key_bytes(prefix)),
            "after": _json_bytes(_key_bytes(after)),
            "limit": checked_int(limit, "limit", 1, U32_MAX),
        }
        answer, _ = self._ask({"List": fields})
        return [bytes(key).decode(errors=_AS_GIVEN) for key in answer["List"]["keys"]]

    def all_keys(self, prefix: str | bytes = "") -> Iterator[str]:
        """All keys that begin with `prefix`, asked for `MAX_LIST` at a time. Keys that are added or removed
        meanwhile may be missing or not.
        """
        after = ""
        while True:
            part = self.keys(prefix, after)
            yield from part
            if len(part) < MAX_LIST:
                return
            after = part[-1]

    def __iter__(self) -> Iterator[str]:
        return self.all_keys()

    def clear(self) -> None:
        """Remove all keys of the database."""
        self._ask("RemoveDb")

    def __repr__(self) -> str:
        return f"KeyValues({self.name!r})"

    def _ask(self, action: object, blob: bytes | None = None) -> tuple[Any, bytes | None]:
        try:
            return ask("kv", {"db": self.name, "action": action}, blob)
        except Refusal as refusal:
            _raise(refusal)


class _Missing(Exception):
    """There is no such key."""


def _raise(refusal: Refusal) -> NoReturn:
    match refusal.kind:
        case "KeyNotFound":
            raise _Missing from None
        case "Conflict":
            raise Conflict("the key has another value than expected", refusal.blob) from None
        case "QuotaExceeded":
            raise QuotaExceeded("the package stores as much in kv as the node allows: delete keys") from None
        case "IOError":
            raise NotStored("the node could not read or write the value; its log says why") from None
        case kind:
            raise KvError(f"{kind}: {refusal.reason}") from None


def _key(key: str | bytes) -> str | list[int]:
    raw = _key_bytes(key)
    if not 0 < len(raw) <= MAX_KEY:
        raise ValueError(f"a key has 1 to {MAX_KEY} bytes, not {len(raw)}")
    return _json_bytes(raw)


def _key_bytes(key: str | bytes) -> bytes:
    return (
        key.encode(errors=_AS_GIVEN)
        if isinstance(key, str)
        else checked_bytes(key, "a key", "a str or bytes")
    )


def _value(value: str | bytes) -> bytes:
    return (
        checked_text(value, "a value").encode()
        if isinstance(value, str)
        else checked_bytes(value, "a value", "a str or bytes")
    )


def _json_bytes(raw: bytes) -> str | list[int]:
    """Bytes for JSON: text is shorter than a list of numbers, and not limited in its commas."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return list(raw)
