"""Completes words of a command line with what the running node has. Quiet, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import click

from guesthouse.cli.options import home_path

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def complete_from(command: str, key: str) -> Complete:
    """Completes with what the node lists.

    Args:
        command: the node's, such as `ps`.
        key: of its items.
    """

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        from guesthouse.control.control_client import ask
        from guesthouse.core.errors import GuesthouseError

        found: list[str] = []
        with suppress(GuesthouseError, OSError):
            found = [str(item[key]) for item in ask(home_path(context.params.get("home")), command)]
        return [name for name in found if name.startswith(incomplete)]

    return complete


PROCESSES: Final = complete_from("ps", "process")
PACKAGES: Final = complete_from("packages", "package")
