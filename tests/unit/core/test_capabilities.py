"""What a process holds, hands on, saves and drops: decided without I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guesthouse.core.address import HTTP_SERVER, ProcessId
from guesthouse.core.capabilities import (
    MOST_RECEIVED,
    MOST_REFUSALS,
    MOST_SAVED,
    BadCapability,
    Capability,
    Holdings,
    defaults,
    of_node,
)

NODE = "home.os"
DOOR = of_node(NODE, ProcessId.parse("door:house:a.os"))
OWN = f"{NODE}@guest:inn:b.os"


def holdings() -> Holdings:
    return Holdings(OWN, defaults(NODE, 1000))


def numbered(number: int) -> Capability:
    return Capability.read(f"{NODE}@door:house:a.os", str(number))


def test_a_capability_is_the_same_in_every_spelling() -> None:
    one = Capability.read("home.os@http_server:sys:nectar", '{"b": 1,  "a": [2]}')
    assert one == Capability(f"{NODE}@{HTTP_SERVER}", '{"a":[2],"b":1}')


@pytest.mark.parametrize("params", ["", "{", "NaN", "[" * 2000, '"' + "x" * 2000 + '"'])
def test_what_is_no_json_is_no_capability(params: str) -> None:
    with pytest.raises(BadCapability, match="params"):
        Capability.read(OWN, params)


def test_nothing_is_held_that_nobody_gave() -> None:
    held = holdings()
    assert held.holds(of_node(NODE, HTTP_SERVER))
    assert held.state_bytes() == 1000
    assert not held.holds(DOOR)
    assert not held.may_attach(DOOR)
    assert held.save([DOOR]) == []
    assert not held.holds(DOOR)


def test_what_was_handed_over_is_held_once_it_is_saved_and_until_it_is_dropped() -> None:
    held = holdings()
    held.receive([DOOR], "home.os@giver:x:y")
    assert held.may_attach(DOOR)
    assert not held.holds(DOOR)
    assert held.save([DOOR]) == [DOOR]
    held.begin_run()
    assert held.holds(DOOR)
    assert held.drop([DOOR, numbered(1)]) == [DOOR]
    assert not held.holds(DOOR)
    assert held.save([DOOR]) == []


def test_what_was_handed_over_in_an_earlier_run_cannot_be_saved_any_more() -> None:
    held = holdings()
    held.receive([DOOR], "home.os@giver:x:y")
    held.begin_run()
    assert held.save([DOOR]) == []


def test_what_is_granted_lasts_as_long_as_the_grant_whether_it_is_saved_or_not() -> None:
    held = holdings()
    held.requested = frozenset((DOOR,))
    assert held.save([DOOR]) == [DOOR]
    assert held.holds(DOOR)
    held.requested = frozenset()
    assert not held.holds(DOOR)
    assert DOOR not in held.all()
    assert not held.may_attach(DOOR)


@pytest.mark.parametrize(
    ("giver", "issuer", "lasts"),
    [
        (f"{NODE}@sibling:inn:b.os", "door:house:a.os", False),
        (OWN, "door:house:a.os", False),
        (f"{NODE}@sibling:inn:b.os", "sibling:inn:b.os", True),
        (f"{NODE}@giver:x:y", "door:house:a.os", True),
        ("away.os@sibling:inn:b.os", "door:house:a.os", True),
    ],
)
def test_what_a_package_is_granted_its_processes_cannot_give_each_other_for_longer(
    giver: str, issuer: str, lasts: bool
) -> None:
    right = of_node(NODE, ProcessId.parse(issuer))
    held = holdings()
    held.of_package = frozenset((right,))
    held.receive([right], giver)
    assert held.save([right]) == [right]
    held.begin_run()
    assert held.holds(right)
    held.of_package = frozenset()
    assert held.holds(right) is (right in held.all()) is held.may_attach(right) is lasts
    held.of_package = frozenset((right,))
    assert held.holds(right), "a rollback returns it"
    assert held.drop([right]) == [right]
    assert not held.holds(right)


def test_what_was_given_from_outside_and_is_handed_on_within_the_package_is_from_outside() -> None:
    held = holdings()
    assert held.giver_of(DOOR) == OWN
    held.receive([DOOR], "home.os@giver:x:y")
    assert held.giver_of(DOOR) == "home.os@giver:x:y"
    held.save([DOOR])
    held.begin_run()
    assert held.giver_of(DOOR) == "home.os@giver:x:y"
    held.requested = frozenset((DOOR,))
    assert held.giver_of(DOOR) == OWN
    sibling = f"{NODE}@sibling:inn:b.os"
    held.receive([numbered(1)], sibling)
    assert held.giver_of(numbered(1)) == OWN


def test_what_0_1_0_saved_can_be_handed_on_within_the_package_as_it_is_held() -> None:
    held = Holdings(OWN, saved={DOOR})
    assert held.holds(DOOR)
    assert held.giver_of(DOOR) == DOOR.issuer


def test_a_child_hands_on_what_its_parent_was_given_from_outside() -> None:
    child = Holdings(
        OWN, named=False, requested=frozenset((DOOR, numbered(1))), of_package=frozenset((numbered(1),))
    )
    assert child.giver_of(DOOR) == DOOR.issuer
    assert child.giver_of(numbered(1)) == OWN


def test_what_another_package_gave_stays_so_when_a_sibling_gives_it_too() -> None:
    held = holdings()
    for giver in ("home.os@giver:x:y", f"{NODE}@sibling:inn:b.os"):
        held.receive([DOOR], giver)
        held.save([DOOR])
    assert held.givers[DOOR] == "home.os@giver:x:y"
    assert held.holds(DOOR)


def test_a_process_attaches_what_it_issues_and_no_others_issue_it() -> None:
    assert holdings().may_attach(Capability.read(OWN, '"my own"'))
    assert not Holdings(f"{NODE}@other:inn:b.os").may_attach(Capability.read(OWN, '"my own"'))


def test_what_every_process_has_can_be_dropped_and_larger_state_be_granted() -> None:
    held = holdings()
    held.requested = frozenset((Capability.read(f"{NODE}@state:distro:sys", '{"bytes": 5000}'),))
    assert held.state_bytes() == 5000
    held.drop(held.all())
    assert held.all() == set()
    assert held.state_bytes() == 0


@pytest.mark.parametrize("params", ['"bytes"', '{"bytes":true}', '{"bytes":"9"}', "[1]", '{"bytes":-5}'])
def test_strange_params_of_state_allow_nothing(params: str) -> None:
    held = Holdings(OWN, saved={Capability.read(f"{NODE}@state:distro:sys", params)})
    assert held.state_bytes() <= 0


@given(st.lists(st.tuples(st.sampled_from("rsdu"), st.integers(0, 2000)), max_size=400))
def test_whatever_a_process_does_it_keeps_a_bounded_number(steps: list[tuple[str, int]]) -> None:
    held = holdings()
    for step, number in steps:
        some = [numbered(number + offset) for offset in range(20)]
        if step == "r":
            held.receive(some, "home.os@giver:x:y")
        elif step == "s":
            held.save(some)
        elif step == "d":
            held.drop(some)
        else:
            held.refuse(some[0])
    assert len(held.received) <= MOST_RECEIVED
    assert len(held.saved) <= MOST_SAVED
    assert len(held.refused) <= MOST_REFUSALS


def test_refusals_are_worth_ever_fewer_lines_in_the_log() -> None:
    held = holdings()
    assert [number for number in range(1, 100) if held.refuse(DOOR)] == [1, 2, 4, 8, 16, 32, 64]
    assert held.refused[DOOR] == 99
