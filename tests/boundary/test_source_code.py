"""Generated source is compiled once, unless it is long."""

from __future__ import annotations

from guesthouse.wasm.abi.source_code import MOST_CHARACTERS, code_of


def test_the_same_source_is_compiled_once() -> None:
    assert code_of("kept = 1\n", "<a>") is code_of("kept = 1\n", "<a>")


def test_code_says_what_it_was_made_for() -> None:
    assert code_of("other = 1\n", "<a>").co_filename == "<a>"
    assert code_of("other = 1\n", "<b>").co_filename == "<b>"


def test_long_source_is_not_kept() -> None:
    just = "x = 1".ljust(MOST_CHARACTERS)
    assert code_of(just, "<a>") is code_of(just, "<a>")
    long = just + " "
    assert code_of(long, "<a>") is not code_of(long, "<a>")


def test_code_runs_in_each_scope_that_it_is_given() -> None:
    results = []
    for number in (1, 2):
        scope = {"given": number}
        exec(code_of("def f(): return given\n", "<a>"), scope)  # noqa: S102 - the text is above
        results.append(scope["f"]())  # type: ignore[operator]
    assert results == [1, 2]
