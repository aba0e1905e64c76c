"""Whose guests may be on which worker, whatever comes and goes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.kernel.workers.placement import Isolation, NoWorkerLeft, Placement

PACKAGES = ("chat:a.os", "echo:a.os", "echo:b.os", "game:c.os")
MOST = 3

moves = st.lists(st.tuples(st.sampled_from(PACKAGES), st.booleans()), max_size=60)


@given(moves)
def test_no_worker_is_ever_two_packages(steps: list[tuple[str, bool]]) -> None:
    placement = Placement(Isolation.PACKAGE, 8, MOST)
    there: Counter[str] = Counter()
    owners: dict[str, str] = {}
    for package, comes in steps:
        if comes:
            enters(placement, package, there)
        elif there[package]:
            ended = placement.leave(package)
            there[package] -= 1
            assert (ended is not None) == (there[package] == 0)
            assert ended not in placement.names
        for package in PACKAGES:
            usable = [name for name in placement.names if placement.may_run(name, package)]
            assert len(usable) == bool(there[package])
            for name in usable:  # for all time, not only now
                assert owners.setdefault(name, package) == package
        assert len(placement.names) <= MOST


def enters(placement: Placement, package: str, there: Counter[str]) -> None:
    before = set(placement.names)
    try:
        started = placement.enter(package)
    except NoWorkerLeft:
        assert not there[package]
        assert len(+there) == MOST
        return
    there[package] += 1
    assert set(placement.names) - before == ({started} if started else set())


@given(moves, st.integers(1, 5))
def test_shared_workers_run_everybody_and_are_never_ended(steps: list[tuple[str, bool]], count: int) -> None:
    placement = Placement(Isolation.SHARED, count, 1)
    for package, comes in steps:
        assert (placement.enter(package) if comes else placement.leave(package)) is None
    assert len(placement.names) == count
    assert all(placement.may_run(name, package) for name in placement.names for package in PACKAGES)


def test_a_package_too_many_is_told_what_to_do() -> None:
    placement = Placement(Isolation.PACKAGE, 1, 1)
    placement.enter("chat:a.os")
    with pytest.raises(NoWorkerLeft) as caught:
        placement.enter("echo:a.os")
    assert str(caught.value) == (
        "echo:a.os needs a worker of its own, and all 1 belong to other packages: "
        "raise most_workers in guesthouse.toml, or uninstall a package"
    )


def test_the_worker_that_a_node_starts_with_goes_to_the_first_package() -> None:
    placement = Placement(Isolation.PACKAGE, 4, 2)
    (spare,) = placement.names
    assert placement.enter("chat:a.os") is None
    assert placement.owner(spare) == "chat:a.os"
    assert placement.enter("echo:a.os") not in (None, spare)
