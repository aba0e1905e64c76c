"""Commands for packages: `build`, `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json

if TYPE_CHECKING:
    from guesthouse.package.description import Item
    from guesthouse.package.inspect import Inspection


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
    from guesthouse.package.errors import BuildError

    try:
        made = build_package(folder, output, lambda line: click.echo(line, err=True))
    except BuildError as error:
        if error.output:
            click.echo(error.output, err=True)
        raise
    if output is not None:
        click.echo(made)


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@home_option
@json_option
def inspect(file: Path, home: str | None, as_json: bool) -> None:
    """Show what a component imports and exports, and whether this host can run it.

    The exit code is 0 when it can, and 1 when it cannot.
    """
    import asyncio
    from tempfile import TemporaryDirectory

    from guesthouse.config import PackageLimits
    from guesthouse.home import Home
    from guesthouse.package.inspect import inspect_component

    compiled = Home(home_path(home)).compiled
    with TemporaryDirectory(prefix="guesthouse-") as work:
        cache = compiled if compiled.is_dir() else Path(work) / "compiled"
        found = asyncio.run(inspect_component(file, PackageLimits(), cache))
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found)
    if not found.runnable:
        raise SystemExit(1)


def _as_json(found: Inspection) -> dict[str, Any]:
    return {
        "file": str(found.file),
        "runnable": found.runnable,
        "problems": list(found.problems),
        "imports": [_item_as_json(item) for item in found.imports],
        "exports": [_item_as_json(item) for item in found.exports],
    }


def _item_as_json(item: Item) -> dict[str, Any]:
    return {"name": item.name, "kind": item.kind, "functions": list(item.functions)}


def _show(found: Inspection) -> None:
    for title, items in (("imports", found.imports), ("exports", found.exports)):
        click.echo(f"{title}:")
        for item in items:
            click.echo(f"  {item.name}" + ("" if item.kind == "interface" else f" ({item.kind})"))
            for function in item.functions:
                click.echo(f"    {function}")
    if found.runnable:
        click.echo("this host can run it")
        return
    click.echo("this host cannot run it:")
    for problem in found.problems:
        click.echo(f"  it {problem}")
