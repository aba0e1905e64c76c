"""Which package is served on which host, whoever brings it: `install`, `run`, or `run --dev` with a changed manifest.

No two packages have one host, and none gets the one that another had, with what browsers keep of it, without the
operator's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from guesthouse.core.errors import GuesthouseError
from guesthouse.http_server.routing.subdomains import label_of, with_label_of
from guesthouse.package.consent import Changes
from guesthouse.package.errors import PackageError
from guesthouse.package.spec import Package
from guesthouse.package.store.installed import read_installed, write_installed


class NeedsConsent(GuesthouseError):
    """A package asks for more than the version that is installed: its operator is to say that it may have it."""

    def __init__(self, package: Package, asked: Changes) -> None:
        texts = "; ".join(map(str, asked.more))
        super().__init__(
            f"{package.id} {package.version} asks for more ({texts}): if it may have it, give --yes"
        )
        self.hash = package.source.name
        self.item = {"package": package.id, "version": package.version, "hash": self.hash} | asked.as_json()


def refuse_same_host(package_id: str, others: Iterable[str]) -> None:
    """See to it that no two packages are served on one host: what a browser keeps of it is for one of them.

    Raises:
        PackageError: another package's name makes the same label.
    """
    other = with_label_of(package_id, sorted(others))
    if other is not None:
        raise PackageError(
            f"{package_id} would be served on the host of {other}, {label_of(package_id)}: "
            "uninstall that, or give this one another name"
        )


def had_host_of(package_id: str, gone: Sequence[str]) -> str | None:
    """Which of some packages that are gone, the latest last, was the last on the host of a package; None when that was
    the package itself, or nobody was.
    """
    label = label_of(package_id)
    last = next((other for other in reversed(gone) if label_of(other) == label), package_id)
    return None if last == package_id else last


def take_hosts(home: Path, packages: Sequence[Package], running: Iterable[str], *, consent: bool) -> None:
    """Let packages that are run as they were named have their hosts, and remember that they had them. Blocks on the
    file system.

    Args:
        home: the node's.
        packages: those.
        running: the ids of others that run.
        consent: whether they may get the hosts of packages that are gone.

    Raises:
        NeedsConsent: one would get the host of a package that is gone, and there is no consent to that.
        PackageError: one would be served on the host of another that is installed or runs.
    """
    installed = before = read_installed(home)
    others = {*running, *installed.packages, *(package.id for package in packages)}
    for package in packages:
        refuse_same_host(package.id, others)
        had = had_host_of(package.id, installed.gone)
        if had is not None and not consent:
            raise NeedsConsent(package, Changes((), ()).with_host_of(package.id, had))
        if package.id not in installed.packages:  # what is installed is remembered when it is uninstalled
            installed = installed.with_gone(package.id)
    if installed != before:
        write_installed(home, installed)
