"""Commands for packages: `new`, `build`, `inspect`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guesthouse.cli.options import json_option, print_json
from guesthouse.cli.terminal.progress import working
from guesthouse.core.errors import GuesthouseError
from guesthouse.package.build.template_names import LANGUAGES, TEMPLATES

if TYPE_CHECKING:
    from guesthouse.package.compile.description import Item
    from guesthouse.package.compile.inspect import Inspection


class CannotRun(GuesthouseError):
    """The inspected component cannot run on this host."""


@click.command()
@click.argument("name")
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    metavar="LANGUAGE[-chat|-http]",
    default="python",
    show_default=True,
    help=f"A language ({', '.join(LANGUAGES)}); with -chat or -http a chat or an API instead of an echo.",
)
@click.option("--publisher", default="example.os", show_default=True, help="The publisher.")
def new(name: str, template: str, publisher: str) -> None:
    """Create a small package in a new folder NAME."""
    from guesthouse.package.build.scaffold import first_steps, scaffold

    folder = scaffold(name, publisher, template, Path())
    click.echo(f"created {folder}: try '{first_steps(folder, template)}'")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the package to this .zip, or its only component to a .wasm.",
)
def build(folder: Path, output: Path | None) -> None:
    """Build the package in DIR: its components from their sources, and with -o a .zip of it.

    Skips what is up to date. Prints the package's path; compiler output goes to standard error.
    """
    import signal

    from guesthouse.core.printable import coloured, printable, wants_colours
    from guesthouse.package.build.build_package import build_package

    shown = coloured if wants_colours(sys.stderr) else str

    # A stopped build stops its compiler, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with working(f"building {folder}"):
        report = lambda line: click.echo(shown(printable(line.expandtabs())), err=True)  # noqa: E731
        built = build_package(folder, output, report)
    click.echo(os.fsencode(built))


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Show what a component imports and exports, and whether this host can run it.

    Exits with 1 when it cannot run here, and says why.
    """
    import asyncio

    from guesthouse.core.config import load_settings
    from guesthouse.package.compile.inspect import inspect_component

    settings = load_settings()
    with working(f"compiling {file}"):
        inspection = asyncio.run(inspect_component(file, settings.package, _cache_folder(), settings.process))
    if as_json:
        print_json(_for_programs(inspection))
    else:
        _print_for_people(inspection)
    if not inspection.runnable:
        raise CannotRun(f"{file} cannot run on this host: it {inspection.problems[0]}")


def _cache_folder() -> Path:
    """Where compiled components that belong to no node are cached."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "guesthouse" / "compiled"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _for_programs(inspection: Inspection) -> dict[str, object]:
    return {
        "file": str(inspection.file),
        "runnable": inspection.runnable,
        "problems": list(inspection.problems),
        "imports": [_item(item) for item in inspection.imports],
        "exports": [_item(item) for item in inspection.exports],
    }


def _item(item: Item) -> dict[str, object]:
    return {"name": item.name, "kind": item.kind, "functions": list(item.functions)}


def _print_for_people(inspection: Inspection) -> None:
    from guesthouse.core.printable import printable

    for title, items in (("imports", inspection.imports), ("exports", inspection.exports)):
        click.echo(f"{title}:" if items else f"{title}: nothing")
        for item in items:
            functions = f": {', '.join(item.functions)}" if item.functions else ""
            click.echo(printable(f"  {item.kind} {item.name}{functions}"))
    if inspection.runnable:
        click.echo("this host can run it")
    else:
        click.echo("this host cannot run it:")
        for problem in inspection.problems:
            click.echo(printable(f"  it {problem}"))
