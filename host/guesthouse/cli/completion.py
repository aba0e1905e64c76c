"""`guesthouse completion`: scripts for shells."""

from __future__ import annotations

from typing import Final

import click

VARIABLE: Final = "_GUESTHOUSE_COMPLETE"
"""Set by the shell's script, which asks with it."""
SHELLS: Final = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script by which SHELL completes commands, options, processes and packages.

    Put it where your shell reads it when it starts.
    """
    from click.shell_completion import get_completion_class

    from guesthouse.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - one of those that click knows
    made = kind(cli, {}, "guesthouse", VARIABLE)
    script = made.source_template % made.source_vars()
    if shell == "bash":  # which would take the parts of a process's id for words
        script = f'COMP_WORDBREAKS="${{COMP_WORDBREAKS//:/}}"\n{script}'
    click.echo(script)
