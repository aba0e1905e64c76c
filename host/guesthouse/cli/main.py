"""The `guesthouse` command. Each subcommand imports what it needs when it runs, so that `--help` is fast."""

# ruff: noqa: E402 - what comes first makes the rest quicker to load
from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Final

from guesthouse.core.late_modules import PLATFORM, put_off

put_off("platform", **PLATFORM)
for _name in ("textwrap", "tokenize"):  # of `click` and `linecache`, for help and tracebacks
    put_off(_name)

import click

import guesthouse
from guesthouse.cli import streams
from guesthouse.cli.terminal.examples import EXAMPLES
from guesthouse.core.errors import GuesthouseError

_MODULES: Final = {
    "run": ("run",),
    "build": ("new", "build", "inspect"),
    "install": ("install", "uninstall", "rollback", "packages"),
    "status": ("ps", "channels", "logs"),
    "processes": ("send", "restart", "restart-node", "stop", "kill", "explain", "log-level"),
    "drain": ("drain",),
    "top": ("top",),
    "connect": ("connect",),
    "completion": ("completion",),
    "configuration": ("config",),
    "doctor": ("doctor",),
    "backups": ("backup", "restore"),
    "auth": ("token", "revoke", "passwd"),
    "keys": ("api-key", "dashboard"),
    "cluster_commands": ("cluster",),
}
"""The modules of this package that have commands, and the commands of each."""
COMMANDS: Final = {name: module for module, names in _MODULES.items() for name in names}
"""The module of each command."""


class _Commands(click.Group):
    """Loads a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, by name."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f"guesthouse.cli.{module}"), _attribute(cmd_name))
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in EXAMPLES[cmd_name])
        return command


def _attribute(name: str) -> str:
    return name.replace("-", "_")


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, wanted: _version(context, wanted=wanted),
    help="Show the version and exit.",
)
def cli() -> None:
    """Run untrusted WebAssembly processes behind WebSockets."""


def _version(context: click.Context, *, wanted: bool) -> None:
    """Looked up here only, because reading the installed metadata takes a tenth of a worker's start."""
    if wanted and not context.resilient_parsing:
        click.echo(f"guesthouse, version {guesthouse.__version__}")
        context.exit()


def main() -> None:
    """Run the command line. A `GuesthouseError` is one line on standard error, and exit code 1."""
    gc.disable()  # a command ends before garbage is worth looking for; a node enables it
    streams.prepare()
    try:
        _run()
    except SystemExit as end:
        _end_despite_threads(end)
        raise
    finally:
        gc.freeze()  # the end looks for garbage, too


def _run() -> None:
    try:
        cli(prog_name="guesthouse", color=False if os.environ.get("NO_COLOR") else None)
    except GuesthouseError as error:
        try:
            click.echo(f"guesthouse: {one_line(str(error))}", err=True)
        except OSError:
            streams.discard_errors()
        sys.exit(1)


def _end_despite_threads(end: SystemExit) -> None:
    """End at once if a thread hangs, for which Python would wait for ever."""
    ending = sys.modules.get("guesthouse.cli.ending")  # of a node: other commands have no such threads
    if ending is None or ending.threads_end():
        return
    with suppress(OSError, ValueError):
        click.echo("guesthouse: ended, though a file system or device does not answer", err=True)
        sys.stdout.flush()
    os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))


def one_line(text: str) -> str:
    """The text on one line, without characters that a terminal interprets."""
    from guesthouse.core.printable import printable

    return printable(" ".join(text.split("\n")))
