"""Every table of the node that is keyed by what a guest, a client or another node says has a bound and an end.

Each entry of the table in `docs/security.md` is filled with ten thousand keys of its own, twice: what the first round
leaves is within the bound, and the second takes no more memory.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import re
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import pytest
from msgspec.structs import replace
from tests.node_frames import HandMade
from tests.peer_world import KEYS, World
from tests.tiers import thorough_but

from guesthouse.core.address import Address, ProcessId
from guesthouse.core.capabilities import KERNEL, SPAWN, Capability, of_node
from guesthouse.core.config import ProcessLimits, Settings
from guesthouse.core.exit_cause import ExitCause
from guesthouse.core.messages import LazyLoadBlob, Request
from guesthouse.core.throttled_log import ThrottledLog
from guesthouse.http_server.auth.login_throttle import LoginThrottle
from guesthouse.http_server.auth.one_time_tokens import OneTimeTokens
from guesthouse.http_server.auth.tickets import Tickets
from guesthouse.http_server.auth.tokens import Claims
from guesthouse.http_server.routing.bindings import Bindings
from guesthouse.http_server.routing.subdomains import subdomain_of
from guesthouse.http_server.state.channels import ChannelTable, TokenChannels
from guesthouse.http_server.state.client_log import ClientFaultLog
from guesthouse.http_server.state.connection_limits import ConnectionAdmission
from guesthouse.http_server.state.pending_responses import PendingResponses
from guesthouse.http_server.state.timer_wheel import NEVER, TimerWheel
from guesthouse.kernel.cluster.arrivals import Arrivals, Lane
from guesthouse.kernel.cluster.greeter import MOST_OF_NODE
from guesthouse.kernel.cluster.other_node import MOST_UNPROVEN
from guesthouse.kernel.cluster.send_queues import MESSAGE_OVERHEAD, QUEUE_BYTES
from guesthouse.kernel.cluster.services import PROCESSES
from guesthouse.kernel.messaging.modules import ModuleRequest
from guesthouse.kernel.messaging.pending_requests import PendingRequests
from guesthouse.kernel.messaging.router import Router
from guesthouse.kernel.process.mailbox import Mailbox
from guesthouse.kernel.process.process import Process
from guesthouse.kernel.storage import capability_store
from guesthouse.kernel.storage.database import JOB_OVERHEAD, MOST_KEPT, MOST_WAITING, State
from guesthouse.kernel.supervision.children import Children
from guesthouse.kernel.supervision.spawner import Spawner
from guesthouse.kernel.supervision.supervisor import Supervisor
from guesthouse.kernel.workers.pool import Worker, Workers
from guesthouse.link import to_worker
from guesthouse.link.calls import BindWsPath, DropCapabilities, SaveCapabilities, Spawn
from guesthouse.link.frames import LinkError, checked
from guesthouse.link.schema import MOST_ON_EXIT, ExitRequest, Message
from guesthouse.link.to_node import Call, Send, SetOnExit
from guesthouse.modules import registry
from guesthouse.modules.kv import Kv
from guesthouse.modules.timer import MOST_OF_PACKAGE, MOST_TIMERS, Timer
from guesthouse.node.log import Log
from guesthouse.package.spec import ProcessSpec

from .conftest import RecordingHttp, nothing_kept

ROOT: Final = Path(__file__).parents[3]
MANY: Final = 10_000
SLACK: Final = 700_000
"""Bytes that a round may leave behind in large objects, and in SQLite's pages: half a megabyte of those is its own."""
SLACK_OBJECTS: Final = 4_000
"""Small objects that it may; each of ten thousand entries has one at least."""

PARENT: Final = ProcessId.parse("parent:pack:test.os")
SOURCE: Final = Address("home.os", PARENT)
Fill = Callable[[int], Awaitable[None]]
"""Fills a table with so many keys; each call names others."""


class NoLog:
    """A log that keeps nothing."""

    def write(self, source: str, level: str, text: str, *, stream: str = "host", channel_id: int = 0) -> None:
        """See `LogPort`."""


class Channel:
    """One of the parent's."""

    owner = PARENT


class Deaf(Worker):
    """A worker that keeps nothing of what it is told."""

    def send(self, message: Message, size: int = 0) -> None:
        """See `WorkerLoop`."""


class House:
    """A router, a supervisor and a spawner with real state, whose one worker is scripted."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(node="home.os", process=ProcessLimits())
        self.folder = folder
        (folder / "child.wasm").write_bytes(b"")
        self.log = NoLog()
        self.router = Router(settings, self.log, RecordingHttp)
        self.http = cast(RecordingHttp, self.router.http)
        self.worker = Deaf("worker-0")
        self.state = State(folder / "state.sqlite", 1_000_000, self.log, registry.TABLES)
        self.timer = Timer(self.state, lambda process, body: False)
        self.children = Children(self.state, self.timer.forget)
        self.supervisor = Supervisor(
            *(self.router, self, settings, self.log),
            lambda events: cast(Workers, self),
            nothing_kept,
            self.children.ended,
        )
        self._number = 0

    async def compiled(self, component: Path, package: str) -> Path:
        """See `CompilerPort`."""
        return component

    def enter(self, package: str) -> None:
        """See `Workers`: there is room for any."""

    def leave(self, package: str) -> None:
        """See `Workers`."""

    def least_loaded(self, package: str) -> Worker:
        """See `Workers`."""
        return self.worker

    async def begin(self, name: str, **how: Any) -> Process:
        spec = ProcessSpec(ProcessId.parse(name), Path("/none.wasm"), "none", public=True, ui=None, **how)
        return await self.supervisor.begin(spec)

    def end(self, process: Process) -> None:
        assert process.run is not None
        del self.worker.runs[process.run.handle]
        self.supervisor.run_ended(process, ExitCause.RETURNED, "")
        self.http.asked.clear()

    def number(self) -> int:
        """Another one each time, so that no key is like an earlier one."""
        self._number += 1
        return self._number

    async def stored(self) -> None:
        """Return once all that was asked of the state is done."""
        await self.state.executed(lambda database: None, None)


@asynccontextmanager
async def house_in(folder: Path) -> AsyncIterator[House]:
    house = House(folder)
    yield house
    house.timer.close()
    house.router.close()
    await house.state.close()


def rights(count: int, number: int) -> tuple[tuple[str, str], ...]:
    return tuple((str(SOURCE), f'"{number}-{each}"') for each in range(count))


@asynccontextmanager
async def grants(house: House) -> AsyncIterator[Fill]:
    """Children that grant as much as they may, to processes that never come, and end."""
    parent = await house.begin(str(PARENT))
    parent.holdings.requested |= {of_node("home.os", KERNEL, SPAWN)}
    places = house.router, house.supervisor, house.state, house.children, lambda _: house.folder
    async with Spawner(*places, 256, house.log) as spawner:

        async def fill(count: int) -> None:
            for _ in range(count // 250):
                replied: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                named = tuple((f"p{house.number()}:other:b.os", '"messaging"') for _ in range(250))
                call = Spawn(None, "/child.wasm", "none", (), named, True)
                spawner.spawn(parent, call, replied.set_result)
                child = house.router.find(ProcessId.parse((await replied).process))
                assert child is not None
                house.end(child)
            await house.stored()

        yield fill


@asynccontextmanager
async def children(house: House) -> AsyncIterator[Fill]:
    """Children that nobody named, which end."""
    for number in range(5000):  # names that were read lately are remembered, up to 4,096
        ProcessId.parse(f"p{number}:pack:test.os")
    parent = await house.begin(str(PARENT))
    places = house.router, house.supervisor, house.state, house.children, lambda _: house.folder
    async with Spawner(*places, 256, house.log) as spawner:

        async def fill(count: int) -> None:
            for each in range(count):
                replied: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                call = Spawn(None, "/child.wasm", "none", (), (), True)
                spawner.spawn(parent, call, replied.set_result)
                child = house.router.find(ProcessId.parse((await replied).process))
                assert child is not None
                if each % 100 == 0:
                    timer = b'{"Set": {"id": "x", "milliseconds": 9000000}}'
                    source = Address("home.os", child.id)
                    house.timer.request(
                        ModuleRequest(source, timer, None, None, lambda *_: None, lambda: True)
                    )
                house.end(child)
            await house.stored()

        yield fill


@asynccontextmanager
async def dropped(house: House) -> AsyncIterator[Fill]:
    """Capabilities of its own that a process saves and gives up."""
    process = await house.begin(str(PARENT))

    async def fill(count: int) -> None:
        for _ in range(count // 250):
            named = rights(250, house.number())
            saved, dropped_ = (asyncio.get_running_loop().create_future() for _ in range(2))
            capability_store.save(house.state, process, SaveCapabilities(named), saved.set_result)
            await saved
            capability_store.drop(house.state, process, DropCapabilities(named), dropped_.set_result)
            await dropped_
        (rows,) = (await house.state.read("SELECT COUNT(*) FROM capabilities"))[0]
        assert rows == 0

    yield fill


@asynccontextmanager
async def holdings(house: House) -> AsyncIterator[Fill]:
    """What a process is handed, and what it lacks."""
    process = await house.begin(str(PARENT))

    async def fill(count: int) -> None:
        for _ in range(count):
            capability = Capability("home.os@door:other:b.os", f'"{house.number()}"')
            process.holdings.receive([capability], "home.os@x:y:z")
            process.holdings.keep_signed(capability, object())
            process.holdings.refuse(capability)

    yield fill


@asynccontextmanager
async def lines(house: House) -> AsyncIterator[Fill]:
    """Lines of a guest with nothing in them."""
    log = Log(None, None)

    async def fill(count: int) -> None:
        for _ in range(4 * count):
            log.write(str(PARENT), "info", "", stream="print")

    yield fill
    log.close()


@asynccontextmanager
async def notices(house: House) -> AsyncIterator[Fill]:
    """Lines that are written once a minute, about ever other processes; of clients, once a second."""
    kept, client_faults = ThrottledLog(house.log, lambda: 0.0), ClientFaultLog(house.log)

    async def fill(count: int) -> None:
        for _ in range(count):
            kept.say(f"p{house.number()}:pack:test.os", "mailbox", "it is full")
            client_faults.log(f"10.0.0.{house.number()}", "it sends garbage", 0.0)

    yield fill


@asynccontextmanager
async def volatile_timers(house: House) -> AsyncIterator[Fill]:
    """Timers of a year whose processes have ended."""

    async def fill(count: int) -> None:
        for _ in range(count):
            house.timer.request(
                ModuleRequest(SOURCE, b'{"SetTimer": 31536000000}', None, 32_000_000, _drop, lambda: False)
            )

    yield fill


@asynccontextmanager
async def durable_timers(house: House) -> AsyncIterator[Fill]:
    """As many durable timers as a package may have, and more."""

    async def fill(count: int) -> None:
        number = house.number()
        refused: list[bytes] = []
        for each in range(count + 1000):
            source = Address("home.os", ProcessId.parse(f"p{each // MOST_TIMERS}:pack{number}:test.os"))
            body = f'{{"Set": {{"id": "{each}", "milliseconds": 9000000}}}}'.encode()
            house.timer.request(
                ModuleRequest(source, body, None, None, lambda body, _: refused.append(body), lambda: True)
            )
        await house.stored()
        assert refused.count(b'{"Err":"TooMany"}') == count + 1000 - MOST_OF_PACKAGE
        for each in range(count // MOST_TIMERS + 1):
            house.timer.forget(ProcessId.parse(f"p{each}:pack{number}:test.os"))

    yield fill


@asynccontextmanager
async def bindings(house: House) -> AsyncIterator[Fill]:
    """Paths of processes that end."""
    table = Bindings(256, 1_000_000)

    async def fill(count: int) -> None:
        for _ in range(count // 250):
            owner = ProcessId.parse(f"p{house.number()}:pack:test.os")
            for each in range(300):
                refused = table.bind_ws(owner, BindWsPath(f"/{each}", authenticated=True))
                assert refused == (None if each < 256 else "too-many")
            table.drop(owner)

    yield fill


@asynccontextmanager
async def channels(house: House) -> AsyncIterator[Fill]:
    """Channels that open and close, and ids that are kept for one that never opens."""
    ids = iter(range(1, 2**32))
    table: ChannelTable[Channel] = ChannelTable(lambda: next(ids))
    tokens, channel = TokenChannels(), Channel()
    for _ in range(3 * 65_536):
        table.remove(table.add(channel))

    async def fill(count: int) -> None:
        for _ in range(count):
            table.remove(table.add(channel))
            table.release(table.reserve())
            token = str(house.number())
            assert tokens.take(token, 1)
            assert not tokens.take(token, 1)
            tokens.release(token)

    yield fill


@asynccontextmanager
async def requests(house: House) -> AsyncIterator[Fill]:
    """Requests of processes that end, and of clients."""
    table = PendingRequests()
    exchanges = PendingResponses(lambda _: None)

    async def fill(count: int) -> None:
        for _ in range(count // 100):
            sender = ProcessId.parse(f"p{house.number()}:pack:test.os")
            for _ in range(100):
                table.hold(table.add(sender, Send(1, str(SOURCE), b""), 10, 1000.0), PARENT)
            table.drop_sender(sender, awaited_only=False)
            assert list(table.left()) == [None] * 100
        for _ in range(count):
            with exchanges.open(PARENT):
                pass

    yield fill


@asynccontextmanager
async def mailboxes(house: House) -> AsyncIterator[Fill]:
    """Channels that a process hears of and closes."""
    mailbox = Mailbox(1_000_000)

    async def fill(count: int) -> None:
        for _ in range(count):
            channel = house.number()
            opened = to_worker.Open(0, channel, "/", "", None, (), (), False, 1, "/", None)
            mailbox.post_open(opened)
            for _sent in mailbox.take(1):
                pass
            mailbox.consumed(1)
            mailbox.forget_channel(channel)

    yield fill


@asynccontextmanager
async def logins(house: House) -> AsyncIterator[Fill]:
    """Addresses that guess, and login URLs and tickets that nobody uses."""
    throttle, one_time, tickets = LoginThrottle(), OneTimeTokens(), Tickets()
    claims = Claims("home.os", None, 100)

    async def fill(count: int) -> None:
        for _ in range(count):
            throttle.failed(f"10.{house.number()}", 0.0)
            one_time.issue(0.0)
            tickets.issue("pack-test-os", claims, 0.0)

    yield fill


def _drop(body: bytes, blob: LazyLoadBlob | None) -> None:
    """An answer that nobody waits for."""


class Socket:
    """A connection with a deadline."""

    due = NEVER

    def on_deadline(self, now: float) -> float:
        """See `Timed`."""
        return NEVER


@asynccontextmanager
async def sockets(house: House) -> AsyncIterator[Fill]:
    """Sockets from ever other addresses, with deadlines that move, and are taken away."""
    admission, deadlines = ConnectionAdmission(20_000, 20_000), TimerWheel()

    async def fill(count: int) -> None:
        for _ in range(count):
            number = house.number()
            address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            verdict, socket = admission.admit(address), Socket()
            deadlines.set(socket, float(number))
            deadlines.set(socket, float(number + 7))
            deadlines.set(socket, NEVER)
            admission.release(address, verdict)
        deadlines.run(float(house.number() + 10))
        assert (admission.open, len(deadlines)) == (0, 0)

    yield fill


@asynccontextmanager
async def names(house: House) -> AsyncIterator[Fill]:
    """Names of processes that there are not, which are remembered for the next time, and their sub-domains."""

    async def fill(count: int) -> None:
        for _ in range(count):
            subdomain_of(ProcessId.parse(f"p{house.number()}:pack:test.os"))

    yield fill


@asynccontextmanager
async def sessions(house: House) -> AsyncIterator[Fill]:
    """Hellos of a node that is known, which it does not follow up, and of nodes that are not; frames of no session."""
    world = World("a.os")
    peers = world.ends["a.os"].peers

    async def fill(count: int) -> None:
        for _ in range(count // 100):
            for _ in range(MOST_OF_NODE):
                peers.incoming(HandMade("b.os", KEYS["b.os"], "a.os").hello())
            for _ in range(20):
                peers.incoming(HandMade(f"n{house.number()}.os", KEYS["b.os"], "a.os").hello())
            world.run(1.0)
            peers.incoming(b"\x13" + house.number().to_bytes(8, "big") + bytes(100))
        assert len(peers._negotiation.sessions) == MOST_UNPROVEN
        world.seen.clear()
        world.run(3.0)
        assert not peers._negotiation.sessions
        assert not peers._others

    yield fill


@asynccontextmanager
async def waiting_messages(house: House) -> AsyncIterator[Fill]:
    """Messages to a node that does not answer."""
    world = World("a.os")
    peers = world.ends["a.os"].peers

    async def fill(count: int) -> None:
        sent = [peers.send("b.os", PROCESSES, bytes(10_000)) for _ in range(count)]
        assert sent.count(None) == QUEUE_BYTES // (10_000 + MESSAGE_OVERHEAD) + 1
        world.run(4.0)
        assert not peers._others
        world.seen.clear()

    yield fill


@asynccontextmanager
async def frames(house: House) -> AsyncIterator[Fill]:
    """Frames that come faster than they are carried out."""
    done: asyncio.Future[None] | None = None

    def take(frame: bytes) -> None:
        if done is not None and not lane.frames:
            done.set_result(None)

    waiting, lane = Arrivals(asyncio.get_running_loop()), Lane(take, 1_000_000)

    async def fill(count: int) -> None:
        nonlocal done
        full = [waiting.add(lane, bytes(200)) for _ in range(count)].count("full")
        assert full == 0 or len(lane.frames) == 1_000_000 // (200 + MESSAGE_OVERHEAD)
        if lane.frames:
            done = asyncio.get_running_loop().create_future()
            await done
            done = None

    yield fill


@asynccontextmanager
async def remote_requests(house: House) -> AsyncIterator[Fill]:
    """Requests of processes of another node that wait for an answer, until their process ends."""

    async def fill(count: int) -> None:
        for _ in range(count // 100):
            process = await house.begin(f"p{house.number()}:pack:test.os")
            for _ in range(100):
                source = Address("far.os", ProcessId.parse("guest:house:far.os"))
                request, heard = Request(b"", expects_response=2**63), list[Any]()
                house.router.deliver(process.id, request, None, heard.append, source=source, rights=())
            house.end(process)
        house.router.all_ended()  # the rest, which is settled over turns
        assert not house.router._requests.callbacks

    yield fill


TABLES: Final = (
    *(grants, children, dropped, holdings, lines, notices, volatile_timers, durable_timers, bindings),
    *(
        channels,
        requests,
        mailboxes,
        logins,
        sockets,
        names,
        sessions,
        waiting_messages,
        frames,
        remote_requests,
    ),
)


class MallocInfo(ctypes.Structure):
    """See mallinfo(3): ten numbers, of which the fifth and the eighth are bytes in use."""

    _fields_: ClassVar = [("numbers", ctypes.c_size_t * 10)]


def taken() -> tuple[int, int]:
    """How many small objects of Python's there are, and how many bytes were allocated for everything else. To trace
    each allocation takes several times as long.
    """
    gc.collect()
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = MallocInfo
    info = mallinfo2()
    return sys.getallocatedblocks(), info.numbers[4] + info.numbers[7]


@pytest.mark.parametrize(
    "table",
    thorough_but(TABLES, channels, requests),
    ids=lambda table: table.__name__,
)
@pytest.mark.slow
async def test_ten_thousand_keys_leave_no_memory_taken(table: Callable[[House], Any], tmp_path: Path) -> None:
    async with house_in(tmp_path) as house, table(house) as fill:
        await fill(200 if table is children else MANY)
        before, bytes_before = taken()
        await fill(MANY)
        after, bytes_after = taken()
    assert after - before < SLACK_OBJECTS
    assert bytes_after - bytes_before < SLACK


@pytest.mark.slow
async def test_what_a_package_has_waiting_for_the_disk_is_bounded(tmp_path: Path) -> None:
    """Ten thousand values without a wish for an answer, while another program holds the database."""
    async with house_in(tmp_path) as house:
        kv, refused, size = Kv(house.state, 10**9), 0, 100_000

        def answered(body: bytes, blob: LazyLoadBlob | None) -> None:
            nonlocal refused
            refused += b"IOError" in body

        held = asyncio.Event()
        loop = asyncio.get_running_loop()
        go_on = threading.Event()

        def hold(_: object) -> None:
            loop.call_soon_threadsafe(held.set)
            go_on.wait()

        house.state.execute(hold, None, lambda _: None)
        await held.wait()
        value = LazyLoadBlob(None, bytes(size))
        for number in range(MANY):
            body = f'{{"db": "d", "action": {{"Set": {{"key": "{number % 50}"}}}}}}'.encode()
            kv.request(ModuleRequest(SOURCE, body, value, None, answered, lambda: True))
        taken = MANY - refused
        assert taken * (size + JOB_OVERHEAD) <= MOST_WAITING < (taken + 1) * (size + JOB_OVERHEAD + 100)
        other = Address("home.os", ProcessId.parse("x:other:b.os"))
        kv.request(ModuleRequest(other, body, value, None, answered, lambda: True))
        assert refused == MANY - taken, "another package's is taken all the same"
        go_on.set()
        await house.stored()
        kv.request(ModuleRequest(SOURCE, body, value, None, answered, lambda: True))
        assert refused == MANY - taken


@pytest.mark.thorough
@pytest.mark.slow
async def test_values_that_are_read_together_are_not_all_in_memory_at_once(tmp_path: Path) -> None:
    """Two hundred requests for one value of 8 MiB."""
    async with house_in(tmp_path) as house:
        kv, answers = Kv(house.state, 10**9), 0
        done = asyncio.Event()

        def answered(body: bytes, blob: LazyLoadBlob | None) -> None:
            nonlocal answers
            answers += 1
            if answers == 201:
                done.set()

        value = LazyLoadBlob(None, bytes(8 * 1024 * 1024))
        kv.request(
            ModuleRequest(
                SOURCE, b'{"db": "d", "action": {"Set": {"key": "k"}}}', value, None, answered, lambda: True
            )
        )
        await house.stored()
        tracemalloc.start()
        try:
            for _ in range(200):
                body = b'{"db": "d", "action": {"Get": {"key": "k"}}}'
                kv.request(ModuleRequest(SOURCE, body, None, None, answered, lambda: True))
            await done.wait()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 100 * 1024 * 1024


@pytest.mark.slow
async def test_the_state_of_so_many_processes_of_a_package_is_kept_and_no_more(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        told: list[Any] = []
        for number in range(MANY):
            house.state.set(ProcessId.parse(f"p{number}:pack:test.os"), b"x", told.append)
        await house.stored()
        assert told == [None] * MOST_KEPT + ["storage"] * (MANY - MOST_KEPT)
        house.state.set(ProcessId.parse("p0:pack:test.os"), b"another", told.append)
        house.state.set(ProcessId.parse("p0:other:b.os"), b"x", told.append)
        await house.stored()
        assert told[-2:] == [None, None]


async def test_what_a_process_grants_is_held_as_long_as_it_is_there(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        holder = await house.begin("holder:other:b.os")
        granted = of_node("home.os", PARENT, '"door"')
        issuer = await house.begin(str(PARENT), grants=((holder.id, '"door"'),))
        assert holder.holdings.holds(granted)
        house.end(issuer)
        assert not holder.holdings.holds(granted)
        again = await house.begin(str(PARENT), grants=((holder.id, '"window"'),))
        assert again.id == issuer.id
        assert not holder.holdings.holds(granted)
        assert holder.holdings.holds(of_node("home.os", PARENT, '"window"'))


async def test_what_a_process_gave_up_it_does_not_hold_whatever_else_it_gives_up(tmp_path: Path) -> None:
    """Of its other ten thousand, those are forgotten that nobody grants it any more."""
    async with house_in(tmp_path) as house:
        holder = await house.begin("holder:other:b.os")
        default = next(iter(holder.holdings.default))
        assert holder.holdings.drop([default]) == [default]
        for number in range(40):
            params = tuple((holder.id, f'"{number}-{each}"') for each in range(250))
            issuer = await house.begin(f"i{number}:pack:test.os", grants=params)
            assert len(holder.holdings.drop(list(holder.holdings.given))) == 250
            house.end(issuer)
            holder.holdings.forget_dropped()
        assert not holder.holdings.holds(default)
        assert len(holder.holdings.dropped) <= 1024


@pytest.mark.parametrize("field", ["capabilities", "grants"])
def test_a_spawn_with_65536_grants_is_refused_before_anything_is_done(field: str) -> None:
    call = Spawn(None, "/child.wasm", "none", (), (), True)
    pair = ("p:other:b.os", '"messaging"')
    checked(Call(1, 1, replace(call, **{field: (pair,) * 256})))
    with pytest.raises(LinkError, match="malformed"):
        checked(Call(1, 1, replace(call, **{field: (pair,) * 65_536})))


def test_an_on_exit_of_many_requests_is_refused() -> None:
    request = ExitRequest("home.os@p:other:b.os", b"", None, None, None)
    checked(SetOnExit(1, (request,) * MOST_ON_EXIT))
    with pytest.raises(LinkError, match="malformed"):
        checked(SetOnExit(1, (request,) * (MOST_ON_EXIT + 1)))


async def test_a_process_that_is_gone_binds_nothing(tmp_path: Path) -> None:
    """By its on-exit: what it bound then would never be unbound."""
    async with house_in(tmp_path) as house:
        process = await house.begin(str(PARENT))
        bind = b'{"WebSocketBind": {"path": "/x", "authenticated": true, "encrypted": false}}'
        process.on_exit = (ExitRequest("home.os@http-server:distro:sys", bind, None, None, None),)
        asked: list[Any] = []
        cast(Any, house.http).request = lambda *request: asked.append(request)
        house.end(process)
        assert asked == []


def test_the_page_lists_each_table() -> None:
    page = (ROOT / "docs/security.md").read_text()
    section = page.split("## Tables", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"\| (\w+)(?: \(`[\w/.]+`\))? \|$", section, re.MULTILINE)) - {"case"}
    assert named == {table.__name__ for table in TABLES} | {"disk", "worker", "elsewhere"}
