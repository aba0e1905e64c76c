"""Tables for people: those that need no layout are as `rich` would print them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from guesthouse.cli import status
from guesthouse.cli.status import Columns, plain_lines, print_table

COLUMNS: Columns = (
    ("PROCESS", lambda item: str(item["a"])),
    ("UP", lambda item: str(item["b"])),
    ("A LONG TITLE", lambda item: str(item["c"])),
)
CELL = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)


def printed(rows: Sequence[tuple[str, str, str]]) -> str:
    with redirect_stdout(StringIO()) as out:
        print_table([dict(zip("abc", row, strict=True)) for row in rows], COLUMNS)
    return out.getvalue()


@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5))
def test_a_plain_table_is_as_rich_prints_it(rows: list[tuple[str, str, str]]) -> None:
    with redirect_stdout(StringIO()) as out:
        status._print_folded([title for title, _ in COLUMNS], rows)
    assert printed(rows) == out.getvalue()


def test_a_wide_table_is_folded() -> None:
    text = "x" * 300
    out = printed([(text, "1", "2")])
    assert text not in out
    assert out.count("x") == 300


def test_wide_characters_are_counted_as_two_cells() -> None:
    assert plain_lines([["\u5bb6"]], 240) is None
    title, row = printed([(4 * "\u5bb6", "1", "2")]).splitlines()
    assert title.index("UP") == row.index("1") + 4
