"""One caller's bodies leave room for those of others."""

from __future__ import annotations

from guesthouse.http_api.body_shares import BodyShares


def test_one_caller_has_half_of_it_at_most() -> None:
    shares = BodyShares(100)
    one, other, third = (shares.of(name) for name in ("one", "other", "third"))
    assert one.take(30)
    assert shares.of("one").take(20), "exactly half"
    assert not one.take(1)
    assert other.take(50)
    assert not third.take(1), "all is taken"
    one.release(30)
    assert third.take(30)
    assert not third.take(1)


def test_callers_without_a_body_are_forgotten() -> None:
    shares = BodyShares(100)
    for number in range(1000):
        share = shares.of(str(number))
        assert share.take(10)
        share.release(10)
        assert not share.take(51)
        share.release(0)
    assert not shares._held
