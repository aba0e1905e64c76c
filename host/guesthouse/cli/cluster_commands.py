"""`guesthouse cluster`: found, join and look after a cluster of nodes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click

from guesthouse.cli.options import home_option, home_path, json_option, print_json
from guesthouse.cli.terminal.durations import duration

_LONGEST_TICKET: Final = 30 * 86_400
_DEV_PORT: Final = 4222


def _ticket_seconds(context: click.Context, parameter: click.Parameter, value: str) -> int:
    seconds = duration(value)
    if seconds is None or not 0 < seconds <= _LONGEST_TICKET:
        text = f"{value!r} is not a duration of at most 30 days, such as 90s, 10min, 12h or 7d"
        raise click.BadParameter(text, context, parameter)
    return seconds


def _cluster(name: str | None, cluster_id: str) -> str:
    """A cluster for people."""
    return cluster_id if name is None else f"{name} ({cluster_id})"


@click.group()
def cluster() -> None:
    """Found, join and look after a cluster of nodes, which reach each other over NATS."""


@cluster.command()
@click.option(
    "--nats", multiple=True, metavar="URL", help="A NATS server of the cluster; may be given again."
)
@click.option("--node", metavar="NAME", help="The node's name, kept in guesthouse.toml.")
@click.option("--name", metavar="NAME", help="What the cluster is called, for people.")
@home_option
@json_option
def init(nats: tuple[str, ...], node: str | None, name: str | None, home: str | None, as_json: bool) -> None:
    """Found a cluster, whose key is in this node's home: it alone admits and expels nodes."""
    (made,) = _ask(home, "init", nats=",".join(nats) or None, node=node, name=name)
    if as_json:
        print_json(made)
        return
    click.echo(f"{made['node']} founded the cluster {_cluster(made['name'], made['cluster'])}", err=True)


@cluster.command()
@click.option(
    "--expires",
    metavar="TIME",
    callback=_ticket_seconds,
    default="1h",
    show_default=True,
    help="How long it is valid, such as 7d.",
)
@click.option(
    "--nats", multiple=True, metavar="URL", help="How the new node reaches NATS, if not by the same URLs."
)
@home_option
@json_option
def ticket(expires: int, nats: tuple[str, ...], home: str | None, as_json: bool) -> None:
    """Print a ticket, by which one node can join. Whoever has it can: pass it on in secret."""
    (made,) = _ask(home, "ticket", seconds=expires, nats=",".join(nats) or None)
    if as_json:
        print_json(made)
        return
    click.echo(made["ticket"])
    if any(
        host in url
        for url in made["nats"]
        for host in ("//127.", "//localhost", "@127.", "@localhost", "[::1]")
    ):
        text = "the ticket names a NATS server of this machine, which other machines do not reach: give --nats URL"
        click.echo(f"note: {text}", err=True)


@cluster.command()
@click.argument("ticket", metavar="TICKET")
@click.option("--node", metavar="NAME", help="The node's name, kept in guesthouse.toml.")
@home_option
@json_option
def join(ticket: str, node: str | None, home: str | None, as_json: bool) -> None:
    """Join a cluster by a ticket; - reads it from standard input."""
    import sys

    text = sys.stdin.read() if ticket == "-" else ticket
    (made,) = _ask(home, "join", ticket=text, node=node)
    if as_json:
        print_json(made)
        return
    click.echo(f"{made['node']} is a node of the cluster {_cluster(made['name'], made['cluster'])}", err=True)


@cluster.command()
@home_option
@json_option
def leave(home: str | None, as_json: bool) -> None:
    """Leave the cluster."""
    (left,) = _ask(home, "leave")
    if as_json:
        print_json(left)
        return
    click.echo(f"{left['node']} has left the cluster", err=True)
    if not left["told"]:
        where = left["authority"] or "the node with the cluster key"
        text = f"the others do not know: run `guesthouse cluster expel {left['node']}` at {where}"
        click.echo(f"note: {text}", err=True)


@cluster.command()
@click.argument("node", metavar="NODE")
@home_option
@json_option
def expel(node: str, home: str | None, as_json: bool) -> None:
    """Expel a node: all others end their sessions with it at once, and its key is not let in again."""
    (done,) = _ask(home, "expel", node=node)
    if as_json:
        print_json(done)
        return
    click.echo(f"{node} is expelled", err=True)
    _say_when_announced(done)


@cluster.command()
@home_option
@json_option
def nodes(home: str | None, as_json: bool) -> None:
    """Show the nodes of the cluster, as this node sees them."""
    from guesthouse.cli.status import print_table

    rows = _ask(home, "nodes")
    if as_json:
        print_json(rows)
        return
    if rows and rows[0]["cluster_name"] is not None:
        click.echo(f"cluster {_cluster(rows[0]['cluster_name'], rows[0]['cluster'])}", err=True)
    print_table(
        rows,
        (
            ("NODE", lambda row: str(row["node"])),
            ("STATE", lambda row: str(row["state"])),
            ("KEY", lambda row: "cluster" if row["authority"] else ""),
            ("VERSION", lambda row: _shown(row["version"])),
            ("PROCESSES", lambda row: _shown(row["processes"])),
            ("CHANNELS", lambda row: _shown(row["channels"])),
            ("LOAD", lambda row: _shown(row["load"])),
            ("HEARD", lambda row: _ago(row["heard_seconds_ago"])),
            ("CARD UNTIL", lambda row: time.strftime("%Y-%m-%d", time.localtime(row["card_expires"]))),
        ),
    )


@cluster.command("rotate-key")
@home_option
@json_option
def rotate_key(home: str | None, as_json: bool) -> None:
    """Replace the cluster's key: the new one signs all cards again, and the nodes follow."""
    (done,) = _ask(home, "rotate-key")
    if as_json:
        print_json(done)
        return
    click.echo(f"the cluster {done['cluster']} has a new key", err=True)
    _say_when_announced(done)


@cluster.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=_DEV_PORT,
    show_default=True,
    help="The port to listen on.",
)
@click.option(
    "--store", metavar="DIR", help="Where it keeps its data. [default: ~/.local/state/guesthouse/nats]"
)
def dev(host: str, port: int, store: str | None) -> None:
    """Run a NATS server, to try clusters with: without access control, until Ctrl-C."""
    import os

    from guesthouse.cluster.nats_server import become_nats_server

    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    folder = Path(store).expanduser() if store else Path(state) / "guesthouse/nats"
    click.echo(f"NATS will listen on nats://{host}:{port}; end it with Ctrl-C", err=True)
    become_nats_server(host, port, folder)


def _shown(value: object) -> str:
    return "-" if value is None else str(value)


def _ago(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f} s ago"


def _say_when_announced(done: dict[str, Any]) -> None:
    if not done["announced"]:
        click.echo("note: the others are told when this node runs and reaches NATS", err=True)


def _ask(home: str | None, action: str, **arguments: Any) -> list[Any]:
    """Ask the node that runs, or else carry the command out on its home."""
    from guesthouse.control.control_client import NoNode, ask

    folder = home_path(home)
    try:
        return list(ask(folder, "cluster", action=action, **arguments))
    except NoNode:
        if (folder / "control.sock").exists() and _is_locked(folder):
            raise
    return _carry_out(home, folder, {"action": action, **arguments})


def _is_locked(folder: Path) -> bool:
    from guesthouse.core.home import Home

    return Home(folder).locked_by() is not None


def _carry_out(home: str | None, folder: Path, request: dict[str, Any]) -> list[Any]:
    import asyncio

    from guesthouse.core.config import given_settings, load_settings
    from guesthouse.core.errors import BadSetting
    from guesthouse.core.home import Home

    settings = load_settings(home)
    place = Home(folder)
    place.prepare()
    remembered = place.remembered_node()
    if remembered is not None and "node" not in given_settings(home):
        from msgspec.structs import replace

        settings = replace(settings, node=remembered)
    try:
        from guesthouse.cluster.commands import HomeAlone, carry_out
    except ModuleNotFoundError as error:
        raise BadSetting(f"clusters need {error.name}: run pip install 'guesthouse[cluster]'") from None

    async def collect() -> list[Any]:
        return [item async for item in carry_out(HomeAlone(place, settings), request)]

    with place.locked():
        return asyncio.run(collect())
