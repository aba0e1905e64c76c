"""Commands for packages: `build`, `inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from guesthouse.cli.options import json_option, print_json


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the package here, as a .zip.",
)
def build(folder: Path, output: Path | None) -> None:
    """Build the package in DIR: its components from their sources, and with -o one .zip of it all."""
    from guesthouse.package.build import build_package

    build_package(folder, output)


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@json_option
def inspect(file: Path, as_json: bool) -> None:
    """Show what a component imports and exports, and whether this host can run it."""
    from guesthouse.package.inspect import inspect_component

    print_json(inspect_component(file))
