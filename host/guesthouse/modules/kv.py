"""`kv:distro:sys`: a package's key-value store, durable once answered.

All processes of a package share its databases; other packages have no access. Values are blobs. A request is
`{"package_id": …, "db": NAME, "action": ACTION}`, where `package_id` may be left out. ACTION is one of


- `"Open"`, `"RemoveDb"`
- `{"Set": {"key"}}` with the value as blob; `"ttl": SECONDS` lets it expire
- `{"Get": {"key"}}` or `{"Get": key}`: answered alike with the value as blob, or by `{"Err": "KeyNotFound"}`
- `{"Delete": {"key"}}`
- `{"List": {"prefix", "after", "limit"}}`: `{"List": {"keys": […]}}`, in order of the keys, at most 1000
- `{"CompareAndSet": {"key", "expected"}}`: sets the blob (or deletes, without one) if the value is `expected`, null for
  none; otherwise `{"Err": "Conflict"}` with the current value as blob

A database is created with its first key. Quota: `process.kv_bytes` for each package, including keys.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from guesthouse.core.address import ProcessId
from guesthouse.core.json_forms import BadRequest, as_bytes, encoded, error, field, parse, tagged
from guesthouse.core.messages import LazyLoadBlob
from guesthouse.core.timing.clock import Clock
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.kernel.storage.database import State
from guesthouse.kernel.storage.tables import Table, usage_of
from guesthouse.modules.module import OK, ModuleContext, RuntimeModule

KV: Final = ProcessId("kv", "distro", "sys")
MAX_KEY: Final = 1024
MAX_DB: Final = 128
MAX_LIST: Final = 1000
MAX_BODY: Final = 1024 * 1024
"""Maximum bytes of a request's body, which may contain an expected value."""
ENTRY_BYTES: Final = 64
"""Bytes counted for an entry besides its key and value."""

_OF_A_KEY: Final = ("Get", "Delete", "Set", "CompareAndSet")
_Reply = tuple[bytes, bytes | None]
_Work = Callable[[sqlite3.Connection], _Reply]


_TABLE: Final = Table(
    "kv",
    "(package TEXT, db TEXT, key BLOB, value BLOB NOT NULL, expires REAL, PRIMARY KEY (package, db, key)) "
    "WITHOUT ROWID",
    "package",
    f"LENGTH({{row}}.key) + LENGTH({{row}}.value) + {ENTRY_BYTES}",
    ("CREATE INDEX IF NOT EXISTS kv_expires ON kv (package, expires) WHERE expires IS NOT NULL",),
)


class Kv(RuntimeModule):
    """The module.

    Args:
        state: the node's database.
        quota: bytes that a package may store, including keys.
        clock: the time by which values expire.
    """

    id = KV
    tables = (_TABLE,)

    def __init__(self, state: State, quota: int, clock: Clock | None = None) -> None:
        self._state = state
        self._quota = quota
        self._now = (clock or Clock()).time

    @classmethod
    def make(cls, context: ModuleContext) -> Kv:
        """See `RuntimeModule`."""
        return cls(context.state, context.limits.kv_bytes, context.clock)

    def request(self, request: ModuleRequest) -> None:
        """See `Module`."""
        try:
            work = self._work(request)
        except BadRequest as bad:
            request.answer(error("InputError", str(bad)), None)
            return

        def answer(reply: _Reply) -> None:
            body, value = reply
            request.answer(body, None if value is None else LazyLoadBlob(None, value))

        package, size = request.source.process.package_id, request.size
        failed = error("IOError", "the log of the node says more"), None
        self._state.execute_for(package, size, work, failed, answer)

    def _work(self, request: ModuleRequest) -> _Work:
        whole = parse(request.body, MAX_BODY)
        package = request.source.process.package_id
        if not owns(package, field(whole, "package_id", object, None)):
            raise BadRequest("that package is not the sender's own")
        name, fields = tagged(field(whole, "action", object))
        database = field(whole, "db", str)
        if not 0 < len(database) <= MAX_DB:
            raise BadRequest(f"db is from 1 to {MAX_DB} characters")
        table = _Table(package, database, self._quota, self._now)
        value = None if request.blob is None else request.blob.bytes
        if name == "Open":
            return lambda _: (OK, None)
        if name == "RemoveDb":
            return table.remove
        if name == "List":
            return table.list(fields)
        if name not in _OF_A_KEY:
            raise BadRequest(f"no action is named {name[:40]}")
        key = _key(fields)
        if name == "Get":
            return lambda connection: table.get(connection, key, fields)
        if name == "Delete":
            return lambda connection: table.delete(connection, key)
        if name == "Set":
            return table.set(key, value, fields)
        return table.compare_and_set(key, value, fields)


class _Table:
    """One database of one package."""

    def __init__(self, package: str, name: str, quota: int, now: Callable[[], float]) -> None:
        self._where = (package, name)
        self._quota = quota
        self._now = now

    def get(self, connection: sqlite3.Connection, key: bytes, asked: Any) -> _Reply:
        """The value, with the key in the form of the request, as Kinode's and Hyperware's libraries expect."""
        value = self._value(connection, key)
        if value is None:
            return error("KeyNotFound"), None
        named = {"key": list(key)} if isinstance(asked, dict) else list(key)
        return encoded({"Get": named}), value

    def delete(self, connection: sqlite3.Connection, key: bytes) -> _Reply:
        connection.execute("DELETE FROM kv WHERE package = ? AND db = ? AND key = ?", (*self._where, key))
        return OK, None

    def remove(self, connection: sqlite3.Connection) -> _Reply:
        connection.execute("DELETE FROM kv WHERE package = ? AND db = ?", self._where)
        return OK, None

    def set(self, key: bytes, value: bytes | None, fields: Any) -> _Work:
        if value is None:
            raise BadRequest("the value to set is the request's blob, and there is none")
        seconds = field(fields, "ttl", int, None) if isinstance(fields, dict) else None
        if seconds is not None and seconds < 0:
            raise BadRequest("ttl is a number of seconds, 0 or more")
        expires = None if seconds is None else self._now() + min(seconds, 2**40)
        return lambda connection: self._store(connection, key, value, expires)

    def compare_and_set(self, key: bytes, value: bytes | None, fields: Any) -> _Work:
        expected = field(fields, "expected", object, None)
        wanted = None if expected is None else as_bytes(expected, "expected")

        def work(connection: sqlite3.Connection) -> _Reply:
            present = self._value(connection, key)
            if present != wanted:
                return error("Conflict"), present
            if value is None:
                return self.delete(connection, key)
            return self._store(connection, key, value, None)

        return work

    def list(self, fields: Any) -> _Work:
        prefix = as_bytes(field(fields, "prefix", object, ""), "prefix")
        after = as_bytes(field(fields, "after", object, ""), "after")
        limit = min(field(fields, "limit", int, MAX_LIST), MAX_LIST)
        if limit < 1:
            raise BadRequest("limit is a number of keys, 1 or more")

        def work(connection: sqlite3.Connection) -> _Reply:
            rows = connection.execute(
                "SELECT key FROM kv WHERE package = ? AND db = ? AND key > ? AND key >= ? AND key < ? "
                "AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?",
                (*self._where, after, prefix, _end_of(prefix), self._now(), limit),
            )
            return encoded({"List": {"keys": [list(key) for (key,) in rows]}}), None

        return work

    def _value(self, connection: sqlite3.Connection, key: bytes) -> bytes | None:
        row = connection.execute(
            "SELECT value FROM kv WHERE package = ? AND db = ? AND key = ? AND (expires IS NULL OR expires > ?)",
            (*self._where, key, self._now()),
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _store(
        self, connection: sqlite3.Connection, key: bytes, value: bytes, expires: float | None
    ) -> _Reply:
        package, name = self._where
        connection.execute("DELETE FROM kv WHERE package = ? AND expires <= ?", (package, self._now()))
        present = self._value(connection, key)
        before = 0 if present is None else len(key) + len(present) + ENTRY_BYTES
        used = usage_of(connection, package, "kv") - before
        if used + len(key) + len(value) + ENTRY_BYTES > self._quota:
            return error("QuotaExceeded"), None
        connection.execute(
            "INSERT INTO kv (package, db, key, value, expires) VALUES (?, ?, ?, ?, ?) ON CONFLICT "
            "(package, db, key) DO UPDATE SET value = excluded.value, expires = excluded.expires",
            (package, name, key, value, expires),
        )
        return OK, None


def owns(package: str, named: Any) -> bool:
    """Whether a request's `package_id`, in either form, is the sender's own; it may be absent."""
    if named is None or named == package:
        return True
    return isinstance(named, dict) and f"{named.get('package_name')}:{named.get('publisher_node')}" == package


def _end_of(prefix: bytes) -> bytes:
    """Upper bound of the keys that begin with `prefix`."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else b"\xff" * (MAX_KEY + 1)


def _key(fields: Any) -> bytes:
    key = as_bytes(fields.get("key") if isinstance(fields, dict) else fields, "key")
    if not 0 < len(key) <= MAX_KEY:
        raise BadRequest(f"a key is from 1 to {MAX_KEY} bytes")
    return key
