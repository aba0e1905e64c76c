"""Backups of homes, and archives that are none: damaged, hostile, of later versions."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from guesthouse.core.home import Home, HomeError
from guesthouse.kernel.storage.tables import KERNEL_TABLES, SCHEMA_VERSION, prepare
from guesthouse.modules.registry import TABLES
from guesthouse.node.backup import backup as backup_module
from guesthouse.node.backup.backup import make_backup
from guesthouse.node.backup.backup_manifest import MANIFEST_NAME, BackupError, path_in_home
from guesthouse.node.backup.restore import checked, restore_backup
from guesthouse.package.store.installed import Installed, Version, write_installed

HASH = "a" * 64
DEEP = "/".join(["folder"] * 30) + "/file"
SECRETS = {
    name: name.encode() for name in ("token.secret", "node.ed25519", "password.argon2", "local.secret")
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with something of everything that a node keeps, and something of its user's."""
    made = Home(tmp_path / "home")
    made.prepare()
    made.remember_node("backed-up.os")
    for name, content in SECRETS.items():
        (made.path / name).write_bytes(content)
    (made.path / "tls").mkdir()
    (made.path / "tls/cert.pem").write_text("certificate")
    (made.path / "tls/key.pem").write_text("key")
    (made.path / "notes").write_text("the user's own")
    settings = f'[http]\ntls_cert = "{made.path}/tls/cert.pem"\ntls_key = "{made.path}/tls/key.pem"\n'
    (made.path / "guesthouse.toml").write_text(settings)
    for name in ("package.toml", DEEP, "b\u00fccher.txt"):
        path = made.unpacked / HASH / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (made.unpacked / ("b" * 64)).mkdir()
    write_installed(made.path, Installed().with_version("kept:test.os", Version("1.0.0", HASH)))
    for name in ("logs", "compiled"):
        (made.path / name).mkdir()
        (made.path / name / "file").write_text(name)
    with closing(sqlite3.connect(made.state)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        prepare(database, (*TABLES, *KERNEL_TABLES))
        database.execute("INSERT INTO state VALUES ('a:kept:test.os', 'kept')")
    return made


def content(home: Home) -> dict[str, bytes]:
    """All files of a home but those that a backup leaves out, and the database by what is in it."""
    files = {
        path.relative_to(home.path).as_posix(): path.read_bytes()
        for path in home.path.rglob("*")
        if path.is_file() and path != home.state
    }
    with closing(sqlite3.connect(home.state)) as database:
        files["state"] = "\n".join(database.iterdump()).encode()
    skipped = ("lock", "logs/", "compiled/", "notes")
    return {name: data for name, data in files.items() if not name.startswith(skipped)}


def backed_up(home: Home, tmp_path: Path, **options: Any) -> Path:
    archive = tmp_path / "backup.tar.gz"
    make_backup(home, archive, **{"secrets": True, "replace": False, **options})
    return archive


def test_a_restored_home_has_all_that_was_backed_up(home: Home, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar.gz"
    made = make_backup(home, archive, secrets=True, replace=False)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert made.left_out == ("notes",)
    restored = Home(tmp_path / "restored")
    manifest = restore_backup(restored, archive, replace=False)
    assert (manifest.node, manifest.schema, manifest.secrets) == ("backed-up.os", SCHEMA_VERSION, True)
    assert content(restored) == content(home)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in restored.path.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}


def test_tar_unpacks_what_a_backup_has(home: Home, tmp_path: Path) -> None:
    archive = backed_up(home, tmp_path)
    subprocess.run(["tar", "xzf", archive, "-C", tmp_path], check=True)
    assert (tmp_path / "packages" / HASH / DEEP).read_text() == DEEP


def test_secrets_are_left_out_on_request(home: Home, tmp_path: Path) -> None:
    archive = backed_up(home, tmp_path, secrets=False)
    restored = Home(tmp_path / "restored")
    assert restore_backup(restored, archive, replace=False).secrets is False
    assert set(content(home)) - set(content(restored)) == {*SECRETS, "tls/key.pem"}


def test_what_was_deleted_is_not_in_a_backup(home: Home, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home.state)) as database:
        database.execute("PRAGMA secure_delete=OFF")  # Debian's SQLite overwrites
        with database:
            text = "deleted text " * 10_000  # on pages of its own
            database.execute("INSERT INTO state VALUES ('gone:kept:test.os', ?)", (text,))
        with database:
            database.execute("DELETE FROM state")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"deleted text" in home.state.read_bytes()
    assert b"deleted text" not in gzip.decompress(backed_up(home, tmp_path).read_bytes())


def test_an_existing_file_is_replaced_on_request_only(home: Home, tmp_path: Path) -> None:
    archive = backed_up(home, tmp_path)
    before = archive.read_bytes()
    (home.path / "guesthouse.toml").unlink()
    with pytest.raises(BackupError, match="exists: give another name, or --force"):
        make_backup(home, archive, secrets=True, replace=False)
    assert archive.read_bytes() == before
    make_backup(home, archive, secrets=True, replace=True)
    assert "guesthouse.toml" not in {file.name for file in checked(archive).files}


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda home: home.state.write_bytes(b"nonsense" * 1000), "cannot be copied"),
        (lambda home: (home.unpacked / HASH).rename(home.path / "away"), "is gone: install it again"),
        (
            lambda home: (home.unpacked / HASH / "link").symlink_to("/etc/passwd"),
            "nothing that a package has",
        ),
        (lambda home: (home.path / "guesthouse.toml").write_text("="), "is not TOML"),
    ],
)
def test_a_damaged_home_is_not_backed_up(
    home: Home, tmp_path: Path, break_it: Callable[[Home], object], said: str
) -> None:
    break_it(home)
    with pytest.raises(Exception, match=said):
        backed_up(home, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"home"}, "nothing is left behind"


def test_what_is_no_plain_file_is_not_replaced(home: Home, tmp_path: Path) -> None:
    """As root, `backup --force /dev/null` took it away from the machine."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("pipe", "link"):
        before = (tmp_path / name).lstat()
        for replace in (False, True):
            with pytest.raises(BackupError, match="no plain file"):
                make_backup(home, tmp_path / name, secrets=True, replace=replace)
        assert (tmp_path / name).lstat() == before
    assert not (tmp_path / "file").exists()


def test_a_backup_into_the_home_does_not_name_what_it_made_itself(home: Home) -> None:
    made = make_backup(home, home.path / "backup.tar.gz", secrets=True, replace=False)
    assert made.left_out == ("notes",)


def test_a_backup_is_not_restored_from_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BackupError, match="copy it to"):
        restore_backup(Home(tmp_path / "new"), tmp_path / "pipe", replace=False)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_no_home_is_not_backed_up(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    with pytest.raises(BackupError, match="is not the home of a node"):
        backed_up(Home(tmp_path / "documents"), tmp_path)


def test_a_home_that_is_not_empty_is_replaced_on_request_only(home: Home, tmp_path: Path) -> None:
    archive = backed_up(home, tmp_path)
    other = Home(tmp_path / "other")
    restore_backup(other, archive, replace=False)
    (other.path / "notes").write_text("others")
    (other.path / "tokens.revoked").write_text("of the other")
    with pytest.raises(BackupError, match="is not empty"):
        restore_backup(other, archive, replace=False)
    assert (other.path / "tokens.revoked").exists()
    restore_backup(other, archive, replace=True)
    assert content(other) == content(home)
    assert (other.path / "notes").read_text() == "others"


def test_a_home_in_use_is_not_replaced(home: Home, tmp_path: Path) -> None:
    archive = backed_up(home, tmp_path)
    with home.locked(), pytest.raises(HomeError, match=r"another node \(pid \d+\) runs on"):
        restore_backup(home, archive, replace=True)


Change = Callable[[dict[str, Any], list[tuple[tarfile.TarInfo, bytes]]], None]


def forged(archive: Path, change: Change) -> None:
    """Write a backup anew, with its manifest and its members changed."""
    with tarfile.open(archive) as tar:
        members = [(member, tar.extractfile(member)) for member in tar]
        (_, head), *files = [(member, b"" if file is None else file.read()) for member, file in members]
    manifest = json.loads(head)
    change(manifest, files)
    text = json.dumps(manifest).encode()
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for member, data in ((tarfile.TarInfo(MANIFEST_NAME), text), *files):
            if member.isreg():
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    whole = gzip.decompress(archive.read_bytes())
    archive.write_bytes(
        gzip.compress(
            whole.rstrip(b"\0").ljust(-(-len(whole.rstrip(b"\0")) // 512) * 512, b"\0") + bytes(1024)
        )
    )


def named(name: str) -> Change:
    """A backup with one more file, of any name."""

    def change(manifest: dict[str, Any], files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        manifest["files"].append({"name": name, "bytes": 4, "sha256": hashlib.sha256(b"evil").hexdigest()})
        files.append((tarfile.TarInfo(name), b"evil"))

    return change


def of_kind(kind: bytes, target: str = "") -> Change:
    """A backup in which the first file is of another kind."""

    def change(_: dict[str, Any], files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member, data = files[0]
        member.type, member.linkname = kind, target
        files[0] = member, data

    return change


def says(**values: Any) -> Change:
    """A backup with another head."""
    return lambda manifest, _: manifest.update(values)


def says_of_a_file(**values: Any) -> Change:
    return lambda manifest, _: manifest["files"][0].update(values)


def other_content(_: dict[str, Any], files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    member, data = files[-1]
    files[-1] = member, data[:-1] + b"?"


def one_more(_: dict[str, Any], files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    files.append((tarfile.TarInfo("more"), b""))


def other_database(*statements: str) -> Change:
    def change(manifest: dict[str, Any], files: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        with closing(sqlite3.connect(":memory:")) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()
            data = database.serialize() if statements else b"nonsense" * 1000
        for number, (member, _) in enumerate(files):
            if member.name == "state.sqlite":
                files[number] = member, data
                digest = hashlib.sha256(data).hexdigest()
                manifest["files"][number].update(bytes=len(data), sha256=digest)

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (named("../evil"), "which no backup has"),
        (named("/etc/evil"), "which no backup has"),
        (named("lock"), "which no backup has"),
        (named("control.sock"), "which no backup has"),
        (named("logs/node.jsonl"), "which no backup has"),
        (named("compiled/x"), "which no backup has"),
        (named("state.sqlite-wal"), "which no backup has"),
        (named(f"packages/{HASH}"), "which no backup has"),
        (named("packages/short/file"), "which no backup has"),
        (named(f"packages/{HASH}/../../evil"), "which no backup has"),
        (named(".bashrc"), "which no backup has"),
        (named("LOCK"), "which no backup has"),
        (named("bin/evil"), "which no backup has"),
        (named("node.ed25519 "), "which no backup has"),
        (named("pem"), "which no backup has"),
        (says(secrets=False), "says that it has no secrets"),
        (named("a\x1b[2Jb"), "which no backup has"),
        (named("node.name"), "twice"),
        (named(f"packages/{HASH}/package.toml/file"), "as a file and as a folder"),
        (of_kind(tarfile.SYMTYPE, "/etc/passwd"), "is no plain file"),
        (of_kind(tarfile.LNKTYPE, "/etc/passwd"), "is no plain file"),
        (of_kind(tarfile.FIFOTYPE), "is no plain file"),
        (of_kind(tarfile.CHRTYPE), "is no plain file"),
        (of_kind(tarfile.DIRTYPE), "is no plain file"),
        (of_kind(tarfile.GNUTYPE_SPARSE), "is no plain file"),
        (of_kind(tarfile.XHDTYPE), "is no plain file"),
        (of_kind(tarfile.GNUTYPE_LONGNAME), "is damaged"),
        (other_content, "is not what it was"),
        (one_more, "has more files than it says"),
        (lambda _, files: files.reverse(), "where .* should be"),
        (lambda _, files: files.pop(), "is no tar archive there"),
        (says_of_a_file(bytes=2**50), "has .* bytes, not"),
        (says_of_a_file(bytes=-1), "says nonsense"),
        (says_of_a_file(bytes=10**30), "says nonsense"),
        (says_of_a_file(sha256="x"), "says nonsense"),
        (says_of_a_file(mode=0o4755), "is not a backup"),
        (says(files=[[]]), "is not a backup"),
        (says(format=2), "restore it with that version or a later one"),
        (says(guesthouse="99.0.0"), "restore it with that version or a later one"),
        (says(schema=SCHEMA_VERSION + 1), "restore it with that version or a later one"),
        (other_database(), "cannot be opened"),
        (other_database(f"PRAGMA user_version = {SCHEMA_VERSION + 1}", "CREATE TABLE t (a)"), "has schema"),
    ],
)
def test_a_hostile_backup_is_refused_and_writes_nothing(
    home: Home, tmp_path: Path, change: Change, said: str
) -> None:
    archive = backed_up(home, tmp_path)
    forged(archive, change)
    for target, replace in ((tmp_path / "new", False), (home.path, True)):
        before = content(home)
        with pytest.raises(BackupError, match=said) as refused:
            restore_backup(Home(target), archive, replace=replace)
        assert "\x1b" not in str(refused.value)
        assert content(home) == before
        left = [path.name for path in target.iterdir()] if (tmp_path / "new").exists() else []
        assert set(left) <= {"lock", *(path.name for path in home.path.iterdir())}
    assert not (tmp_path / "evil").exists()


def test_an_archive_that_is_forged_to_the_same_is_restored(home: Home, tmp_path: Path) -> None:
    """So it is for what they change that those above are refused."""
    archive = backed_up(home, tmp_path)
    forged(archive, lambda manifest, files: None)
    restore_backup(Home(tmp_path / "new"), archive, replace=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        lambda: b"",
        lambda: b"nonsense",
        lambda: gzip.compress(b""),
        lambda: gzip.compress(b"nonsense"),
        lambda: gzip.compress(bytes(100_000_000)),
    ],
    ids=["empty", "text", "of nothing", "of text", "of zeros"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, made: Callable[[], bytes]) -> None:
    archive = tmp_path / "file"
    archive.write_bytes(made())
    with pytest.raises(BackupError, match="is damaged, or no backup"):
        checked(archive)


@pytest.mark.slow
def test_an_archive_is_refused_wherever_it_is_cut_off_and_whatever_byte_is_another(
    home: Home, tmp_path: Path
) -> None:
    archive = backed_up(home, tmp_path)
    whole, manifest = archive.read_bytes(), checked(archive)
    for place in range(10, len(whole), max(1, len(whole) // 200)):
        archive.write_bytes(whole[:place])
        with pytest.raises(BackupError):
            checked(archive)
        archive.write_bytes(whole[:place] + bytes((whole[place] ^ 0x20,)) + whole[place + 1 :])
        with contextlib.suppress(BackupError):
            assert checked(archive) == manifest, "deflate has several ways to say the same"


def test_a_manifest_that_is_a_bomb_is_refused_by_its_size(tmp_path: Path) -> None:
    header = tarfile.TarInfo(MANIFEST_NAME)
    header.size = 2**40
    archive = tmp_path / "bomb.tar.gz"
    archive.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1_000_000)))
    with pytest.raises(BackupError, match=r"backup.json has over \d+ bytes"):
        checked(archive)


def test_a_disk_without_room_is_noticed_before_anything_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = backed_up(home, tmp_path)
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: full)
    with pytest.raises(BackupError, match="has room for 1000"):
        restore_backup(home, archive, replace=True)
    assert (home.path / "notes").exists()


def killed(code: str, *arguments: str | Path) -> None:
    """Run a program that kills itself."""
    begin = "import os, signal, sys\nfrom pathlib import Path\nfrom guesthouse.core.home import Home\n"
    begin += "from guesthouse.node.backup import backup, restore\n"
    begin += "def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)\n"
    ran = subprocess.run([sys.executable, "-c", begin + code, *map(str, arguments)], check=False)
    assert ran.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("at", ["write_end", "_hashed", "written"])
def test_a_backup_that_is_killed_leaves_the_archive_before_and_is_cleaned_up(
    home: Home, tmp_path: Path, at: str
) -> None:
    archive = backed_up(home, tmp_path)
    before = archive.read_bytes()
    code = f"backup.{at} = die\n"
    code += "backup.make_backup(Home(Path(sys.argv[1])), Path(sys.argv[2]), secrets=True, replace=True)"
    killed(code, home.path, archive)
    assert archive.read_bytes() == before
    backed_up(home, tmp_path, replace=True)
    assert not list(tmp_path.glob(".guesthouse-backup-*"))


@pytest.mark.slow
@pytest.mark.parametrize("at", ["_check_database", "_remove", "_move"])
def test_a_restore_that_is_killed_leaves_the_home_before_or_one_that_has_to_be_restored(
    home: Home, tmp_path: Path, at: str
) -> None:
    archive = backed_up(home, tmp_path)
    (home.path / "token.secret").write_text("of before")
    before = content(home)
    code = f"restore.{at} = die\nrestore.restore_backup(Home(Path(sys.argv[1])), Path(sys.argv[2]), replace=True)"
    killed(code, home.path, archive)
    if at == "_check_database":
        now = content(home)
        assert {name: now[name] for name in before} == before
        with home.locked():
            pass
    else:
        with pytest.raises(HomeError, match="was cut off"), home.locked():
            pass
        with pytest.raises(HomeError, match="was cut off"):
            backed_up(home, tmp_path, replace=True)
    restore_backup(home, archive, replace=at == "_check_database")
    assert (home.path / "token.secret").read_bytes() == SECRETS["token.secret"]
    assert not list(home.path.glob(".*"))
    with home.locked():
        pass


def test_packages_that_change_meanwhile_are_copied_again(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "c" * 64
    hashed = backup_module._hashed
    changed = False

    def install_meanwhile(source: Any) -> Any:
        nonlocal changed
        if not changed:
            changed = True
            (home.unpacked / HASH).rename(home.unpacked / other)
            write_installed(home.path, Installed().with_version("kept:test.os", Version("2.0.0", other)))
        return hashed(source)

    monkeypatch.setattr(backup_module, "_hashed", install_meanwhile)
    archive = backed_up(home, tmp_path)
    names = {file.name for file in checked(archive).files}
    assert f"packages/{other}/package.toml" in names
    assert not any(HASH in name for name in names)


def test_only_paths_of_a_home_are_paths_of_a_backup() -> None:
    for name in ("tls/cert.pem", f"packages/{HASH}/a/b", "guesthouse.toml"):
        assert str(path_in_home(name)) == name
    for name in ("", ".", "..", "packages", "compiled.key", "state.sqlite-shm", ".lock.x", "a//b", "a/../b"):
        assert path_in_home(name) is None, name


def test_no_descriptor_stays_open(home: Home, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    restore_backup(Home(tmp_path / "new"), backed_up(home, tmp_path), replace=False)
    assert len(os.listdir("/proc/self/fd")) == before
