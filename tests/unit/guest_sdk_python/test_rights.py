"""Capabilities and children in the Python SDK, with its fake host."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from guesthouse_sdk import (
    Address,
    BindNotAuthorised,
    Capability,
    IncomingRequest,
    MissingCapability,
    NameTaken,
    NoFileAtPath,
    NotAuthorised,
    ProcessId,
    Request,
    Response,
    SpawnNotAuthorised,
    StateTooBig,
    bind_ws_path,
    drop_capabilities,
    our_capabilities,
    receive,
    save_capabilities,
    set_state,
    spawn,
)
from guesthouse_sdk.testing import Answer, FakeHost, SentRequest

OTHER = "fake.os@ledger:bank:guesthouse.os"
HTTP = Capability.messaging("fake.os@http-server:distro:sys")
SHELF = Capability.of(OTHER, {"shelf": 7, "b": 1})
OURS = Capability.of("fake.os@app:app:guesthouse.os", "mine")
SPAWN = Capability.of("fake.os@kernel:distro:sys", "spawn")


def run(host: FakeHost, work: Callable[[], None]) -> None:
    """Do that as a process, then wait for messages."""

    def main(our: Address) -> None:
        work()
        while True:
            receive()

    host.run(main)


def test_a_capability_is_written_as_the_host_writes_it() -> None:
    assert SHELF.params == '{"b":1,"shelf":7}'
    assert str(HTTP) == '"messaging" of fake.os@http-server:distro:sys'
    assert Capability.of(Address.parse(OTHER), [1]) == Capability(Address.parse(OTHER), "[1]")


def test_what_came_with_a_message_is_seen_saved_and_handed_on_and_nothing_else() -> None:
    seen: list[tuple[Capability, ...]] = []

    def work() -> None:
        message = receive()
        assert isinstance(message, IncomingRequest)
        seen.append(message.capabilities)
        foreign = Capability.of(OTHER, "never handed to it")
        save_capabilities([*message.capabilities, foreign, OURS])
        Response().body("kept").capabilities(SHELF, foreign).send()
        Request().target(OTHER).capabilities(OURS, foreign).send()
        drop_capabilities([HTTP])

    with FakeHost() as host:
        host.process("ledger:bank:guesthouse.os", lambda request: Answer())
        exchange = host.request(b"here", capabilities=[Capability(SHELF.issuer, '{"shelf": 7, "b": 1}')])
        run(host, work)
        assert [capability.issuer for capability in seen[0]] == [SHELF.issuer]
        assert {SHELF, OURS} <= host.held
        assert HTTP not in host.held
        assert exchange.capabilities == (SHELF,)
        assert host.sent[0].capabilities == (OURS,)


def test_what_came_with_a_response_is_seen() -> None:
    def answer(request: SentRequest) -> Answer:
        return Answer(capabilities=(SHELF,))

    def work() -> None:
        response = Request().target(OTHER).send_and_await_response(5)
        save_capabilities(response.capabilities)
        assert SHELF in our_capabilities()

    with FakeHost() as host:
        host.process("ledger:bank:guesthouse.os", answer)
        run(host, work)
        assert SHELF in host.held


def test_each_refusal_for_want_of_a_capability_names_it() -> None:
    caught: list[MissingCapability] = []

    def attempt(work: Callable[[], object]) -> None:
        try:
            work()
        except MissingCapability as refused:
            caught.append(refused)

    def work() -> None:
        attempt(lambda: set_state(bytes(99)))
        attempt(lambda: spawn("/child.wasm"))
        attempt(lambda: Request().target(OTHER).body("hello").send_and_await_response(5))
        drop_capabilities([HTTP])
        attempt(lambda: bind_ws_path("/"))

    with FakeHost() as host:
        host.process("ledger:bank:guesthouse.os", lambda request: Answer(), public=False)
        host.held = {HTTP, Capability.of("fake.os@state:distro:sys", {"bytes": 98})}
        run(host, work)
    assert [type(error) for error in caught] == [
        StateTooBig,
        SpawnNotAuthorised,
        NotAuthorised,
        BindNotAuthorised,
    ]
    missing = [error.missing for error in caught]
    state = Capability.of("fake.os@state:distro:sys", {"bytes": 99})
    assert missing == [state, SPAWN, Capability.messaging(OTHER), HTTP]
    assert str(caught[1]).endswith(f"(it lacks {SPAWN})")


def test_a_child_is_started_with_what_its_parent_holds_of_what_was_asked() -> None:
    started: list[ProcessId] = []

    def work() -> None:
        grantee = ProcessId.parse("audit:office:guesthouse.os")
        started.append(
            spawn(
                "/build/child.wasm",
                name="worker",
                on_exit="restart",
                request_capabilities=[HTTP, SHELF],
                grant_capabilities=[grantee],
            )
        )
        started.append(spawn("/build/child.wasm"))
        with pytest.raises(NameTaken):
            spawn("/build/child.wasm", name="worker")
        with pytest.raises(NoFileAtPath, match=r"/none\.wasm"):
            spawn("/none.wasm")

    with FakeHost() as host:
        host.held.add(SPAWN)
        host.components.add("/build/child.wasm")
        run(host, work)
        assert [child.id for child in host.spawned] == started
        first, second = host.spawned
    assert first.capabilities == (HTTP,)
    assert [str(grantee) for grantee in first.granted] == ["audit:office:guesthouse.os"]
    assert str(first.id) == "worker:app:guesthouse.os"
    assert first.id != second.id
