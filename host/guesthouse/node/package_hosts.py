"""Which package is served on which host, for `install`, `run`, and `run --dev` with a changed manifest.

No two packages share a host, and none gets another's former host, with what browsers keep for it, without the
operator's consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from guesthouse.core.errors import GuesthouseError
from guesthouse.http_server.routing.subdomains import label_of, same_label
from guesthouse.package.consent import Changes
from guesthouse.package.errors import PackageError
from guesthouse.package.spec import Package
from guesthouse.package.store.installed import read_installed, write_installed


class NeedsConsent(GuesthouseError):
    """A package asks for more than the installed version, and the operator has not consented."""

    def __init__(self, package: Package, asked: Changes) -> None:
        texts = "; ".join(map(str, asked.more))
        super().__init__(f"{package.id} {package.version} asks for more ({texts}): grant it with --yes")
        self.hash = package.source.name
        self.item = {"package": package.id, "version": package.version, "hash": self.hash} | asked.as_json()


def refuse_same_host(package_ids: Iterable[str], others: Iterable[str]) -> None:
    """Check that no two packages are served on one host, where browsers would mix their data.

    Args:
        package_ids: the packages that are to be served.
        others: what is served besides; these may be among them.

    Raises:
        PackageError: another package's name makes the same label.
    """
    found = same_label(package_ids, sorted(others))
    if found is not None:
        package_id, other = found
        raise PackageError(
            f"{package_id} would be served on the host of {other}, {label_of(package_id)}: "
            "uninstall that, or rename this one"
        )


def had_host_of(package_id: str, gone: Sequence[str]) -> str | None:
    """The last of some uninstalled packages (oldest first) that had the host of this one; None if that was
    the package itself, or there is none.
    """
    label = label_of(package_id)
    last = next((other for other in reversed(gone) if label_of(other) == label), package_id)
    return None if last == package_id else last


def take_hosts(home: Path, packages: Sequence[Package], running: Iterable[str], *, consent: bool) -> None:
    """Assign hosts to packages named to `run`, and record that they had them. Blocks on the file system.

    Args:
        home: the node's home.
        packages: the packages.
        running: the ids of other packages that run.
        consent: whether they may get the hosts of uninstalled packages.

    Raises:
        NeedsConsent: one would get the host of an uninstalled package, without consent.
        PackageError: one would be served on the host of another that is installed or running.
    """
    installed = before = read_installed(home)
    ids = dict.fromkeys(package.id for package in packages)
    refuse_same_host(ids, {*running, *installed.packages, *ids})
    latest = {label_of(gone): gone for gone in installed.gone}
    for package in packages:
        had = latest.get(label_of(package.id), package.id)
        if had != package.id and not consent:
            raise NeedsConsent(package, Changes((), ()).with_host_of(package.id, had))
    # An installed one is recorded when it is uninstalled.
    installed = installed.with_gone(
        *(package_id for package_id in ids if package_id not in installed.packages)
    )
    if installed != before:
        write_installed(home, installed)
