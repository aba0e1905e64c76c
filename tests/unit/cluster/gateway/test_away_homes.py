"""What is remembered of homes that cannot be reached."""

from __future__ import annotations

from guesthouse.cluster.gateway.away_homes import AWAY_SECONDS, LISTING_SECONDS, MEETING_SECONDS, AwayHomes
from guesthouse.core.address import ForeignProcess, ProcessId

CHAT, GAME = ProcessId("chat", "chat", "example.os"), ProcessId("game", "game", "example.os")


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def at(node: str, process: ProcessId) -> ForeignProcess:
    return ForeignProcess(process.process_name, process.package_name, process.publisher_node, node)


def test_a_home_is_expected_back_for_an_hour() -> None:
    time = Time()
    homes = AwayHomes(time)
    assert not homes.have(CHAT)
    homes.lost("a.os", [CHAT])
    assert homes.have(CHAT)
    assert homes.have(at("a.os", CHAT))
    assert not homes.have(GAME)
    assert not homes.have(at("b.os", CHAT))
    time.now += AWAY_SECONDS
    assert not homes.have(CHAT)


def test_a_home_that_is_back_has_time_to_announce_its_processes() -> None:
    time = Time()
    homes = AwayHomes(time)
    homes.lost("a.os", [CHAT])
    homes.back("a.os")
    assert homes.have(CHAT)
    time.now += LISTING_SECONDS
    assert not homes.have(CHAT)


def test_one_that_goes_again_before_it_has_announced_them_is_still_away() -> None:
    time = Time()
    homes = AwayHomes(time)
    homes.lost("a.os", [CHAT])
    homes.back("a.os")
    homes.lost("a.os", [])
    time.now += LISTING_SECONDS
    assert homes.have(CHAT)


def test_what_a_home_that_is_back_has_not_announced_it_does_not_have_any_more() -> None:
    homes = AwayHomes(Time())
    homes.lost("a.os", [CHAT, GAME])
    homes.back("a.os")
    homes.listed("a.os")
    assert not homes.have(CHAT)
    homes.lost("a.os", [GAME])
    assert (homes.have(CHAT), homes.have(GAME)) == (False, True)
    homes.back("a.os")
    homes.listed("a.os")
    homes.lost("a.os", [])
    assert not homes.have(GAME), "it has taken it back"


def test_a_home_that_goes_in_the_middle_of_its_list_has_what_it_had_before_too() -> None:
    homes = AwayHomes(Time())
    homes.lost("a.os", [CHAT])
    homes.back("a.os")
    homes.lost("a.os", [GAME])
    assert homes.have(CHAT)
    assert homes.have(GAME)


def test_a_home_may_have_any_process_until_it_has_said_which_or_its_time_is_over() -> None:
    time = Time()
    homes = AwayHomes(time)

    def may_have(process: ProcessId, served: str = CHAT.package_id) -> bool:
        return homes.may_have(process, lambda node, package: (node, package) == ("a.os", served))

    assert not may_have(CHAT)
    homes.expect(["a.os", "b.os"])
    for seconds in (MEETING_SECONDS, LISTING_SECONDS):
        time.now += seconds - 1
        assert may_have(CHAT)
        assert may_have(at("a.os", CHAT))
        assert not may_have(at("b.os", CHAT)), "not served"
        assert not may_have(at("c.os", CHAT)), "unknown"
        assert not may_have(GAME), "not served"
        time.now += 1
        assert not may_have(CHAT)
        homes.back("a.os")
    assert may_have(CHAT)
    homes.listed("a.os")
    assert not may_have(CHAT)
    assert not may_have(at("a.os", CHAT))


def test_homes_without_processes_and_too_many_of_them_are_forgotten() -> None:
    homes = AwayHomes(Time())
    homes.lost("none.os", [])
    for number in range(257):
        homes.lost(f"n{number}.os", [ProcessId("p", f"p{number}", "example.os")])
    assert not homes.have(ProcessId("p", "p0", "example.os"))
    assert homes.have(ProcessId("p", "p1", "example.os"))
