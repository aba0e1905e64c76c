"""Installs packages, upgrades them and takes them back in a home on which no node runs, for the next one that does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from guesthouse.core.config import Settings
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.home import Home
from guesthouse.kernel.supervision.purge import keeps_without_node
from guesthouse.node.package_changes import Consent, compared, consented, known_version, nothing_of
from guesthouse.node.package_hosts import refuse_same_host
from guesthouse.node.package_listing import described, rights_of
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.spec import Package
from guesthouse.package.store.installed import Installed, Version, read_installed, write_installed
from guesthouse.package.store.stage import prune, stage, staged


def install_without_node(
    home: Home, settings: Settings, argument: str, consent: Consent = None
) -> dict[str, Any]:
    """Install a package for the next start of the node.

    Raises:
        NeedsConsent: it asks for more than the version before, and there is no consent to that.
        HomeError: a node runs there after all.
        GuesthouseError: the package is refused.
    """
    home.prepare()
    with home.locked():
        package = stage(argument, settings.package, home.unpacked)
        try:
            refuse_same_host((package.id,), read_installed(home.path).packages)
            asked = consented(home, settings, package, consent)
            asyncio.run(_compile(package, home, settings))
        except GuesthouseError:
            tidy(home)
            raise
        version = Version(package.version, package.source.name)
        item = _changed(home, package, lambda now: now.with_version(package.id, version))
        return item | asked.as_json()


def roll_back_without_node(home: Home, settings: Settings, package_id: str) -> dict[str, Any]:
    """Return to a package's previous version at the next start of the node.

    Raises:
        HomeError: a node runs there after all.
        GuesthouseError: there is none.
    """
    home.prepare()
    with home.locked():
        wanted = read_installed(home.path).rolled_back(package_id).get(package_id).current
        package = staged(wanted.hash, settings.package, home.unpacked)
        asked = compared(home, settings, package)
        return _changed(home, package, lambda now: now.rolled_back(package_id)) | asked.as_json()


def uninstall_without_node(home: Home, package_id: str, *, drop_state: bool) -> None:
    """Uninstall a package; its state, if it is to go, goes at the next start of the node, also when it is uninstalled
    already.

    Raises:
        HomeError: a node runs there after all.
        GuesthouseError: it is not installed; with `drop_state`, nothing is kept of it either.
    """
    home.prepare()
    with home.locked():
        before = read_installed(home.path)
        if drop_state and package_id not in before.packages:
            if package_id not in before.to_drop and not keeps_without_node(home.state, package_id):
                raise nothing_of(package_id)
            write_installed(home.path, before.purging_left(package_id))
            return
        write_installed(home.path, before.without(package_id, purge=drop_state))
        tidy(home)


def listed_without_node(home: Home, settings: Settings) -> list[dict[str, Any]]:
    """Each package that is installed."""
    installed = read_installed(home.path).packages
    return [
        described(package_id, item, None, home.unpacked)
        | rights_of(known_version(item.current, settings.package, home.unpacked), installed=True)
        for package_id, item in sorted(installed.items())
    ]


def tidy(home: Home) -> None:
    """Remove unpacked packages that nothing needs. No node runs on the home."""
    prune(home.unpacked, read_installed(home.path).hashes())


def _changed(home: Home, package: Package, change: Callable[[Installed], Installed]) -> dict[str, Any]:
    after = change(read_installed(home.path))
    write_installed(home.path, after)
    tidy(home)
    item = described(package.id, after.get(package.id), None, home.unpacked)
    return item | rights_of(package, installed=True)


async def _compile(package: Package, home: Home, settings: Settings) -> None:
    compiler = Compiler(home.compiled, settings.package, process=settings.process)
    for spec in package.processes:
        await compiler.runnable(spec.component)
