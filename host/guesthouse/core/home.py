"""The node's folder: its layout, permissions and lock."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from guesthouse.core import atomic_file, private
from guesthouse.core.disk import disk_errors
from guesthouse.core.errors import BadNodeName, BadSetting, GuesthouseError

_LONGEST_SOCKET_PATH: Final = 100
"""Longest path of a unix socket on every Unix (Linux: 107)."""


SECRETS: Final = (
    "token.secret",
    "node.ed25519",
    "password.argon2",
    "tokens.revoked",
    "local.secret",
    "api.keys",
    "cluster.ed25519",
    "cluster.json",
)
_KEPT: Final = (
    *("lock", "node.name", "guesthouse.toml", "installed.json", "logs", "packages", "control.sock"),
    "handover",
    "cluster.ed25519.next",
    *SECRETS,
)
_KEPT_IN_SEVERAL: Final = ("state.sqlite", "compiled")
STAGING: Final = ".new-restore-"
"""Prefix of the folder into which a backup is unpacked."""
_UNFINISHED: Final = ".restore-unfinished"
_MADE_BESIDE: Final = (*(f".{name}." for name in (*_KEPT, *_KEPT_IN_SEVERAL)), ".new-")


def is_of_a_node(name: str) -> bool:
    """Whether a file or folder of that name in a home is the node's, not the user's."""
    return name in _KEPT or name.startswith((*_KEPT_IN_SEVERAL, *_MADE_BESIDE))


class HomeError(GuesthouseError):
    """The node's folder cannot be used."""


def home_folder(home: str | None, environment: Mapping[str, str]) -> Path:
    """The node's folder: that of `--home`, of `GUESTHOUSE_HOME`, or else `~/.guesthouse`.

    Raises:
        BadSetting: `--home` is empty.
    """
    if home == "":
        raise BadSetting("--home must not be empty: name a folder, or leave it out for the default")
    return Path(home or environment.get("GUESTHOUSE_HOME") or "~/.guesthouse").expanduser().absolute()


class Home:
    """Paths in a node's folder.

    Args:
        path: the folder, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.state = path / "state.sqlite"
        self.compiled = path / "compiled"
        self.unpacked = path / "packages"
        self.control_socket = path / "control.sock"
        self.handover = path / "handover"
        self._node = path / "node.name"
        self._unfinished = path / _UNFINISHED

    def prepare(self) -> None:
        """Create the folder, accessible to its user only.

        Raises:
            HomeError: it cannot be created, read or written, is another user's, or is an existing home that others can
                write to.
        """
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            raise HomeError(
                f"{str(self.path)!a} is not UTF-8, which paths passed to workers have to be: choose another --home"
            ) from None
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.path.stat()
            if status.st_uid != os.geteuid():
                raise HomeError(f"{self.path} belongs to another user: choose another folder with --home")
            if private.others_write(status) and any(
                is_of_a_node(entry.name) for entry in self.path.iterdir()
            ):
                raise HomeError(
                    f"{self.path} was writable by others, who may have changed its files: check that they are all "
                    "yours, then run 'chmod 700' on it, or choose another folder with --home"
                )
            if stat.S_IMODE(status.st_mode) & 0o077:
                self.path.chmod(0o700)
        except OSError as error:
            raise self._unusable(error) from None
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise HomeError(
                f"{self.path} is not readable and writable for this user: fix it, or give another --home"
            )

    def close_to_others(self) -> list[str]:
        """Make all that a node keeps in its folder accessible to its user only. Returns what was not.

        Other files in the folder are left alone.

        Raises:
            HomeError: something is another user's or writable by others, or a secret is a link.
        """
        open_before: list[Path] = []
        try:
            for entry in sorted(self.path.iterdir()):
                if entry.name in SECRETS and entry.is_symlink():
                    raise private.OpenToOthers(f"{entry} is a link, but secrets must be files of the home")
                if is_of_a_node(entry.name):
                    open_before += private.close_to_others(entry)
        except private.OpenToOthers as error:
            raise HomeError(
                f"{error}: make it accessible to this user only ('chmod go-rwx'), or choose another folder with --home"
            ) from None
        except OSError as error:
            raise self._unusable(error) from None
        return [str(path.relative_to(self.path)) for path in open_before]

    def prepare_compiled(self) -> None:
        """Create the folder of compiled components, which workers map as code.

        Raises:
            HomeError: it cannot be created, or is mounted noexec.
        """
        try:
            self.compiled.mkdir(mode=0o700, exist_ok=True)
            may_run = not os.statvfs(self.compiled).f_flag & os.ST_NOEXEC
        except OSError as error:
            raise self._unusable(error) from None
        if not may_run:
            raise HomeError(
                f"{self.compiled} is on a file system that is mounted noexec, and compiled components are code: "
                "mount it with exec, or give another --home"
            )

    @contextmanager
    def locked(self, *, restoring: bool = False) -> Iterator[None]:
        """Lock the folder for this node. The lock ends with the OS process.

        Args:
            restoring: whether a backup is restored, which finishes what an earlier attempt began.

        Raises:
            HomeError: another node holds it, the lock file cannot be created, or a restore was cut off.
        """
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            self._lock(descriptor)
            if not restoring:
                self.refuse_unfinished()
            yield
        finally:
            os.close(descriptor)

    def locked_by(self) -> int | None:
        """The pid of the node that holds the lock, without touching it; None if none does."""
        try:
            lock = self.path / "lock"
            number = str(lock.stat().st_ino)
            pid = lock.read_text(errors="replace").strip()
            held = Path("/proc/locks").read_text()
        except OSError:
            return None
        holders = (line.split() for line in held.splitlines() if "FLOCK" in line and "->" not in line)
        of_this_file = any(fields[5].rpartition(":")[2] == number for fields in holders)
        return int(pid) if of_this_file and pid.isdecimal() and Path("/proc", pid).exists() else None

    def begin_restore(self) -> None:
        """Have the folder refused until `finish_restore`.

        Raises:
            OSError: the disk is full.
        """
        atomic_file.replace(self._unfinished, b"")

    def finish_restore(self) -> None:
        """The folder is complete.

        Raises:
            OSError: it cannot be written.
        """
        self._unfinished.unlink()
        atomic_file.sync_folder(self.path)

    def is_unfinished(self) -> bool:
        """Whether a restore was cut off while it replaced files."""
        return self._unfinished.exists()

    def refuse_unfinished(self) -> None:
        """Raises:
        HomeError: a restore was cut off while it replaced files.
        """
        if self.is_unfinished():
            raise HomeError(
                f"a restore to {self.path} was cut off, which left it incomplete: run 'guesthouse restore' again"
            )

    def remember_node(self, node: str) -> None:
        """Store the name of the node that runs here, for commands that work without it, unless it is there already: to
        sync a file takes longer than all else that a start does with the home.
        """
        if self.remembered_node() == node and not self._node.is_symlink():
            return
        try:
            atomic_file.replace(self._node, f"{node}\n".encode())
        except OSError as error:
            raise self._unusable(error) from None

    def remembered_node(self) -> str | None:
        """The name of the node that ran here last; None when none did."""
        from guesthouse.core.address import parse_node_name  # commands that ask a node do without

        try:
            return parse_node_name(self._node.read_text().strip())
        except (OSError, UnicodeError, BadNodeName):
            return None

    @contextmanager
    def control_address(self) -> Iterator[str]:
        """An address of the control socket that fits a unix socket, however long the home's path is."""
        direct = str(self.control_socket)
        if len(os.fsencode(direct)) <= _LONGEST_SOCKET_PATH:
            yield direct
            return
        try:
            descriptor = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unusable(error) from None
        try:
            yield f"/proc/self/fd/{descriptor}/{self.control_socket.name}"
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise HomeError(
                f"another node (pid {owner}) runs on {self.path}: stop it, or give this one another --home"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)

    def _unusable(self, error: OSError) -> HomeError:
        return HomeError(
            f"{self.path} cannot be used as the node's home: {error.strerror}: "
            f"{disk_errors.remedy(error, 'fix it, or give another --home')}"
        )
