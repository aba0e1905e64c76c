"""Options that several commands share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from guesthouse.core.errors import GuesthouseError

_Command = TypeVar("_Command", bound=Callable[..., Any])


class NotText(GuesthouseError):
    """Input that should be text is not valid in its encoding."""


def home_option(command: _Command) -> _Command:
    """`--home DIR`."""
    option = click.option("--home", metavar="DIR", help="The node's folder. [default: ~/.guesthouse]")
    return option(command)


def json_option(command: _Command) -> _Command:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def home_path(home: str | None) -> Path:
    """The node's folder that a command refers to."""
    from guesthouse.core.home import home_folder

    return home_folder(home, os.environ)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2))


def version_text(version: str | None, content_hash: str | None) -> str:
    """A version, with the start of its content's hash if known."""
    if version is None:
        return "-"
    return version if content_hash is None else f"{version} ({content_hash[:12]})"
