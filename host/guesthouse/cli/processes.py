"""Commands that act on processes of the running node, `send`, `restart`, `stop`, `kill`, `explain`, and on the node:
`restart-node`.
"""

from __future__ import annotations

import base64
import sys
import time
from contextlib import suppress
from typing import Any, Final

import click

from guesthouse.cli.options import NotText, home_option, home_path, json_option, print_json
from guesthouse.cli.terminal.completing import PROCESSES
from guesthouse.core.errors import GuesthouseError

_LONGEST_WAIT: Final = 366 * 24 * 3600
_STEP_SECONDS: Final = 0.05


class NotBack(GuesthouseError):
    """The node did not serve again in time."""


@click.command()
@click.argument("address", metavar="ADDRESS", shell_complete=PROCESSES)
@click.argument("body")
@click.option(
    "--blob",
    type=click.File("rb"),
    metavar="FILE",
    help="FILE with the message's blob; - is standard input.",
)
@click.option(
    "--await",
    "seconds",
    type=click.IntRange(1, _LONGEST_WAIT),
    metavar="SECONDS",
    help="Seconds to wait for a response, whose body is printed.",
)
@home_option
@json_option
def send(address: str, body: str, blob: Any, seconds: int | None, home: str | None, as_json: bool) -> None:
    """Send a request to a process of the running node.

    ADDRESS is a process id, or node@process:package:publisher; BODY is the request's body, as text. The
    request comes from terminal:distro:sys. Without --await no response is expected, and the command returns
    once the request is in the process's mailbox.
    """
    from guesthouse.control.control_client import ask
    from guesthouse.core.json_text import is_text

    if not is_text(body):
        raise NotText("BODY is not UTF-8: send binary data as a blob, with --blob FILE")
    content = None if blob is None else base64.b64encode(blob.read()).decode()
    items = list(ask(home_path(home), "send", address=address, body=body, blob=content, seconds=seconds))
    if as_json:
        print_json(items[0] if items else None)
    elif items:
        _print_response(items[0])


@click.command("log-level")
@click.argument("source", required=False, metavar="[PROCESS]", shell_complete=PROCESSES)
@click.argument("level", required=False, type=click.Choice(("error", "warning", "info", "debug", "default")))
@home_option
@json_option
def log_level(source: str | None, level: str | None, home: str | None, as_json: bool) -> None:
    """Set the least severe LEVEL of what is logged by and of PROCESS, until the node stops; without, list what was set.

    PROCESS is a process, a package (package:publisher) or a part of the node such as http-server.
    """
    from guesthouse.control.control_client import ask

    if source is not None and level is None:
        raise click.UsageError("LEVEL is missing: error, warning, info, debug or default")
    items = list(ask(home_path(home), "log-level", source=source, level=level))
    if source is not None:
        from guesthouse.cli.status import say_if_unknown

        say_if_unknown(source, home)
    if as_json:
        print_json(items)
    elif items:
        from guesthouse.cli.status import print_table

        print_table(
            items, (("PROCESS", lambda item: str(item["source"])), ("LEVEL", lambda item: str(item["level"])))
        )
    else:
        click.echo("nothing has a level of its own", err=True)


@click.command()
@click.argument("process", metavar="PROCESS", shell_complete=PROCESSES)
@home_option
@json_option
def restart(process: str, home: str | None, as_json: bool) -> None:
    """Restart PROCESS, or start it if it was stopped. Its channels stay open, and messages wait."""
    _act("restart", process, home, as_json)


@click.command("restart-node")
@click.option(
    "--wait",
    type=click.IntRange(1, 3600),
    default=60,
    metavar="SECONDS",
    help="How long to wait until it serves again. [default: 60]",
)
@home_option
@json_option
def restart_node(wait: int, home: str | None, as_json: bool) -> None:
    """Restart the running node itself, for an upgrade of Guesthouse or new settings.

    Its resumable channels and the messages that its processes have not taken go on in its successor, which has
    the same pid and arguments. Returns once that serves.
    """
    from guesthouse.control.control_client import CommandRefused, NoNode, ask

    folder = home_path(home)
    (ended,) = ask(folder, "restart-node")
    until = time.monotonic() + wait
    node: dict[str, Any] = {}
    while not node.get("started") or node.get("run") == ended["run"]:
        if time.monotonic() > until:
            raise NotBack(f"the node did not serve again within {wait} s: look at its log")
        time.sleep(_STEP_SECONDS)
        with suppress(NoNode, CommandRefused):
            (node,) = ask(folder, "node")
    if as_json:
        print_json({"node": node["node"], "url": node["url"]})
    else:
        click.echo(f"{node['node']} serves {node['url']} again", err=True)


@click.command()
@click.argument("process", metavar="PROCESS", shell_complete=PROCESSES)
@home_option
@json_option
def stop(process: str, home: str | None, as_json: bool) -> None:
    """End PROCESS for good, whatever its on-exit says. Its channels are closed; what it stored is kept."""
    _act("stop", process, home, as_json)


@click.command()
@click.argument("process", metavar="PROCESS", shell_complete=PROCESSES)
@home_option
@json_option
def kill(process: str, home: str | None, as_json: bool) -> None:
    """End the run of PROCESS as a trap would: its on-exit decides what happens next."""
    _act("kill", process, home, as_json)


@click.command()
@click.argument("process", metavar="PROCESS", shell_complete=PROCESSES)
@home_option
@json_option
def explain(process: str, home: str | None, as_json: bool) -> None:
    """Show what PROCESS may do and why, and what it was refused."""
    from guesthouse.control.control_client import ask
    from guesthouse.core.printable import printable

    (item,) = ask(home_path(home), "explain", process=process)
    if as_json:
        print_json(item)
        return
    who = (
        "every process" if item["public"] else f"processes of {item['package']}, and who holds its messaging"
    )
    lines = [f"{item['process']} may be messaged by {who}", "it holds"]
    lines += [f"  {held['params']} of {held['issuer']} ({held['from']})" for held in item["capabilities"]]
    if item["refused"]:
        lines.append("it was refused for lack of")
    lines += [f"  {lack['params']} of {lack['issuer']} ({_times(lack['times'])})" for lack in item["refused"]]
    for line in lines:
        click.echo(printable(line))


def _act(command: str, process: str, home: str | None, as_json: bool) -> None:
    from guesthouse.control.control_client import ask

    (outcome,) = ask(home_path(home), command, process=process)
    if as_json:
        print_json(outcome)
    else:
        click.echo(f"{outcome['process']}: {outcome['state']}", err=True)


def _print_response(response: dict[str, Any]) -> None:
    text, blob = response["body"], response["blob"]
    if text is None:
        sys.stdout.buffer.write(base64.b64decode(response["body_base64"]))
        sys.stdout.buffer.flush()
    else:
        from guesthouse.core.printable import printable

        click.echo(printable(text) if sys.stdout.isatty() else text)
    if blob is not None:
        size = len(base64.b64decode(blob["bytes_base64"]))
        click.echo(f"(with a blob of {size} bytes: --json shows it)", err=True)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
