"""Installs a package on several nodes: all of them see it before the first is changed, and then one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from guesthouse.cluster.administration.administration_messages import (
    MAX_MESSAGE,
    Fetch,
    FilePart,
    Install,
    InstalledThere,
    Previewed,
    encode,
)
from guesthouse.cluster.administration.incoming import PackageInstaller
from guesthouse.cluster.administration.node_calls import Calls
from guesthouse.cluster.administration.parcel import Parcel, packed, to_its_end
from guesthouse.core.config import PackageLimits
from guesthouse.core.errors import GuesthouseError
from guesthouse.package.errors import PackageError

OFFER_SECONDS: Final = 900.0
"""For a node to fetch a package."""
INSTALL_SECONDS: Final = 600.0
"""For a node to compile and start it."""


class Distribution:
    """Offers packages to other nodes.

    Args:
        node: this node's name.
        calls: the way to the others; their fetches are answered by `fetched`.
        installer: installs packages on this node.
        limits: of packages.
        unpack_dir: where packages are unpacked.
    """

    def __init__(
        self,
        node: str,
        calls: Callable[[], Calls],
        installer: PackageInstaller,
        limits: PackageLimits,
        unpack_dir: Path,
    ) -> None:
        self._node = node
        self._calls = calls
        self._installer = installer
        self._limits = limits
        self._unpack_dir = unpack_dir
        self._offered: dict[tuple[str, str], Parcel] = {}
        """By receiver and hash."""

    async def install(
        self, argument: str, nodes: Sequence[str], consent: str | bool | None
    ) -> AsyncIterator[dict[str, Any]]:
        """Install a package on these nodes, of which this one may be one. Yields what became of each; or, when it asks
        for more than the version that is installed on one of them and `consent` is not the hash of what was shown or
        true, what it asks for, and nothing is changed.

        Raises:
            GuesthouseError: it is refused by one, and nothing is changed; or it failed on one after it was installed
                on those that were yielded.
        """
        with ExitStack() as stack:
            parcel = await to_its_end(stack.enter_context, packed(argument, self._limits, self._unpack_dir))
            if len(encode(parcel.offer)) > MAX_MESSAGE:
                raise PackageError(f"{argument} has too many files to be offered to other nodes")
            stack.callback(self._withdraw, parcel, nodes)
            previews = await self._preview(parcel, nodes)
            needed = _needed(previews, parcel, consent)
            if needed is not None:
                yield needed
                return
            granted = consent is True or consent == parcel.offer.hash
            for number, node in enumerate(nodes):
                try:
                    yield await self._install(parcel, node, previews[node], granted=granted)
                except GuesthouseError as error:
                    raise PackageError(_failed(str(error), nodes, number)) from None

    def _withdraw(self, parcel: Parcel, nodes: Sequence[str]) -> None:
        for node in nodes:
            if self._offered.get((node, parcel.offer.hash)) is parcel:
                del self._offered[node, parcel.offer.hash]

    async def fetched(self, node: str, request: Fetch) -> FilePart:
        """A node fetches a part of what it was offered.

        Raises:
            PackageError: it was not offered that.
        """
        parcel = self._offered.get((node, request.hash))
        if parcel is None:
            raise PackageError(f"{self._node} does not offer {request.hash[:12]} to {node}")
        return FilePart(data=await asyncio.to_thread(parcel.read, request))

    async def _preview(self, parcel: Parcel, nodes: Sequence[str]) -> dict[str, Previewed]:
        """What the package asks for on each node, which all have it then.

        Raises:
            PackageError: one refuses it, or cannot be reached.
        """
        async with asyncio.TaskGroup() as tasks:
            asked = {node: tasks.create_task(self._offer(parcel, node)) for node in nodes}
        previews = {node: task.result() for node, task in asked.items()}
        failures = [str(each) for each in previews.values() if isinstance(each, GuesthouseError)]
        if failures:
            raise PackageError(f"nothing was installed: {'; '.join(failures)}")
        return {node: each for node, each in previews.items() if isinstance(each, Previewed)}

    async def _offer(self, parcel: Parcel, node: str) -> Previewed | GuesthouseError:
        try:
            if node == self._node:
                item = await self._installer.preview(str(parcel.archive))
                return Previewed(
                    package=item["package"],
                    version=item["version"],
                    hash=item["hash"],
                    asks_more=tuple(item["asks_more"]),
                    asks_less=tuple(item["asks_less"]),
                )
            self._offered[node, parcel.offer.hash] = parcel
            preview = await self._calls().ask(node, parcel.offer, Previewed, OFFER_SECONDS)
            if preview.hash != parcel.offer.hash:
                raise PackageError(f"{node} has another package than it was offered: {preview.hash[:12]}")
        except GuesthouseError as error:
            return error
        return preview

    async def _install(
        self, parcel: Parcel, node: str, preview: Previewed, *, granted: bool
    ) -> dict[str, Any]:
        digest = parcel.offer.hash
        if node == self._node:
            item = await self._installer.install(str(parcel.archive), digest if granted else None)
            running = item["running_version"]
        else:
            request = Install(hash=digest, consent=granted)
            running = (
                await self._calls().ask(node, request, InstalledThere, INSTALL_SECONDS)
            ).running_version
        return {
            "node": node,
            "package": preview.package,
            "version": preview.version,
            "hash": digest,
            "running_version": running,
            "sent_bytes": preview.fetched_bytes,
            "asks_more": list(preview.asks_more),
            "asks_less": list(preview.asks_less),
        }


def _needed(
    previews: dict[str, Previewed], parcel: Parcel, consent: str | bool | None
) -> dict[str, Any] | None:
    """What has to be consented to; None if nothing has, or it was."""
    asking = {node: preview for node, preview in previews.items() if preview.asks_more}
    if not asking or consent is True or consent == parcel.offer.hash:
        return None
    first = next(iter(asking.values()))
    texts = "; ".join(f"{text} (on {node})" for node, each in asking.items() for text in each.asks_more)
    return {
        "needs_consent": f"{first.package} {first.version} asks for more ({texts}): grant it with --yes",
        "package": first.package,
        "version": first.version,
        "hash": parcel.offer.hash,
        "nodes": [
            {"node": node, "asks_more": list(each.asks_more), "asks_less": list(each.asks_less)}
            for node, each in asking.items()
        ],
    }


def _failed(error: str, nodes: Sequence[str], number: int) -> str:
    done, left = nodes[:number], nodes[number + 1 :]
    texts = [f"{nodes[number]}: {error}" if not error.startswith(nodes[number]) else error]
    if done:
        texts.append(f"installed on {', '.join(done)}")
    if left:
        texts.append(f"not tried on {', '.join(left)}")
    return "; ".join(texts)
