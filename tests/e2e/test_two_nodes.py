"""Two nodes, joined by a transport that does whatever one on the way could do: real workers, real components."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec.structs import replace
from tests.node_frames import FAILURE, REQUEST, RESPONSE, SEALED, LyingNode
from tests.patience import PATIENCE
from websockets.asyncio.client import connect

from guesthouse.core.address import Address
from guesthouse.core.capabilities import Capability
from guesthouse.core.config import HttpSettings, Settings
from guesthouse.core.ports import Incoming
from guesthouse.http_server.auth.credentials import load_node_key
from guesthouse.kernel.capabilities.signed import SignedCapability, sign
from guesthouse.node.node import Node

from .clients import register_message
from .packages import package
from .waiting import until

pytestmark = pytest.mark.thorough

ONE, TWO = "one.os", "two.os"
A, B, C = (f"{name}:puppet:test.os" for name in "abc")
OPEN = "open:puppet:test.os"
"""Public, and may use the network; a may use it too, and is not public; c may not."""
NETWORK = '{ process = "kernel:distro:sys", params = "network" }'
Alter = Callable[[bytes], list[bytes]]
SEALED_HEAD = 18


@dataclass
class Net:
    """What is between the nodes. `alter` makes of each sealed frame those that arrive."""

    incoming: dict[str, Incoming] = field(default_factory=dict)
    reachable: set[str] = field(default_factory=set)
    keys: dict[str, Ed25519PublicKey] = field(default_factory=dict)
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    alter: Alter = lambda frame: [frame]
    muted: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Wire:
    """The transport of one node."""

    net: Net
    name: str
    frame_bytes: int = 1024 * 1024

    def send(self, node: str, frame: bytes) -> Literal["offline"] | None:
        """See `Transport`."""
        if node not in self.net.reachable:
            return "offline"
        if self.name in self.net.muted:
            return None
        self.net.seen.append((node, frame))
        for arrives in self.net.alter(frame) if frame[0] == SEALED else [frame]:
            asyncio.get_running_loop().call_soon(self.net.incoming[node], arrives)
        return None


@dataclass
class World:
    """Both nodes, each with the same puppets."""

    net: Net
    nodes: dict[str, Node]

    async def ask(self, node: str, process: str, body: str, seconds: int = 20) -> str:
        """What a process answers."""
        terminal = self.nodes[node].router.terminal
        answer = await terminal.ask(Address.parse(f"{node}@{process}"), body.encode(), None, seconds)
        return answer.body.decode()

    def logged(self, node: str, part: str) -> list[str]:
        """The lines of a node's log that have this in them."""
        files = self.nodes[node].home.logs.glob("*")
        return [line for file in files for line in file.read_text().splitlines() if part in line]

    async def dropped(self, node: str, why: str) -> None:
        """Wait until something was dropped by a node, for that reason."""

        async def lines() -> list[str]:
            return self.logged(node, why)

        await until(lines, bool, f"{node} does not say: {why}")


def the_puppets(folder: Path) -> Path:
    """The puppets' package, with `open`, and the right to use the network for two of them."""
    built = package("puppet")
    text = (built / "package.toml").read_text()
    text = text.replace("request-capabilities = [", f"request-capabilities = [{NETWORK}, ", 1)
    text += f"""
[[process]]
name = "open"
wasm = "build/puppet.wasm"
on-exit = "restart"
public = true
request-capabilities = [{NETWORK}]
"""
    (folder / "build").mkdir(parents=True)
    (folder / "build/puppet.wasm").write_bytes((built / "build/puppet.wasm").read_bytes())
    (folder / "package.toml").write_text(text)
    return folder


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    net, nodes = Net(), dict[str, Node]()
    source = the_puppets(tmp_path / "source")
    async with AsyncExitStack() as stack:
        for name in (ONE, TWO):
            settings = Settings(home=str(tmp_path / name), node=name, workers=1, http=HttpSettings(port=0))
            node = nodes[name] = await stack.enter_async_context(Node(settings, None))
            net.keys[name] = node.public_key()
            net.incoming[name] = node.join(Wire(net, name), net.keys.get).incoming
            net.reachable.add(name)
            await node.add([await node.load(str(source))])
        yield World(net, nodes)


async def test_a_request_with_a_capability_goes_there_and_its_response_comes_back(world: World) -> None:
    assert await world.ask(ONE, A, f"ask {TWO}@{OPEN} 20 say hello") == "hello"
    # open of two.os may not message a of one.os, until a hands it the right to
    assert await world.ask(TWO, OPEN, f"ask {ONE}@{A} 20 say x") == "failed not-authorised say x"
    assert await world.ask(TWO, OPEN, "missing") == f'"messaging" of {A}'
    assert await world.ask(ONE, A, f'hand {TWO}@{OPEN} {ONE}@{A} "messaging" show') == f'"messaging" of {A}'
    for _ in range(2):
        assert await world.ask(TWO, OPEN, f"ask {ONE}@{A} 20 say welcome") == "welcome"
    # what came with a response can be shown again, to whom it is of
    assert await world.ask(TWO, OPEN, f'ask {ONE}@{A} 20 lend {ONE}@{A} {{"shelf":7}}') == "lent"
    assert await world.ask(TWO, OPEN, "show") == f'{{"shelf":7}} of {A}'
    assert (
        await world.ask(TWO, OPEN, f'hand {ONE}@{A} {ONE}@{A} {{"shelf":7}} show') == f'{{"shelf":7}} of {A}'
    )
    carried = await world.ask(ONE, A, f"carry {TWO}@{OPEN} 20 payload blob")
    assert carried == "payload"


async def test_what_each_lacks_is_said_and_nothing_is_delivered(world: World) -> None:
    assert await world.ask(ONE, C, f"ask {TWO}@{OPEN} 20 say x") == "failed not-authorised say x"
    assert await world.ask(ONE, C, "missing") == '"network" of kernel:distro:sys'
    assert world.net.seen == [], "nothing left the node"
    for target, kind in (
        (C, "not-authorised"),
        (B, "not-authorised"),
        ("nobody:puppet:test.os", "no-such-process"),
    ):
        assert await world.ask(ONE, A, f"ask {TWO}@{target} 20 say x") == f"failed {kind} say x"
    assert await world.ask(ONE, A, f"ask {TWO}@kv:distro:sys 20 say x") == "failed no-such-process say x"
    assert await world.ask(ONE, A, f"ask far.os@{OPEN} 20 say x") == "failed offline say x"
    world.net.reachable.discard(TWO)
    assert await world.ask(ONE, A, f"ask {TWO}@{OPEN} 20 say x") == "failed offline say x"


async def test_a_capability_of_another_process_is_not_handed_on_nor_shown(world: World) -> None:
    given = await world.ask(ONE, A, f'hand {TWO}@{OPEN} {ONE}@{A} "messaging" show')
    assert given == f'"messaging" of {A}'
    # b of two.os is handed it by open, but it was signed for open alone
    assert await world.ask(TWO, OPEN, f'give {B} {ONE}@{A} "messaging"') == "given"
    process = world.nodes[TWO].router.find(Address.parse(f"{TWO}@{B}").process)
    assert process is not None
    process.holdings.requested |= {world.nodes[TWO].router.rights.network}
    assert await world.ask(TWO, B, f"ask {ONE}@{A} 20 say x") == "failed not-authorised say x"


def other_byte(at: int) -> Alter:
    """The same frame, but for one bit."""
    return lambda data: [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]]


ALTERED: list[tuple[Alter, str]] = [
    (other_byte(SEALED_HEAD), "it was not sealed by one.os"),
    (other_byte(-1), "it was not sealed by one.os"),
    (other_byte(SEALED_HEAD - 1), "it was not sealed by one.os"),
    (other_byte(SEALED_HEAD - 2), "it was not sealed by one.os"),
    (lambda data: [data[:-1]], "it was not sealed by one.os"),
    (lambda data: [bytes(30)], "it is no frame of a version that this node speaks"),
    (other_byte(1), "it is of no session of this node"),
    (lambda data: [bytes([2]) + data[1:]], "it is no frame of a version that this node speaks"),
]


def beside(alter: Alter, data: bytes) -> list[bytes]:
    """What is made of a frame, and the frame."""
    return [*alter(data), data]


async def test_what_is_forged_or_altered_on_the_way_is_dropped_and_logged(world: World) -> None:
    assert await world.ask(ONE, A, f"ask {TWO}@{OPEN} 20 say hello") == "hello"
    for alter, why in ALTERED:
        world.net.alter = partial(beside, alter)
        assert await world.ask(ONE, A, f"ask {TWO}@{OPEN} 20 say hello") == "hello"
        await world.dropped(TWO, why)
    assert world.logged(TWO, "has ended") == [], "the session goes on"
    world.net.alter = lambda frame: [frame]
    assert await world.ask(TWO, OPEN, "journal") == "", "nothing was delivered"


async def test_what_is_heard_again_is_dropped_and_logged(world: World) -> None:
    world.net.alter = lambda frame: [frame, frame]
    assert await world.ask(ONE, A, f"ask {TWO}@{OPEN} 1 note once") == "failed timeout note once"
    await world.dropped(TWO, "one.os sent it before")
    assert (await world.ask(TWO, OPEN, "journal")).split() == ["note", "once"]
    assert await world.ask(ONE, A, f"ask {TWO}@{OPEN} 20 say hello") == "hello"
    await world.dropped(ONE, "two.os sent it before")
    for data in [data for node, data in world.net.seen if node == TWO]:
        world.net.incoming[TWO](data)
    assert (await world.ask(TWO, OPEN, "journal")).split() == ["note", "once"]
    assert await world.ask(ONE, A, f"ask {TWO}@{OPEN} 20 say hello") == "hello"
    assert world.logged(TWO, "has ended") == world.logged(ONE, "has ended") == []


async def test_what_was_lost_on_the_way_is_told_and_the_next_arrives(world: World) -> None:
    assert await world.ask(ONE, A, f"ask {TWO}@{OPEN} 20 say hello") == "hello"
    for number in range(3):
        world.net.alter = lambda frame: []
        waits = asyncio.ensure_future(world.ask(ONE, A, f"ask {TWO}@{OPEN} 600 say lost"))
        seen = len(world.net.seen)

        async def sent(seen: int = seen) -> bool:
            return len(world.net.seen) > seen

        await until(sent, bool, "nothing was sent")
        world.net.alter = lambda frame: [frame]
        assert await waits == "failed offline say lost", "long before its time-out"

        async def answered() -> str:
            return await world.ask(ONE, A, f"ask {TWO}@{OPEN} 20 say hello")

        await until(answered, lambda answer: answer == "hello", f"there is no new session: {number}")


class Malicious:
    """Node two.os, when it is not what it was: it has its key, and sends what it likes."""

    def __init__(self, world: World) -> None:
        self._key = load_node_key(world.nodes[TWO].home.path)
        self._world = world
        self.node = LyingNode(TWO, self._key, ONE, lambda frame: world.net.incoming[ONE](frame))

    async def begin(self) -> Malicious:
        """Take the place of the node."""
        self._world.net.muted.add(TWO)
        self._world.net.incoming[TWO] = lambda frame: self.node.incoming(frame)
        self.node.begin()

        async def up() -> bool:
            return self.node.up

        await until(up, bool, "there is no session")
        return self

    def request(self, body: str, *shown: SignedCapability, source: str = OPEN, target: str = A) -> None:
        capabilities = [
            [each.issuer, each.params, each.holder, each.expires, each.signature] for each in shown
        ]
        self.node.say(
            [REQUEST, 1, source, target, body.encode(), False, 5, None, None, b"payload", [], capabilities]
        )

    def forged(self, issuer: str, params: str, holder: str) -> SignedCapability:
        return sign(self._key, Capability.read(issuer, params), holder, time.time() + 60)


async def handed_over(world: World) -> SignedCapability:
    """The capability that a of one.os gives to open of two.os, as it was on the way."""
    await world.ask(ONE, A, f'hand {TWO}@{OPEN} {ONE}@{A} "messaging" show')
    process = world.nodes[TWO].router.find(Address.parse(f"{TWO}@{OPEN}").process)
    assert process is not None
    (signed,) = process.holdings.signed.values()
    assert isinstance(signed, SignedCapability)
    return signed


async def test_a_capability_that_is_forged_altered_or_stolen_opens_nothing(world: World) -> None:
    stolen = await handed_over(world)
    two = await Malicious(world).begin()
    right = f'"messaging" of {ONE}@{A}'
    assert (stolen.holder, stolen.params) == (f"{TWO}@{OPEN}", '"messaging"')
    two.request("note real", stolen)
    for shown, source, why in (
        (two.forged(f"{ONE}@{A}", '"messaging"', f"{TWO}@{OPEN}"), OPEN, "it is not signed by one.os"),
        (replace(stolen, holder=f"{TWO}@{B}"), B, "it is not signed by one.os"),
        (replace(stolen, issuer=f"{ONE}@{B}"), OPEN, "it is not signed by one.os"),
        (replace(stolen, expires=stolen.expires + 60), OPEN, "it is not signed by one.os"),
        (stolen, B, f"it is for another holder: {TWO}@{OPEN}, not {TWO}@{B}"),
    ):
        two.request("note forged", shown, source=source)
        await world.dropped(ONE, why)
    assert (await world.ask(ONE, A, "journal")).split() == ["note", "real"], right
    two.node.heard.clear()
    two.request("note forged", two.forged(f"{TWO}@{OPEN}", '"messaging"', f"{TWO}@{OPEN}"))

    async def heard() -> list[list[Any]]:
        return two.node.heard

    await until(heard, bool, "the request is not answered")
    assert two.node.heard[0][:3] == [FAILURE, 1, "not-authorised"]


async def test_a_node_answers_only_what_it_was_asked(world: World) -> None:
    two = await Malicious(world).begin()
    waits = asyncio.ensure_future(world.ask(ONE, A, f"ask {TWO}@{OPEN} 1 say x"))

    async def heard() -> list[list[Any]]:
        return two.node.heard

    await until(heard, bool, "nothing was sent")
    asked = two.node.heard[0][1]
    for number in (asked + 1, asked + 7, 2**63):
        two.node.say([RESPONSE, number, OPEN, b"forged", None, None, None, []])
    shapeless: Any
    for shapeless in ([], [9], [REQUEST], [FAILURE, 1, "no-such-kind", None], [RESPONSE, "1"], [[]]):
        two.node.say(shapeless)
    assert await waits == "failed timeout say x"
    assert len(world.logged(ONE, "sent an invalid one")) == 1, "what comes again is said once a minute"
    assert len(world.logged(ONE, "came too late, or was not asked for")) == 1


async def test_a_process_pushes_to_a_channel_of_another_node_that_it_was_given(world: World) -> None:
    http = world.nodes[TWO].http
    token = http.issue_token(60)
    url = http.url.replace("http", "ws", 1)
    async with connect(url, proxy=None) as mine, connect(url, proxy=None) as foreign:
        await mine.send(register_message(token, OPEN))
        await foreign.send(register_message(token, B))
        channel: int = json.loads(await mine.recv())["channel_id"]
        other: int = json.loads(await foreign.recv())["channel_id"]
        # it may not yet: the push is refused by the other node, and nothing comes
        assert await world.ask(ONE, A, f"push {TWO} {channel} too early") == "0"
        assert (
            await world.ask(ONE, A, f'hand {TWO}@{OPEN} {ONE}@{A} "messaging" show') == f'"messaging" of {A}'
        )
        kept = f'save {TWO}@{OPEN} {{"channel":{channel}}}'
        assert (
            await world.ask(TWO, OPEN, f'hand {ONE}@{A} {TWO}@{OPEN} {{"channel":{channel}}} {kept}')
            == "saved"
        )
        assert await world.ask(ONE, A, f"push {TWO} {channel} hello") == "0"
        assert await asyncio.wait_for(mine.recv(), PATIENCE) == "hello"
        # a right that its issuer does not have opens nothing: that channel is another process's
        forged = f'save {TWO}@{OPEN} {{"channel":{other}}}'
        assert (
            await world.ask(TWO, OPEN, f'hand {ONE}@{A} {TWO}@{OPEN} {{"channel":{other}}} {forged}')
            == "saved"
        )
        assert await world.ask(ONE, A, f"push {TWO} {other} never") == "0"
        assert await world.ask(ONE, A, f"push {TWO} {channel} again") == "0"
        assert await asyncio.wait_for(mine.recv(), PATIENCE) == "again"
        body = json.dumps({"WebSocketPush": {"channel_id": other, "message_type": "Text"}})
        target = f"{TWO}@http-server:distro:sys"
        assert await world.ask(ONE, A, f"carry {target} 20 never {body}") == '{"Err": "WsChannelNotFound"}'
        requests: list[Any] = [
            {"WebSocketClose": channel},
            {"Bind": {"path": "/"}},
            "x",
            [],
            {"WebSocketPush": None},
        ]
        for refused in requests:
            answer = await world.ask(ONE, A, f"carry {target} 20 never {json.dumps(refused)}")
            assert set(json.loads(answer)) == {"Err"}, refused
        await foreign.close()
        assert [message async for message in foreign] == []
    world.net.reachable.discard(TWO)
    assert await world.ask(ONE, A, f"push {TWO} {channel} lost") == "0"
    assert "offline" in await world.ask(ONE, A, "journal"), "what could not be sent comes back"
    assert await world.ask(ONE, C, f"push {TWO} {channel} x") == "0"
    assert "not-authorised" in await world.ask(ONE, C, "journal")
