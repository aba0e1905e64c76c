"""Makes a node's home with something of everything that a node keeps, for later versions to open: see README.md here.

    PYTHON make.py ARCHIVE

PYTHON is an interpreter that has the version of Guesthouse installed whose home it is to be. Nothing but its command
line is used, so this works for every version. What was stored is written down in `made.json` beside the home.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

GUESTS: Final = Path(__file__).parents[1] / "guests"
NODE: Final = "old-home.os"
PASSWORD: Final = "correct horse battery staple"
TEN_YEARS: Final = 10 * 365 * 24 * 3600
A_YEAR: Final = 365 * 24 * 3600
KEPT, PEER, GONE, COUNTER = "kept:test.os", "peer:test.os", "gone:test.os", "versions:test.os"
A, B, CHILD, P, G = f"a:{KEPT}", f"b:{KEPT}", f"child:{KEPT}", f"p:{PEER}", f"g:{GONE}"
SETTINGS: Final = f'node = "{NODE}"\n\n[process]\nkv_bytes = 1048576\n'
FILES: Final = {
    "text.txt": b"plain text\n",
    "empty": b"",
    "folder/within/binary": bytes(range(256)) * 16,
    "folder/b\u00fccher.txt": "Z\u00fcrich\n".encode(),
}
VALUES: Final = {"plain": b"plain text", "binary": bytes(range(256)) * 4}
_READY: Final = re.compile(r"ready (https?://\S+) node=(\S+)\n")
_SKIPPED: Final = ("compiled", "control.sock", "lock")
"""What a node makes again. The key of compiled components (`compiled.key`) is kept."""


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _process(name: str, *more: str) -> str:
    build = '[process.build]\nlanguage = "c"\nsource = "src/puppet.c"\n'
    lines = (f'name = "{name}"', 'wasm = "build/puppet.wasm"', 'on-exit = "restart"', *more)
    return "\n".join(("[[process]]", *lines, "", build))


def _manifest(package: str, *processes: str) -> str:
    name, publisher = package.split(":")
    head = f'[package]\nname = "{name}"\npublisher = "{publisher}"\nversion = "1.0.0"\n'
    return "\n".join((head, *processes))


MANIFESTS: Final = {
    KEPT: _manifest(
        KEPT,
        _process(
            "a",
            'request-capabilities = ["kv:distro:sys", "timer:distro:sys", "vfs:distro:sys", '
            '{ process = "kernel:distro:sys", params = "spawn" }]',
        ),
        _process("b", "public = true"),
    ),
    PEER: _manifest(PEER, _process("p", f'grant-capabilities = ["{A}", "{G}"]')),
    GONE: _manifest(
        GONE,
        _process(
            "g",
            'request-capabilities = ["kv:distro:sys", "vfs:distro:sys"]',
            f'grant-capabilities = ["{A}"]',
        ),
    ),
}


class Maker:
    """A folder with a home in it, `guesthouse` commands on it, and the packages that go there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.url = ""

    def run(self, command: str, *arguments: str | Path, stdin: str = "") -> str:
        """Run a command on the home, and return what it prints."""
        return self._command(command, "--home", self.home, *arguments, stdin=stdin)

    def _command(self, *arguments: str | Path, stdin: str = "") -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "guesthouse", *map(str, arguments)],
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=self._environment,
        )
        return ran.stdout.rstrip("\n")

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GUESTHOUSE_")}
        return {**kept, "HOME": str(self.folder)}

    @contextmanager
    def node(self) -> Iterator[None]:
        """A node on the home, which is stopped cleanly at the end."""
        arguments = ("run", "--home", str(self.home), "--port", "0", "--workers", "1")
        with (self.folder / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "guesthouse", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=self._environment,
            )
        try:
            assert process.stdout is not None
            ready = _READY.fullmatch(process.stdout.readline())
            assert ready is not None, (self.folder / "stderr").read_text()
            assert ready[2] == NODE
            self.url = ready[1]
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait()
        assert code == 0, (self.folder / "stderr").read_text()

    def package(self, package: str) -> Path:
        """Build one of the packages of puppets."""
        source = self.folder / "sources" / package.partition(":")[0]
        shutil.copytree(GUESTS / "puppet", source, ignore=shutil.ignore_patterns("build"))
        (source / "package.toml").write_text(MANIFESTS[package])
        return self._built(source)

    def counter(self, number: int) -> Path:
        """Build a version of the package that has two."""
        source = self.folder / "sources" / f"versions-{number}"
        shutil.copytree(GUESTS / "versions", source, ignore=shutil.ignore_patterns("build"))
        for file, old, new in (
            ("src/versions.c", "#define VERSION 1", f"#define VERSION {number}"),
            ("package.toml", 'version = "0.1.0"', f'version = "0.{number}.0"'),
        ):
            text = (source / file).read_text()
            assert old in text
            (source / file).write_text(text.replace(old, new))
        return self._built(source)

    def _built(self, source: Path) -> Path:
        archive = source.with_suffix(".zip")
        self._command("build", source, "-o", archive)
        return archive

    def install(self, archive: Path) -> None:
        """Install a package, with consent where the version asks for it."""
        consent = ("--yes",) if "--yes" in self._command("install", "--help") else ()
        self.run("install", archive, *consent)

    def ask(self, process: str, body: str, expected: str) -> None:
        """Have a puppet do something, and see that it could."""
        answer = self.run("send", process, body, "--await", "20")
        assert answer == expected, f"{process} was told {body!r}, and answered {answer!r}"

    def module(self, name: str, request: Any, process: str = A) -> None:
        """Have a puppet ask a runtime module."""
        self.ask(process, f"ask {name}:distro:sys 20 {_compact(request)}", '"Ok"')

    def write(self, name: str, request: Any, blob: bytes, read: Any, process: str = A) -> None:
        """Have a puppet hand on a blob of any bytes to a runtime module, and see that it is there."""
        (self.folder / "blob").write_bytes(blob)
        self.run(
            "send", process, f"forward {name}:distro:sys {_compact(request)}", "--blob", self.folder / "blob"
        )
        asked = f"ask {name}:distro:sys 20 {_compact(read)}"
        answer = json.loads(self.run("send", process, asked, "--await", "20", "--json"))
        assert answer["blob"] is not None, f"{process} wrote by {request}, and read {answer}"
        assert base64.b64decode(answer["blob"]["bytes_base64"]) == blob

    def file(self, path: str, content: bytes, process: str = A) -> None:
        """Have a puppet write a file in a drive of its package."""
        where = f"/{process.partition(':')[2]}/drive/{path}"
        self.write(
            "vfs", {"path": where, "action": "Write"}, content, {"path": where, "action": "Read"}, process
        )

    def value(self, key: str, value: bytes, process: str = A, **more: int) -> None:
        """Have a puppet store a value in `kv`."""
        stored = {"db": "d", "action": {"Set": {"key": key, **more}}}
        self.write("kv", stored, value, {"db": "d", "action": {"Get": {"key": key}}}, process)

    def login(self) -> str:
        """Log in with the password, and return the cookie's token."""
        body = json.dumps({"password_hash": hashlib.sha256(PASSWORD.encode()).hexdigest(), "subdomain": None})
        response = self._http("POST", "/login", body)
        assert response.status == 200, response.status
        cookies = SimpleCookie("; ".join(response.headers.get_all("Set-Cookie") or ()))
        return cookies[f"kinode-auth_{NODE}"].value

    def public_key(self) -> str:
        """The key by which clients know the node."""
        key: str = json.loads(self._http("GET", "/encryptor:distro:sys").read())["public_key_hex"]
        return key

    def _http(self, method: str, path: str, body: str | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return connection.getresponse()


def store(maker: Maker) -> None:
    """Have processes store something of everything."""
    maker.ask(A, "set state of a", "0")
    maker.ask(B, "set state of b", "0")
    for key, value in VALUES.items():
        maker.value(key, value)
    maker.value("expires", b"in time", ttl=100 * A_YEAR)
    for path, content in FILES.items():
        maker.file(path, content)
    maker.module("vfs", {"path": f"/{KEPT}/drive/empty-folder", "action": "CreateDir"})
    for name in ("soon", "later"):
        maker.module("timer", {"Set": {"id": name, "milliseconds": 1000 * A_YEAR}})
    maker.ask(A, f'give {P} {A} "messaging"', "given")
    maker.ask(P, f"ask {A} 20 say handed", "handed")
    maker.ask(A, f'give {B} {A} {{"shelf":1}}', "given")
    maker.ask(B, 'drop http-server:distro:sys "messaging"', "dropped")
    maker.ask(A, f'raise child /build/puppet.wasm {P} kv:distro:sys "messaging"', "child")
    maker.ask(CHILD, "set state of child", "0")
    maker.ask(P, f"ask {CHILD} 20 say granted", "granted")
    maker.ask(G, "set state of g", "0")
    maker.value("k", b"value of g", G)
    maker.file("file", b"file of g", G)
    maker.ask(A, f'give {G} {A} "messaging"', "given")
    maker.ask(G, f"ask {A} 20 say handed", "handed")
    maker.ask(G, f'give {P} {G} "key"', "given")
    maker.ask(P, "say ready", "ready")


def make(folder: Path) -> dict[str, Any]:
    """Make `home` in a folder, and return what is in it."""
    maker = Maker(folder)
    maker.run("passwd", stdin=f"{PASSWORD}\n")
    (maker.home / "guesthouse.toml").write_text(SETTINGS)
    maker.install(maker.counter(1))
    with maker.node():
        for archive in (maker.package(KEPT), maker.package(PEER), maker.counter(2)):
            maker.install(archive)
        gone = maker.package(GONE).rename(folder / "gone.zip")
        maker.install(gone)
        store(maker)
        maker.run("uninstall", GONE)
        ttl = ("--ttl", str(TEN_YEARS))
        tokens = {
            "whole": maker.run("token", *ttl),
            "scoped": maker.run("token", *ttl, "--process", f"versions:{COUNTER}", "--channels", "1"),
            "revoked": maker.run("token", *ttl),
        }
        maker.run("revoke", tokens["revoked"])
        session, key = maker.login(), maker.public_key()
    assert not (maker.home / "state.sqlite-wal").exists(), "the node did not close its database"
    return {
        "node": NODE,
        "password": PASSWORD,
        "public_key": key,
        "tokens": tokens,
        "session": session,
        "values": {key: base64.b64encode(value).decode() for key, value in VALUES.items()},
        "files": {path: base64.b64encode(content).decode() for path, content in FILES.items()},
    }


def pack(folder: Path, archive: Path) -> None:
    """Pack what was made: the same bytes of the same content, with modes."""

    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if member.name in [f"home/{name}" for name in _SKIPPED]:
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = 0
        return member

    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in ("gone.zip", "home", "made.json"):  # `add` sorts what is in a folder
            tar.add(folder / name, name, filter=kept)


def main(archive: Path) -> None:
    """Make a home, and pack it."""
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="home-") as folder:
        made = make(Path(folder))
        (Path(folder) / "made.json").write_text(json.dumps(made, indent=2, sort_keys=True) + "\n")
        pack(Path(folder), archive)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
