"""Durations and numbers of seconds that commands take."""

from __future__ import annotations

import click
import pytest

from guesthouse.cli.keys import api_key
from guesthouse.cli.terminal.durations import Seconds, duration
from guesthouse.cli.top import top


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10min", 600), ("2 h", 7200), ("3d", 259_200), ("0s", 0)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "1m", "-1d", "1.5h", "1e3d", "9999999999d", "1d 2h"])
def test_what_is_none_is_told(text: str) -> None:
    assert duration(text) is None


@pytest.mark.parametrize("given", ["nan", "NaN", "-1", "3", "x"])
def test_seconds_have_a_range_that_nan_is_not_in(given: str) -> None:
    with pytest.raises(click.BadParameter):
        Seconds(0, 2).convert(given, None, None)


@pytest.mark.parametrize("given", ["0s", "3661d", "soon"])
def test_a_key_is_valid_for_some_time_and_not_for_ever(given: str) -> None:
    with pytest.raises(click.BadParameter, match="not a duration of at most ten years, such as 90s"):
        api_key.main(["create", "name", "--role", "read", "--expires", given], standalone_mode=False)


def test_top_looks_again_at_no_time_that_is_none() -> None:
    with pytest.raises(click.BadParameter):
        top.main(["--once", "--interval", "nan"], standalone_mode=False)
