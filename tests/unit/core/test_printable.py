from __future__ import annotations

import pytest

from guesthouse.core.printable import number_of


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (1, ("channel",), "1 channel"),
        (0, ("channel",), "0 channels"),
        (2, ("client was", "clients were"), "2 clients were"),
        (1, ("process", "processes"), "1 process"),
    ],
)
def test_one_thing_is_not_several(count: int, words: tuple[str, ...], text: str) -> None:
    assert number_of(count, *words) == text
