"""The fake host's `kv:distro:sys`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from guesthouse_sdk.testing._module_requests import (
    OK,
    BadRequest,
    Reply,
    as_bytes,
    encoded,
    error,
    parse,
    tagged,
)

MAX_KEY: Final = 1024
MAX_DB: Final = 128
MAX_LIST: Final = 1000
ENTRY_BYTES: Final = 64
"""Bytes that an entry counts besides its key and value."""

_Database = dict[bytes, tuple[bytes, float | None]]


class FakeKv:
    """Databases of the package: values, and when they expire."""

    def __init__(self, package: str, quota: int, now: Callable[[], float]) -> None:
        self._package = package
        self._quota = quota
        self._now = now
        self._databases: dict[str, _Database] = {}
        self._used = 0

    def carry_out(self, body: bytes, blob: bytes | None) -> Reply:
        """Answer a request."""
        try:
            whole = parse(body)
            name, fields = tagged(whole.get("action") if isinstance(whole, dict) else None)
            self._check_package(whole.get("package_id"))
            database = whole.get("db")
            if not isinstance(database, str) or not 0 < len(database) <= MAX_DB:
                raise BadRequest(f"db is from 1 to {MAX_DB} characters")
            return self._act(name, fields, self._living(database), blob)
        except BadRequest as bad:
            return error("InputError", str(bad)), None

    def _act(self, name: str, fields: Any, database: _Database, blob: bytes | None) -> Reply:
        if name == "Open":
            return OK, None
        if name == "RemoveDb":
            for key in list(database):
                self._drop(database, key)
            return OK, None
        if name == "List":
            return _list(fields or {}, database), None
        if name not in ("Get", "Delete", "Set", "CompareAndSet"):
            raise BadRequest(f"no action is named {name[:40]}")
        key = as_bytes(fields.get("key") if isinstance(fields, dict) else fields, "key")
        if not 0 < len(key) <= MAX_KEY:
            raise BadRequest(f"a key is from 1 to {MAX_KEY} bytes")
        present = database[key][0] if key in database else None
        if name == "Get":
            named = {"key": list(key)} if isinstance(fields, dict) else list(key)
            return (error("KeyNotFound"), None) if present is None else (encoded({"Get": named}), present)
        expires = None
        if name == "CompareAndSet":
            expected = fields.get("expected")
            if present != (None if expected is None else as_bytes(expected, "expected")):
                return error("Conflict"), present
        elif name == "Set":
            expires = self._expiry(fields, blob)
        if name == "Delete" or blob is None:
            self._drop(database, key)
            return OK, None
        return self._store(database, key, blob, expires), None

    def _expiry(self, fields: Any, blob: bytes | None) -> float | None:
        if blob is None:
            raise BadRequest("the value to set is the request's blob, and there is none")
        ttl = fields.get("ttl") if isinstance(fields, dict) else None
        if ttl is not None and (type(ttl) is not int or ttl < 0):
            raise BadRequest("ttl is a number of seconds, 0 or more")
        return None if ttl is None else self._now() + ttl

    def _store(self, database: _Database, key: bytes, value: bytes, expires: float | None) -> bytes:
        for name in list(self._databases):
            self._living(name)
        before = _size(key, database[key][0]) if key in database else 0
        if self._used - before + _size(key, value) > self._quota:
            return error("QuotaExceeded")
        self._drop(database, key)
        self._used += _size(key, value)
        database[key] = value, expires
        return OK

    def _living(self, name: str) -> _Database:
        """A database without what expired."""
        database = self._databases.setdefault(name, {})
        for key in [
            key for key, (_, until) in database.items() if until is not None and until <= self._now()
        ]:
            self._drop(database, key)
        return database

    def _drop(self, database: _Database, key: bytes) -> None:
        if key in database:
            self._used -= _size(key, database.pop(key)[0])

    def _check_package(self, named: Any) -> None:
        if isinstance(named, dict):
            named = f"{named.get('package_name')}:{named.get('publisher_node')}"
        if named not in (None, self._package):
            raise BadRequest("that package is not the sender's own")


def _size(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_BYTES


def _list(fields: Any, database: _Database) -> bytes:
    prefix = as_bytes(fields.get("prefix", ""), "prefix")
    after = as_bytes(fields.get("after", ""), "after")
    limit = fields.get("limit", MAX_LIST)
    if type(limit) is not int or limit < 1:
        raise BadRequest("limit is a number of keys, 1 or more")
    keys = sorted(key for key in database if key.startswith(prefix) and key > after)
    return encoded({"List": {"keys": [list(key) for key in keys[: min(limit, MAX_LIST)]]}})
