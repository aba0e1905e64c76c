"""The home: settings, permissions, space, database, packages."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from guesthouse.core import private
from guesthouse.core.config import MIB, Settings
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.home import SECRETS, Home, is_of_a_node
from guesthouse.core.printable import number_of
from guesthouse.http_api.api_keys import KEYS_FILE, ApiKeys, KeysUnreadable
from guesthouse.kernel.storage.tables import SCHEMA_VERSION
from guesthouse.node.doctor.finding import FAIL, OK, WARN, Finding
from guesthouse.package.store.installed import read_installed

_LITTLE: Final = 1024 * MIB
_TOO_LITTLE: Final = 100 * MIB
_FEW_FILES: Final = 2_000
_DATABASE_SECONDS: Final = 60.0
_STEPS: Final = 100_000
"""Of SQLite's machine, between two looks at the time."""
_MOST_NAMED: Final = 5


def permissions(home: Home) -> Iterator[Finding]:
    """Who can reach what is in the home."""
    status = home.path.stat()
    user = os.geteuid()
    if status.st_uid != user:
        text = f"{home.path} belongs to user {status.st_uid}, and this is user {user}"
        remedy = "run the command as the node's user: what it finds is of this one"
        yield Finding("permissions", WARN if user == 0 else FAIL, text, remedy)
        return
    if private.others_write(status):
        text = f"{home.path} is writable by others, who may have changed its files"
        yield Finding("permissions", FAIL, text, "check that all files are yours, then chmod 700")
    links = [name for name in SECRETS if (home.path / name).is_symlink()]
    if links:
        text = f"secrets are links: {', '.join(links)}"
        yield Finding("permissions", FAIL, text, "make them files of the home")
    foreign, readable = _reachable(home)
    if foreign:
        text = f"others own or can change {_named(foreign)}"
        yield Finding("permissions", FAIL, text, "check them, then chown and chmod go-rwx")
    elif readable or stat.S_IMODE(status.st_mode) & 0o077:
        text = f"others can read {_named(readable) or home.path}"
        yield Finding("permissions", WARN, text, "chmod go-rwx; the node does it when it starts")
    elif not links and not private.others_write(status):
        yield Finding("permissions", OK, f"{home.path} is this user's alone")


def _reachable(home: Home) -> tuple[list[str], list[str]]:
    """What of the node's others own or can write, and what they can read."""
    foreign, readable = [], []
    tops = [entry for entry in home.path.iterdir() if is_of_a_node(entry.name)]
    inside = (
        Path(folder, name)
        for top in tops
        if top.is_dir() and not top.is_symlink()
        for folder, folders, files in os.walk(top)
        for name in (*folders, *files)
    )
    for path in (*tops, *inside):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(status.st_mode):
            continue
        name = str(path.relative_to(home.path))
        if status.st_uid not in (os.geteuid(), 0) or private.others_write(status):
            foreign.append(name)
        elif stat.S_IMODE(status.st_mode) & 0o077:
            readable.append(name)
    return foreign, readable


def api_keys(home: Home) -> Iterator[Finding]:
    """Whether the keys of the HTTP API can be read: without them no node starts."""
    if not (home.path / KEYS_FILE).exists():
        return
    try:
        keys = ApiKeys(home.path).listed()
    except KeysUnreadable as error:
        yield Finding(
            "API keys", FAIL, str(error).rpartition(": ")[0], "fix it, or remove it to start without keys"
        )
        return
    over = sum(not key.is_valid(time.time()) for key in keys)
    text = f"{number_of(len(keys), 'key')} of the HTTP API, {over} of them expired"
    remedy = "guesthouse api-key list shows them, guesthouse api-key revoke NAME removes one" if over else ""
    yield Finding("API keys", OK, text, remedy)


def _named(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def space(home: Home) -> Iterator[Finding]:
    """Room on the disks of the home and of temporary files."""
    for name, folder in (
        ("disk of the home", home.path),
        ("disk of temporary files", Path(tempfile.gettempdir())),
    ):
        free, system = shutil.disk_usage(folder).free, os.statvfs(folder)
        text = f"{folder} has {free // MIB:,} MiB free"
        if free < _TOO_LITTLE or (system.f_files and system.f_favail < _FEW_FILES):
            files = f", and room for {system.f_favail} files" if system.f_files else ""
            yield Finding(
                name, FAIL, text + files, "free some: what cannot be written is refused to processes"
            )
        elif free < _LITTLE:
            yield Finding(name, WARN, text, "free some, or watch it")
        else:
            yield Finding(name, OK, text)
    compiled = home.compiled if home.compiled.exists() else home.path
    if os.statvfs(compiled).f_flag & os.ST_NOEXEC:
        text = f"{compiled} is mounted noexec, and compiled components are code"
        yield Finding("disk of the home", FAIL, text, "mount it with exec, or use another --home")


def database(home: Home, *, running: bool) -> Iterator[Finding]:
    """The database's schema and integrity, read only."""
    if not home.state.exists():
        yield Finding("database", OK, "there is none yet")
        return
    restore = "restore a backup (guesthouse restore), or ask where the disk's faults come from"
    try:
        with tempfile.TemporaryDirectory(prefix="guesthouse-doctor-") as scratch:
            schema, faults = _integrity(_address(home.state, Path(scratch), running=running))
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            text = f"it is sound as far as could be read in {_DATABASE_SECONDS:g} s"
            yield Finding("database", OK, text)
            return
        yield Finding("database", FAIL, f"{home.state} cannot be read: {error}", restore)
        return
    except sqlite3.DatabaseError as error:
        yield Finding("database", FAIL, f"{home.state} is damaged: {error}", restore)
        return
    if faults != ["ok"]:
        yield Finding("database", FAIL, f"{home.state} is damaged: {'; '.join(faults)[:300]}", restore)
    elif schema > SCHEMA_VERSION:
        text = f"its schema is {schema}, and this Guesthouse supports {SCHEMA_VERSION}"
        yield Finding("database", FAIL, text, "run the version of Guesthouse that wrote it, or a later one")
    else:
        later = "" if schema == SCHEMA_VERSION else ", which the next start brings up to date"
        size = home.state.stat().st_size // MIB
        yield Finding("database", OK, f"sound: {size:,} MiB, schema {schema}{later}")


def _address(path: Path, scratch: Path, *, running: bool) -> str:
    """How to open a database without changing anything beside it. That of a node that was killed has a log of changes
    to apply, which is done on a copy.
    """
    log = path.with_name(f"{path.name}-wal")
    if running:
        return f"{path.as_uri()}?mode=ro"
    if not log.exists() or not log.stat().st_size:
        return f"{path.as_uri()}?mode=ro&immutable=1"
    for file in (path, log):
        shutil.copyfile(file, scratch / file.name)
    return (scratch / path.name).as_uri()


def _integrity(address: str) -> tuple[int, list[str]]:
    until = time.monotonic() + _DATABASE_SECONDS
    with closing(sqlite3.connect(address, uri=True, timeout=_DATABASE_SECONDS)) as opened:
        opened.set_progress_handler(lambda: int(time.monotonic() > until), _STEPS)
        (schema,) = opened.execute("PRAGMA user_version").fetchone()
        return int(schema), [str(row[0]) for row in opened.execute("PRAGMA integrity_check(5)")]


def packages(home: Home) -> Iterator[Finding]:
    """Whether all that is installed is there."""
    try:
        installed = read_installed(home.path)
    except GuesthouseError as error:
        what, _, remedy = str(error).rpartition(": ")
        yield Finding("packages", FAIL, what, remedy)
        return
    gone = [
        f"{name} {version.version}"
        for name, item in sorted(installed.packages.items())
        for version in (item.current, item.previous)
        if version is not None and not (home.unpacked / version.hash).is_dir()
    ]
    if gone:
        text = f"folders of installed packages are gone: {_named(gone)}"
        yield Finding("packages", FAIL, text, "install them again, or restore a backup")
    else:
        yield Finding("packages", OK, f"{len(installed.packages)} installed")


def unfinished(home: Home) -> Iterator[Finding]:
    """Whether a restore was cut off."""
    if home.is_unfinished():
        yield Finding(
            "restore", FAIL, f"a restore to {home.path} was cut off", "run 'guesthouse restore' again"
        )


def settings_of(settings: Settings | GuesthouseError) -> Iterator[Finding]:
    """Whether the settings can be read."""
    if isinstance(settings, Settings):
        yield Finding("settings", OK, "can be read: 'guesthouse config' shows them")
    else:
        yield Finding("settings", FAIL, str(settings), "fix it, then 'guesthouse config check'")
