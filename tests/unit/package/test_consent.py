"""What a package asks for beyond the version before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from guesthouse.core.address import ProcessId
from guesthouse.package.consent import asked_by, changes
from guesthouse.package.spec import Package, ProcessSpec, Right

STATE_BYTES = 1000
A, B = ProcessId.parse("a:mine:test.os"), ProcessId.parse("b:mine:test.os")
OTHER = ProcessId.parse("x:other:test.os")
MESSAGING = '"messaging"'


def right(process: str, params: str = MESSAGING) -> Right:
    return ProcessId.parse(process), params


def process(
    id_: ProcessId = A,
    *,
    requests: tuple[Right, ...] = (),
    grants: tuple[Right, ...] = (),
    public: bool = False,
) -> ProcessSpec:
    return ProcessSpec(id_, Path("x.wasm"), "none", public, None, requests, grants)


def package(*processes: ProcessSpec) -> Package:
    return Package("mine", "test.os", "1", "", Path("/p"), processes)


def more(before: ProcessSpec | None, after: ProcessSpec) -> list[str]:
    old = None if before is None else package(before)
    return [str(asked) for asked in changes(old, package(after), STATE_BYTES).more]


NETWORK = right("kernel:distro:sys", '"network"')
SPAWN = right("kernel:distro:sys", '"spawn"')


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        (NETWORK, 'a:mine:test.os requests "network" of kernel:distro:sys'),
        (SPAWN, 'a:mine:test.os requests "spawn" of kernel:distro:sys'),
        (right("kv:sys:nectar"), 'a:mine:test.os requests "messaging" of kv:distro:sys'),
        (
            right("state:distro:sys", '{"bytes":1001}'),
            'a:mine:test.os requests {"bytes":1001} of state:distro:sys',
        ),
        (
            right("state:distro:sys", '{"bytes":1,"x":2}'),
            'a:mine:test.os requests {"bytes":1,"x":2} of state:distro:sys',
        ),
        (right("state:distro:sys", "true"), "a:mine:test.os requests true of state:distro:sys"),
        (right("http-server:distro:sys", "7"), "a:mine:test.os requests 7 of http-server:distro:sys"),
        (right("b:mine:test.os", "7"), "a:mine:test.os requests 7 of b:mine:test.os"),
    ],
)
def test_what_a_version_requests_first_is_more(requests: Right, text: str) -> None:
    asks = process(requests=(requests,))
    assert more(process(), asks) == [text]
    assert more(None, asks) == [text]
    assert more(asks, asks) == []
    assert [str(asked) for asked in changes(package(asks), package(process()), STATE_BYTES).less] == [text]


@pytest.mark.parametrize(
    "requests",
    [
        right("http-server:distro:sys"),
        right("http_server:sys:nectar"),
        right("b:mine:test.os"),
        right("state:distro:sys", '{"bytes":1000}'),
    ],
)
def test_what_every_process_has_is_not_more(requests: Right) -> None:
    assert more(process(), process(requests=(requests,))) == []


def test_state_is_more_when_it_is_larger_than_before() -> None:
    large, larger = (
        process(requests=(right("state:distro:sys", f'{{"bytes":{size}}}'),)) for size in (5000, 6000)
    )
    assert more(larger, large) == []
    assert more(large, larger) == ['a:mine:test.os requests {"bytes":6000} of state:distro:sys']


def test_grants_and_being_public_are_asked_for_too() -> None:
    grants = process(grants=((OTHER, MESSAGING),))
    assert more(process(), grants) == ['a:mine:test.os grants its "messaging" to x:other:test.os']
    assert more(process(), process(public=True)) == ["a:mine:test.os is public: every process may message it"]
    assert more(process(public=True), process(public=True)) == []
    assert more(None, process(grants=((OTHER, MESSAGING),), public=True)) == [], "it is new"


def test_what_one_process_had_is_more_for_another() -> None:
    before = package(process(A, requests=(NETWORK,)), process(B))
    after = package(process(A), process(B, requests=(NETWORK,)))
    found = changes(before, after, STATE_BYTES)
    assert [asked.process for asked in found.more] == [str(B)]
    assert [asked.process for asked in found.less] == [str(A)]
    assert len(asked_by(after)) == 1
