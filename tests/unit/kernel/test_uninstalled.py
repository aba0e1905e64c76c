"""What is uninstalled is gone: nothing of it starts any more, and what it handed out is void."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.capabilities import MESSAGING, Capability, of_node
from guesthouse.core.home import Home
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.kernel.storage import capability_store
from guesthouse.kernel.supervision.purge import forget_rights
from guesthouse.kernel.supervision.spawner import NO_FILE, Spawner
from guesthouse.link.calls import SaveCapabilities, Spawn, Spawned
from guesthouse.link.schema import Message
from guesthouse.link.to_worker import Stop
from guesthouse.node.installer import Installer
from guesthouse.node.node import Node
from guesthouse.node.running_packages import RunningPackages
from guesthouse.package.compile.compiler import Compiler
from guesthouse.package.store.installed import Installed, Version, read_installed, write_installed

from .test_tables import PARENT, Deaf, House

CHILD = ProcessId.parse("child:pack:test.os")
PACKAGE = PARENT.package_id
OTHER = "other:else:test.os"


class Told(Deaf):
    """Says which runs it is to stop."""

    def __init__(self, name: str, stopped: asyncio.Queue[int]) -> None:
        super().__init__(name)
        self._stopped = stopped

    def send(self, message: Message, size: int = 0) -> None:
        """See `WorkerLoop`."""
        if isinstance(message, Stop):
            self._stopped.put_nowait(message.handle)


class Slow(House):
    """Compiling takes until the test says so."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.compiling = asyncio.Event()
        self.compiled_now = asyncio.Event()
        self.folder_of_package: Path | None = folder
        self.stopped: asyncio.Queue[int] = asyncio.Queue()
        """The runs that the worker is told to stop."""
        self.worker = Told("worker-0", self.stopped)

    async def compiled(self, component: Path, package: str) -> Path:
        self.compiling.set()
        await self.compiled_now.wait()
        return component


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Slow]:
    house = Slow(tmp_path)
    house.compiled_now.set()
    yield house
    house.timer.close()
    house.router.close()
    await house.state.close()


@pytest.mark.parametrize("gone", ["its package", "its parent", "nothing"])
async def test_a_child_that_was_being_compiled_does_not_start_in_a_package_that_is_gone(
    house: Slow, gone: str
) -> None:
    parent = await house.begin(str(PARENT))
    places = house.router, house.supervisor, house.state, house.children
    async with Spawner(*places, lambda _: house.folder_of_package, 256, house.log) as spawner:
        house.compiling.clear()
        house.compiled_now.clear()
        replied: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        spawner.spawn(parent, Spawn("child", "/child.wasm", "restart", (), (), True), replied.set_result)
        await house.compiling.wait()
        if gone == "its package":
            house.folder_of_package = None
        elif gone == "its parent":
            house.end(parent)
        house.compiled_now.set()
        assert await replied == (Spawned(str(CHILD)) if gone == "nothing" else NO_FILE)
    assert (house.router.find(CHILD) is not None) is (gone == "nothing")
    rows = await house.state.read("SELECT process FROM children")
    assert rows == ([(str(CHILD),)] if gone == "nothing" else []), "nor does it return with the node"


@pytest.mark.parametrize("drop_state", [False, True])
async def test_a_process_that_ends_by_itself_meanwhile_does_not_keep_the_others_alive(
    house: Slow, drop_state: bool
) -> None:
    """They are stopped one after the other; what they stored, timers too, is dropped when it is to go."""
    body = b'{"Set": {"id": "x", "milliseconds": 9000000}}'
    house.timer.request(
        ModuleRequest(Address("home.os", PARENT), body, None, None, lambda *_: None, lambda: True)
    )
    home = Home(house.folder / "home")
    home.prepare()
    write_installed(home.path, Installed().with_version(PACKAGE, Version("1", "0" * 64)))
    ids = ["first:pack:test.os", "second:pack:test.os", "third:pack:test.os"]
    first, second, third = [await house.begin(name) for name in ids]
    other = await house.begin(OTHER)
    node = SimpleNamespace(
        home=home,
        router=house.router,
        supervisor=house.supervisor,
        state=house.state,
        http=house.http,
        modules=house.timer,
        running=RunningPackages(),
        not_loaded={},
        log=house.log,
        settings=SimpleNamespace(node="home.os"),
    )
    async with Installer(cast(Node, node), cast(Compiler, house)) as installer:
        uninstalling = asyncio.ensure_future(installer.uninstall(PACKAGE, drop_state=drop_state))
        for process, meanwhile in ((first, second), (third, None)):
            assert process.run is not None
            told = asyncio.ensure_future(house.stopped.get())
            await asyncio.wait([told, uninstalling], return_when=asyncio.FIRST_COMPLETED)
            assert told.done(), uninstalling.result()
            assert told.result() == process.run.handle
            if meanwhile is not None:
                house.end(meanwhile)
            house.end(process)
        await uninstalling
    assert list(house.router.processes()) == [other]
    assert (not house.timer._durable) is drop_state
    assert read_installed(home.path) == Installed(gone=(PACKAGE,))


async def test_what_an_uninstalled_package_handed_out_is_void(house: Slow) -> None:
    """Kept or not, with who has it; but not what manifests ask for by name, nor what was given up."""
    theirs = of_node("home.os", PARENT)
    afar, alike = Capability(f"away.os@{PARENT}", MESSAGING), of_node("home.os", ProcessId.parse(OTHER))
    other = await house.begin(OTHER)
    named = await house.begin("named:else:test.os", requests=((PARENT, MESSAGING),))
    child = await house.begin("c:else:test.os", requests=((PARENT, MESSAGING), (PARENT, "1")), named=False)
    for capability in (theirs, afar, alike):
        other.holdings.receive([capability], str(PARENT))
    pairs = capability_store.as_pairs((theirs, afar, alike))
    saved: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    capability_store.save(house.state, other, SaveCapabilities(pairs), saved.set_result)
    await saved
    named.holdings.drop([theirs])
    assert other.holdings.saved == {theirs, afar, alike}

    house.router.rights.forget_issued(house.router.processes(), PACKAGE)
    assert other.holdings.saved == {afar, alike}
    assert not other.holdings.may_attach(theirs)
    assert theirs in named.holdings.dropped
    assert child.holdings.requested == frozenset(), "it had it from one that gave it up"
    named.holdings.dropped.clear()
    assert named.holdings.holds(theirs)

    assert await forget_rights(house.state, [PACKAGE], "home.os")
    again = await house.begin("again:else:test.os")
    again.id = other.id
    await capability_store.restore(house.state, again)
    assert again.holdings.saved == {afar, alike}
