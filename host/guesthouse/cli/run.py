"""`guesthouse run`: runs a node until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from guesthouse.cli.options import home_option
from guesthouse.cli.streams import OutputFailed
from guesthouse.core.late_modules import put_off

if TYPE_CHECKING:
    from socket import socket

    from guesthouse.cli.development.dev import Dev
    from guesthouse.cli.ending import Ending
    from guesthouse.core.config import Settings
    from guesthouse.linux.service_manager import ServiceManager
    from guesthouse.node.node import Node
    from guesthouse.node.prespawn import PrespawnedWorkers
    from guesthouse.package.compile.read_ahead import ReadAhead


UNUSED: Final = ("html", "http.client", "http.cookies", "importlib.metadata", "logging.config", "uvicorn")
"""What libraries load for what a node does not use of them; `uvicorn` itself loads its supervisor of subprocesses."""


@click.command()
@click.argument("packages", nargs=-1, metavar="[PACKAGE]...")
@home_option
@click.option("--node", metavar="NAME", help="The node's name. [default: guesthouse.os]")
@click.option("--host", help="The address to listen on. [default: 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="The port to listen on; 0 takes a free one. [default: 8080]",
)
@click.option("--tls-cert", metavar="FILE", help="Serve over TLS: the certificate, with its chain, in PEM.")
@click.option("--tls-key", metavar="FILE", help="The certificate's private key, in PEM.")
@click.option(
    "--workers", type=click.IntRange(0, 1024), help="Worker subprocesses. [default: one for each CPU but one]"
)
@click.option(
    "--gateways",
    type=click.IntRange(0, 256),
    help="Subprocesses that hold clients' sockets and do TLS and compression. [default: 0, the node itself]",
)
@click.option(
    "--log-format",
    type=click.Choice(("text", "json")),
    help="How to write the log on standard error. [default: text]",
)
@click.option(
    "--dev", is_flag=True, default=None, help="Print a login URL; watch the packages, build and reload them."
)
@click.option("--yes", is_flag=True, help="Let named packages take over the hosts of uninstalled ones.")
def run(
    packages: tuple[str, ...],
    home: str | None,
    node: str | None,
    host: str | None,
    port: int | None,
    tls_cert: str | None,
    tls_key: str | None,
    workers: int | None,
    gateways: int | None,
    log_format: str | None,
    dev: bool | None,
    yes: bool,
) -> None:
    """Run a node with these packages and the installed ones.

    A PACKAGE is a package folder, its .zip, a bare .wasm (process name:name:local.os), or
    process:package:publisher=file.wasm. Once the node is ready, it prints one line on standard output:
    ready http://HOST:PORT node=NAME (https:// over TLS). SIGTERM and Ctrl-C stop it; SIGHUP
    reloads certificates, the log file and some settings.
    """
    from guesthouse.core.config import load_settings

    flags = {
        "node": node,
        "http.host": host,
        "http.port": port,
        "http.tls_cert": tls_cert,
        "http.tls_key": tls_key,
        "workers": workers,
        "gateways": gateways,
        "log_format": log_format,
        "dev": dev,
    }
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the node can reload
    load = partial(load_settings, home, flags)
    settings = load()
    passed = _passed_sockets()
    _give_up_rights(inspectable=settings.inspectable or settings.dev)

    from guesthouse.node.prespawn import PrespawnedWorkers, read_ahead

    # What is imported from here on loads beside the workers, and then beside the reading of what they are to run.
    with PrespawnedWorkers(settings) as prespawned, read_ahead(settings, packages) as ahead:
        import asyncio

        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                ending = runner.run(_run(settings, load, packages, prespawned, ahead, passed, consent=yes))
            finally:
                for _, each in passed:  # the node may not have come to them
                    each.close()
    if ending.restarts:
        from guesthouse.cli.ending import become_successor, threads_end

        threads_end()  # what does not is ended with this program
        become_successor(ending.sockets)


async def _run(
    settings: Settings,
    load: partial[Settings],
    arguments: tuple[str, ...],
    prespawned: PrespawnedWorkers,
    ahead: ReadAhead,
    passed: Sequence[tuple[str, socket]],
    *,
    consent: bool,
) -> Ending:
    """Run the node until a signal, also while it starts. Returns how it ended."""
    import asyncio

    from guesthouse.cli.ending import Ending, UnawaitedThreads
    from guesthouse.linux.service_manager import ServiceManager

    loop = asyncio.get_running_loop()
    loop.set_default_executor(UnawaitedThreads())
    manager = ServiceManager()
    manager.tell_alive(loop.call_later)
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - asyncio runs this in a task
    ending = Ending(task, manager)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.stop)
    try:
        await _serve(settings, load, arguments, prespawned, ahead, passed, ending, manager, consent=consent)
    except asyncio.CancelledError:
        if not ending.begun:
            raise
        task.uncancel()
    return ending


async def _serve(
    settings: Settings,
    load: partial[Settings],
    arguments: tuple[str, ...],
    prespawned: PrespawnedWorkers,
    ahead: ReadAhead,
    passed: Sequence[tuple[str, socket]],
    ending: Ending,
    manager: ServiceManager,
    *,
    consent: bool,
) -> None:
    import asyncio

    from guesthouse.linux.service_manager import READY

    with _no_passes():
        for name in UNUSED:
            put_off(name)
        from guesthouse.core.config import given_settings
        from guesthouse.http_server.listening import Listeners
        from guesthouse.node.gc_tuning import IncrementalCollection, MemoryTrimmer
        from guesthouse.node.node import Node
        from guesthouse.node.reload import Reloader

    loop = asyncio.get_running_loop()
    listeners = Listeners(passed)
    ahead.finish()
    async with (
        Node(settings, prespawned=prespawned, listeners=listeners, cache=ahead.cache, completes=True) as node,
        Reloader(node, load) as reloader,
        contextlib.AsyncExitStack() as stack,
    ):
        node.given = partial(given_settings, *load.args)
        hang_up = _HangUp(reloader.ask, ending.stop)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        dev: Dev | None = None
        if settings.dev:
            from guesthouse.cli.development.dev import Dev

            dev = Dev(node, arguments)
            stack.callback(dev.close)
        packages = [await node.load(argument) for argument in arguments] if dev is None else await dev.load()
        await node.installer.take_hosts(packages, consent=consent)
        await node.add(packages)
        await node.installer.start()
        await node.complete()
        ahead.reap()
        manager.tell(READY)
        node.log.write("node", "info", f"{settings.node} serves {node.http.url} from {node.home.path}")
        with contextlib.suppress(OSError, OutputFailed):  # the pipe may be closed
            click.echo(f"ready {node.http.url} node={settings.node}")
        node.on_restart, node.on_stop = ending.restart, ending.stop
        try:
            with IncrementalCollection(loop.call_soon_threadsafe), MemoryTrimmer(loop.call_later):
                if dev is not None:
                    click.echo(f"log in, once, within ten minutes: {_login_url(node)}", err=True)
                    await dev.watch()
                await loop.create_future()
        finally:
            if ending.restarts:
                ending.sockets = listeners.keep()
            hands_over = ending.restarts or (ending.begun and settings.handover)
            if ending.begun and not (hands_over and await node.hand_over()):
                seconds = max(settings.drain_seconds, node.client_drain.left_seconds)
                if seconds > 0:
                    await node.drain(seconds)


class _HangUp:
    """SIGHUP: reload; or stop, if the terminal that the node was started from is gone."""

    def __init__(self, reload: Callable[[], None], stop: Callable[[], None]) -> None:
        self._reload = reload
        self._stop = stop
        self._had_terminal = _has_terminal()

    def __call__(self) -> None:
        if self._had_terminal and not _has_terminal():
            self._stop()
        else:
            self._reload()


def _has_terminal() -> bool:
    import termios

    try:
        termios.tcgetattr(0)
    except termios.error:
        return False
    return True


@contextlib.contextmanager
def _no_passes() -> Iterator[None]:
    """Disable garbage collection, and spare later passes what was loaded: none of it becomes garbage, and to go through
    it takes 5 % of the start each time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _login_url(node: Node) -> str:
    """A one-time login URL that leads to the first package's page."""
    pages = (spec.id for package in node.packages for spec in package.processes if spec.ui is not None)
    first = next(pages, None)
    return node.http.login_url("/" if first is None else f"/{first}/")


def _passed_sockets() -> Sequence[tuple[str, socket]]:
    """Listening sockets that a service manager, or this node before, started it with.

    Raises:
        BadSetting: one cannot be listened on.
    """
    import os

    from guesthouse.core.errors import BadSetting
    from guesthouse.linux.passed_sockets import BadDescriptor, take_sockets

    try:
        return take_sockets(os.environ)
    except BadDescriptor as error:
        raise BadSetting(f"{error}: pass TCP sockets that listen (ListenStream=)") from None


def _give_up_rights(*, inspectable: bool) -> None:
    """Raise the limit on descriptors; disable core files, which would contain secrets, new privileges, and debugging by
    other OS processes.
    """
    import resource

    from guesthouse.linux import privileges

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    privileges.give_up_privileges()
    if not inspectable:
        privileges.hide_from_others()
