"""How a package differs from the version that is installed, and whether the operator consents to that. Blocking I/O."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from guesthouse.core.config import PackageLimits, Settings
from guesthouse.core.home import Home
from guesthouse.node.package_hosts import NeedsConsent, had_host_of
from guesthouse.package.consent import Changes, changes
from guesthouse.package.errors import PackageError
from guesthouse.package.spec import Package
from guesthouse.package.store.installed import Version, read_installed
from guesthouse.package.store.stage import staged

Consent: TypeAlias = str | bool | None
"""To what a package asks for: the hash of the one that was shown, True for whatever it is, False for nothing, not
even a package that asks for nothing.
"""


def consented(home: Home, settings: Settings, package: Package, consent: Consent) -> Changes:
    """What a package asks for beyond the version that is installed, if that is consented to.

    Raises:
        NeedsConsent: it asks for more, and is not; or there is no consent to anything.
    """
    asked = compared(home, settings, package)
    if consent is False or (asked.more and consent is not True and consent != package.source.name):
        raise NeedsConsent(package, asked)
    return asked


def compared(home: Home, settings: Settings, package: Package) -> Changes:
    """How a package differs from the version that is installed, and whether it gets another's host."""
    installed = read_installed(home.path)
    item = installed.packages.get(package.id)
    if item is None:
        had = had_host_of(package.id, installed.gone)
        asked = changes(None, package, settings.process.state_bytes)
        return asked if had is None else asked.with_host_of(package.id, had)
    before = known_version(item.current, settings.package, home.unpacked)
    return changes(before, package, settings.process.state_bytes)


def known_version(version: Version, limits: PackageLimits, unpacked: Path) -> Package | None:
    try:
        return staged(version.hash, limits, unpacked)
    except PackageError:
        return None  # it is gone: whatever comes in its place is judged as if it were new


def nothing_of(package_id: str) -> PackageError:
    return PackageError(
        f"{package_id} is not installed, and nothing that it stored is kept: "
        "`guesthouse packages` lists what is installed"
    )
