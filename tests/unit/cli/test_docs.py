"""`docs/cli.md` and `--help` tell the same story."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from guesthouse.cli.main import COMMANDS, cli
from guesthouse.cli.terminal.examples import EXAMPLES

DOCS = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## guesthouse (\S+)\n(.*?)(?=^## |\Z)", DOCS, re.MULTILINE | re.DOTALL))


def command_named(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def option_names(command: click.Command) -> set[str]:
    options = (parameter for parameter in parameters(command) if isinstance(parameter, click.Option))
    return {name for option in options for name in option.opts}


def parameters(command: click.Command) -> list[click.Parameter]:
    """Of a command, or of all commands of a group."""
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(parameter for each in inner for parameter in each.params)]


def test_each_command_has_its_section_and_no_other_has() -> None:
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_section_names_exactly_the_options_of_its_command(name: str) -> None:
    tables = re.findall(r"^\| (`-[^|]*) \|", SECTIONS[name], re.MULTILINE)
    documented = {option for cell in tables for option in re.findall(r"`(-[\w-]+)`", cell)}
    assert documented == option_names(command_named(name))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_usage_line_shows_each_option_once(name: str) -> None:
    usages = re.findall(rf"^    guesthouse {name} ?(.*)$", SECTIONS[name], re.MULTILINE)
    command = command_named(name)
    if isinstance(command, click.Group):
        assert [usage.split()[0] for usage in usages] == list(command.commands)
        commands = list(command.commands.values())
    else:
        commands = [command]
    for usage, each in zip(usages, commands, strict=True):
        shown = set(re.findall(r"(?<!\w)(--?[a-z-]+)", usage))
        options = (parameter for parameter in each.params if isinstance(parameter, click.Option))
        assert all(len(shown & set(option.opts)) == 1 for option in options)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_and_option_explains_itself(name: str) -> None:
    command = command_named(name)
    assert command.help
    if isinstance(command, click.Group):
        assert all(each.help for each in command.commands.values())
    assert all(option.help for option in parameters(command) if isinstance(option, click.Option))


def test_each_command_has_examples_of_itself_with_options_that_it_has() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    for name, lines in EXAMPLES.items():
        assert 1 <= len(lines) <= 4
        for line in lines:
            assert f"guesthouse {name}" in line
            given = re.findall(r"(?<!\S)--?[a-z][\w-]*", line.partition("#")[0])
            assert set(given) <= option_names(command_named(name)), line


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_ends_with_the_examples_as_they_are(name: str) -> None:
    said = CliRunner().invoke(cli, [name, "--help"], terminal_width=60).output
    shown = [line.strip() for line in said.partition("Examples:\n")[2].splitlines()]
    assert shown == list(EXAMPLES[name])
