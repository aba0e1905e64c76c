from __future__ import annotations

from pathlib import Path

import pytest
from guesthouse_sdk import build
from guesthouse_sdk._json_guard import MAX_DEPTH, check_depth


def test_the_command_names_the_contract_the_author_and_the_sdk(tmp_path: Path) -> None:
    source, stage = tmp_path / "app.py", tmp_path / "stage"
    source.write_text("")
    stage.mkdir()
    argv = build.componentize_argv(source, tmp_path / "out.wasm", stage)
    assert argv[argv.index("componentize") + 1] == "guesthouse_guest"
    assert str(tmp_path) in argv
    assert (Path(argv[argv.index("--wit-path") + 1]) / "world.wit").is_file()
    assert (stage / "guesthouse_guest.py").read_text().startswith("import app as app\n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.py", "is not a Python file"),
        ("app.txt", "is not a Python file"),
        ("my-app.py", "rename it to a Python identifier"),
        ("guesthouse_sdk.py", "would hide a module"),
        ("process.py", "would hide a module"),
        ("class.py", "cannot be imported"),
    ],
)
def test_a_source_that_cannot_be_built_is_one_line_and_exit_1(
    name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name != "missing.py":
        (tmp_path / name).write_text("")
    assert build.main([str(tmp_path / name), "-o", str(tmp_path / "out.wasm")]) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def test_the_report_of_the_tool_is_cut_to_what_concerns_the_author() -> None:
    output = """Traceback (most recent call last):
  File "/venv/bin/componentize-py", line 6, in <module>
    sys.exit(script())
             ^^^^^^^^
AssertionError: Traceback (most recent call last):
  File "/0/guesthouse_guest.py", line 1, in <module>
    import app as app
  File "/1/app.py", line 1, in <module>
    raise ValueError("at import")
ValueError: at import


Caused by:
    ValueError: at import
"""
    assert build.explain("app.py", output).splitlines() == [
        "app.py:1: error: ValueError: at import",
        "Traceback (most recent call last):",
        '  File "app.py", line 1, in <module>',
        '    raise ValueError("at import")',
    ]


@pytest.mark.parametrize("output", ["", "AssertionError: ", "\nCaused by:\n    nothing"])
def test_a_tool_that_says_nothing_is_explained_too(output: str) -> None:
    assert build.explain("app.py", output) == "app.py cannot be built: componentize-py said nothing"


def test_the_report_of_a_main_that_cannot_be_run_is_its_last_line() -> None:
    output = """AssertionError: Traceback (most recent call last):
  File "/0/guesthouse_guest.py", line 4, in <module>
    Guest = guest(app)
  File "/2/guesthouse_sdk/entry.py", line 33, in guest
    raise BadMain(f"{module} has no main: {remedy}")
guesthouse_sdk.entry.BadMain: app has no main: write `main = YourProcess`, or `def main(our): …`
"""
    reason = "app has no main: write `main = YourProcess`, or `def main(our): …`"
    assert build.explain("app.py", output) == f"app.py cannot be built: {reason}"


@pytest.mark.thorough
@pytest.mark.slow
def test_a_module_that_calls_the_host_while_it_is_built_is_explained_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    reason = "app.py calls receive while it is imported"
    (tmp_path / "app.py").write_text("from guesthouse_sdk import receive\nreceive()\n")
    output = tmp_path / "build" / "app.wasm"
    with pytest.raises(build.BuildError) as error:
        build.build(tmp_path / "app.py", output)
    assert reason in str(error.value)
    assert "Stack backtrace" not in str(error.value)
    assert "guesthouse_guest" not in str(error.value)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        "[" + "[]," * 5000 + "1]",
        '"' + "[" * 5000 + '"',
        '["\\"' + "[" * 5000 + '"]',
        '{"a": [' + '{"b": "}"},' * 2000 + "1]}",
        '"' + "[" * 5000,
    ],
)
def test_json_that_is_only_long_is_not_too_deep(text: str) -> None:
    check_depth(text)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 1000, "[" * (MAX_DEPTH + 1), '["]]]]",' * (MAX_DEPTH + 1)]
)
def test_json_that_is_too_deep_is_a_recursion_error(text: str) -> None:
    with pytest.raises(RecursionError, match="nested deeper"):
        check_depth(text)
