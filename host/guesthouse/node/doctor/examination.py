"""All checks of `guesthouse doctor`, with or without a running node."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from guesthouse.control.control_client import NoNode, ask
from guesthouse.core.config import Settings, load_settings
from guesthouse.core.errors import GuesthouseError
from guesthouse.core.home import Home
from guesthouse.node.doctor import home_checks, machine, network_checks, programs
from guesthouse.node.doctor.finding import FAIL, OK, WARN, Check, Finding, findings

_CLUSTER_FILE: Final = "cluster.json"
_ANSWER_SECONDS: Final = 10.0


def examine(folder: Path) -> list[Finding]:
    """Look at everything that a node on this home needs. Changes nothing.

    Args:
        folder: the node's home, whether it exists or not.
    """
    home = Home(folder)
    settings: Settings | GuesthouseError
    try:
        settings = load_settings(str(folder))
    except GuesthouseError as error:
        settings = error
    known = settings if isinstance(settings, Settings) else None
    pid = home.locked_by()
    node = _asked(folder, "node") if pid is not None else None
    checks: dict[str, Check] = {
        "node": partial(_node, folder, pid, node),
        "settings": partial(home_checks.settings_of, settings),
        **_of_the_home(home, running=pid is not None),
        **_of_the_network(known, None if node is None or not node else node[0]),
        **_of_the_cluster(known, folder, running=bool(node)),
        "clock": partial(machine.clock, folder),
        "kernel": machine.kernel,
        "confinement": partial(machine.confinement, known),
        "limits": partial(machine.limits, known, pid),
        "memory": machine.memory,
        "python": programs.python,
        "packages of Python": programs.dependencies,
        "tool chains": programs.tool_chains,
        "service": programs.service,
    }
    return [found for name, check in checks.items() for found in findings(name, check)]


def _of_the_home(home: Home, *, running: bool) -> Mapping[str, Check]:
    if not home.path.exists():
        return {"home": partial(_no_home, home.path)}
    return {
        "restore": partial(home_checks.unfinished, home),
        "permissions": partial(home_checks.permissions, home),
        "API keys": partial(home_checks.api_keys, home),
        "disk": partial(home_checks.space, home),
        "database": partial(home_checks.database, home, running=running),
        "packages": partial(home_checks.packages, home),
    }


def _of_the_cluster(settings: Settings | None, folder: Path, *, running: bool) -> Mapping[str, Check]:
    if settings is None or not (settings.cluster.nats or (folder / _CLUSTER_FILE).exists()):
        return {}
    try:
        from guesthouse.node.doctor import cluster_checks  # only where there is a cluster
    except ModuleNotFoundError as error:
        return {"cluster": partial(_lacks, error.name or "a package")}
    rows: list[Any] = []
    if running:
        rows = _asked(folder, "cluster", action="nodes") or []
    return {
        "cluster": partial(cluster_checks.card, settings, folder),
        "authority": partial(cluster_checks.authority, rows),
        "NATS credentials": partial(cluster_checks.files, settings),
        "NATS": partial(cluster_checks.nats, settings, folder),
    }


def _lacks(name: str) -> Iterator[Finding]:
    text = f"cluster.nats needs {name}, which is not installed: the node does not start"
    yield Finding("cluster", FAIL, text, "pip install 'guesthouse[cluster]'")


def _no_home(path: Path) -> Iterator[Finding]:
    yield Finding("home", OK, f"{path} is not there yet", f"guesthouse run --home {path} creates it")


def _of_the_network(settings: Settings | None, node: dict[str, Any] | None) -> Mapping[str, Check]:
    if settings is None:
        return {}
    certificate, key = settings.http.tls_cert, settings.http.tls_key
    if node is not None and node["tls_cert"] != certificate:  # from its command line or environment
        certificate, key = node["tls_cert"], node.get("tls_key")
    return {
        "port": partial(network_checks.ports, settings, node),
        "certificate": partial(network_checks.certificate, certificate, key),
    }


def _node(folder: Path, pid: int | None, node: list[Any] | None) -> Iterator[Finding]:
    if pid is None:
        yield Finding("node", OK, f"none runs on {folder}")
    elif node is None:
        text = f"pid {pid} runs on {folder}, and does not answer"
        yield Finding("node", FAIL, text, "see its log and the machine's load; restart it if it stays so")
    elif not node:
        text = f"pid {pid} runs on {folder}, and takes no commands yet"
        yield Finding("node", WARN, text, "wait until it has started")
    else:
        yield Finding("node", OK, f"{node[0]['node']} runs on {folder} (pid {pid})")


def _asked(folder: Path, command: str, **arguments: Any) -> list[Any] | None:
    """What the node answers; empty if it takes no commands, None if it takes too long."""
    answer: list[Any] = []
    done = threading.Event()

    def work() -> None:
        try:
            answer.extend(ask(folder, command, **arguments))
        except (NoNode, GuesthouseError):
            answer.clear()
        done.set()

    threading.Thread(target=work, daemon=True).start()
    return answer if done.wait(_ANSWER_SECONDS) else None
