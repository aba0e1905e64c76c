"""Both commands of the README on a fresh Debian, from nothing: `python -m tests.fresh [RELEASE]… [-- PYTEST_ARG…]`.

For each release debootstrap puts a minimal Debian into a folder. There the script installs what the README asks for,
copies the files of this repository, and runs `make run` until the node answers, and then `make test`, as root of the
folder. It needs root, debootstrap and some 5 GB of disk for each release, and takes an hour or more; where it cannot
run it says why and exits with 0.

Everything happens in namespaces of its own (`unshare`): when it ends, however it ends, the kernel ends every subprocess
and takes every mount away. What this machine needs to reach Debian, PyPI and npm comes along: the mirror and proxies of
its apt, the configuration of its pip and npm, and the certificates that its environment names.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.fresh.inside import PROJECT

ROOT: Final = Path(__file__).parents[2]
RELEASES: Final = ("bookworm", "trixie")
NEEDED: Final = ("make", "python3")
"""What the README asks for."""

_ALONE: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_TOOLS: Final = ("debootstrap", "unshare", "chroot", "mount", "git")
_FORWARDED: Final = ("PIP_", "NPM_CONFIG_", "npm_config_")
_FORWARDED_NAMES: Final = frozenset(
    (
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    )
)
_CERTIFICATE: Final = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_MOUNTS: Final = """
set -e
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/tmp"
shift
exec "$@"
"""


class Unusable(Exception):
    """This machine cannot do it: why."""


def main(arguments: Sequence[str]) -> int:
    """Try each release; returns the exit code."""
    options, pytest_args = _options(arguments)
    try:
        _check_machine()
    except Unusable as why:
        print(f"skipped: {why}", flush=True)
        return 0
    failed = []
    for release in options.releases:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"fresh-{release}-", dir=options.folder) as folder:
            os.chmod(folder, 0o755)  # noqa: S103 - apt downloads as a user of its own
            code = _try(release, Path(folder), pytest_args, run_only=options.run_only)
        print(
            f"== {release}: {'failed' if code else 'passed'} in {time.monotonic() - began:.0f} s", flush=True
        )
        failed += [release] if code else []
    return 1 if failed else 0


def _options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and what comes after `--`: pytest's."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(prog="python -m tests.fresh", description=__doc__.splitlines()[0])
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="[default: bookworm trixie]")
    parser.add_argument("--folder", help="where there is room [default: the folder for temporary files]")
    parser.add_argument("--run-only", action="store_true", help="leave out `make test`")
    options = parser.parse_args(arguments[:at])
    options.releases = options.releases or list(RELEASES)
    return options, list(arguments[at + 1 :])


def _check_machine() -> None:
    """Raises:
    Unusable: something is missing.
    """
    if os.geteuid() != 0:
        raise Unusable("debootstrap and chroot need root")
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_path()) is None]
    if missing:
        raise Unusable(f"{', '.join(missing)} is not installed")
    tried = subprocess.run([*_ALONE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
    if tried.returncode:
        raise Unusable(f"nothing can be mounted here: {tried.stderr.strip()}")


def _try(release: str, folder: Path, pytest_args: Sequence[str], *, run_only: bool) -> int:
    """Run both commands on a release; returns the exit code of what failed first."""
    print(f"== {release}: debootstrap", flush=True)
    debootstrap = ["debootstrap", "--variant=minbase", release, str(folder), *_mirror()]
    if code := _run([*_ALONE, *debootstrap], quiet=True):
        return code
    _copy_project(folder / PROJECT.relative_to("/"))
    _copy_configuration(folder)
    environment = {**_forwarded(), "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root", "LANG": "C.UTF-8"}
    steps = [
        ("apt-get update -qq", ("apt-get", "update", "-qq")),
        ("apt-get install", ("apt-get", "install", "-qq", "--no-install-recommends", *NEEDED)),
        ("make run", ("python3", "-m", "tests.fresh.inside")),
    ]
    if not run_only:
        given = [f"PYTEST_ARGS={shlex.join(pytest_args)}"] if pytest_args else []
        steps.append((shlex.join(["make", "test", *given]), ("make", "test", *given)))
    for title, command in steps:
        print(f"== {release}: {title}", flush=True)
        inner = ["chroot", str(folder), "env", "-i", "-C", str(PROJECT)]
        inner += [f"{name}={value}" for name, value in (environment | {"PATH": _path()}).items()]
        if code := _run([*_ALONE, "sh", "-c", _MOUNTS, "mounts", str(folder), *inner, *command]):
            return code
    return 0


def _run(command: Sequence[str], *, quiet: bool = False) -> int:
    """Run a command in namespaces that end with it."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": _path()},
    )
    try:
        said, _ = process.communicate()
    finally:
        process.kill()  # `unshare --kill-child` takes the namespaces along
        process.wait()
    if quiet and process.returncode:
        sys.stdout.buffer.write(said[-4096:])
    return process.returncode


def _path() -> str:
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _mirror() -> list[str]:
    """The mirror that this machine's apt uses; debootstrap's own, where there is none."""
    listed = _output("apt-get", "indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages")
    mirrors = [
        uri for label, _, uri in (line.partition("|") for line in listed.splitlines()) if label == "Debian"
    ]
    return mirrors[:1]


def _copy_project(target: Path) -> None:
    """The files that git knows, as they stand here."""
    target.mkdir(parents=True)
    listed = _output(
        "git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def _copy_configuration(root: Path) -> None:
    """How this machine reaches Debian, PyPI and npm."""
    for source in _configuration():
        if source.is_dir():
            shutil.copytree(
                source, root / source.relative_to("/"), dirs_exist_ok=True, ignore_dangling_symlinks=True
            )
        elif source.is_file():
            (root / source.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / source.relative_to("/"))
    _trust(root)
    kept = [line for line in _output("apt-config", "dump").splitlines() if line.startswith("Acquire::http")]
    (root / "etc/apt/apt.conf.d/80machine").write_text("".join(f"{line}\n" for line in kept))
    # npm and pip look for those of the user in the home.
    for name in (".npmrc", ".config/pip/pip.conf", ".pip/pip.conf"):
        if (source := Path.home() / name).is_file():
            (root / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, root / "root" / name)


def _trust(root: Path) -> None:
    """What this machine trusts besides. Debian's package of certificates takes it into the bundle that it writes."""
    bundles = {path for path in _configuration() if path.is_file() and path.suffix in (".crt", ".pem")}
    certificates = {found for path in bundles for found in _CERTIFICATE.findall(path.read_text())}
    folder = root / "usr/local/share/ca-certificates"
    folder.mkdir(parents=True, exist_ok=True)
    for number, certificate in enumerate(sorted(certificates)):
        (folder / f"machine-{number}.crt").write_text(certificate + "\n")


def _configuration() -> Iterator[Path]:
    yield from (Path("/etc/resolv.conf"), Path("/etc/hosts"), Path("/etc/pip.conf"))
    for value in _forwarded().values():
        for part in value.split():
            if part.startswith("/") and Path(part).exists():
                yield Path(part).resolve() if Path(part).is_dir() else Path(part)


def _forwarded() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_FORWARDED) or name in _FORWARDED_NAMES or name.lower() in _FORWARDED_NAMES
    }


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
