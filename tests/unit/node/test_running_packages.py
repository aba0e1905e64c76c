"""The packages that a node runs: what is added, removed and found."""

from __future__ import annotations

from pathlib import Path

from guesthouse.core.address import ProcessId
from guesthouse.node.running_packages import RunningPackages
from guesthouse.package.spec import Package, ProcessSpec


def package(name: str, publisher: str = "test.os", version: str = "1") -> Package:
    process = ProcessSpec(
        ProcessId("main", name, publisher), Path("main.wasm"), "none", public=False, ui=None, version=version
    )
    return Package(name, publisher, version, "", Path(name), (process,))


def test_one_is_found_by_its_id_its_host_and_its_processes_until_it_is_removed() -> None:
    one, other, same_host = package("chat"), package("echo"), package("chat-test", "os")
    running = RunningPackages()
    running.add([one, other])
    running.add([same_host])
    assert list(running) == [one, other, same_host]
    assert running.of("chat:test.os") == [one]
    assert running.hosted_with("chat:test.os") == {one.id, same_host.id}
    assert running.hosted_with("nobody:test.os") == set()
    assert all(running.has(each.processes[0]) for each in running)
    running.remove(running.of("chat:test.os"))
    assert list(running) == [other, same_host]
    assert running.of("chat:test.os") == []
    assert running.hosted_with("chat:test.os") == {same_host.id}
    assert not running.has(one.processes[0])


def test_a_version_is_not_taken_for_an_equal_one() -> None:
    """One that is loaded again is equal to the one before, whose processes are not to be started any more."""
    before, after = package("chat"), package("chat")
    assert before == after
    running = RunningPackages()
    running.add([before])
    running.remove(each for each in running if each.id == after.id)
    running.add([after])
    assert not running.has(before.processes[0])
    assert running.has(after.processes[0])


def test_packages_of_one_id_are_found_in_their_order() -> None:
    one, two = package("chat"), package("chat", version="2")
    running = RunningPackages()
    running.add([one, two])
    assert running.of(one.id) == [one, two]
    running.remove([one])
    assert running.of(one.id) == [two]
