"""The `guesthouse` command. Each subcommand imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import sys

import click

import guesthouse
from guesthouse.cli import streams
from guesthouse.cli.auth import passwd, revoke, token
from guesthouse.cli.build import build, inspect, new
from guesthouse.cli.install import install, packages, rollback, uninstall
from guesthouse.cli.processes import explain, kill, restart, send, stop
from guesthouse.cli.run import run
from guesthouse.cli.status import channels, logs, ps
from guesthouse.core.errors import GuesthouseError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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


for command in (
    run,
    new,
    build,
    inspect,
    install,
    uninstall,
    rollback,
    packages,
    ps,
    channels,
    logs,
    send,
    restart,
    stop,
    kill,
    explain,
    token,
    revoke,
    passwd,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line. A `GuesthouseError` is one line on standard error, and exit code 1."""
    streams.prepare()
    try:
        cli(prog_name="guesthouse")
    except GuesthouseError as error:
        try:
            click.echo(f"guesthouse: {one_line(str(error))}", err=True)
        except OSError:
            streams.discard_errors()
        sys.exit(1)


def one_line(text: str) -> str:
    """The text on one line, without characters that a terminal interprets."""
    from guesthouse.node.log import printable

    return printable(" ".join(text.split("\n")))
