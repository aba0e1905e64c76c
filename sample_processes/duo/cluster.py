"""A NATS server and two nodes with this sample, until Ctrl-C: what `make cluster` runs.

    python sample_processes/duo/cluster.py [--folder .home/cluster] [--port 8080]

Each step is a command that you could type: see docs/cluster.md.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Final

NODES: Final = ("one.os", "two.os")
PACKAGE: Final = Path(__file__).parent
PROCESS: Final = "duo:duo:guesthouse.os"
_READY: Final = re.compile(r"ready (http://\S+) node=")
_LOGIN: Final = re.compile(r"log in, once, within ten minutes: (\S+)")


class Failed(Exception):
    """A command failed; the message is what it said."""


class Node:
    """One of the two, as a subprocess."""

    def __init__(self, name: str, home: Path, port: int) -> None:
        self.name, self.home = name, home
        self._other = next(other for other in NODES if other != name)
        self._page = self._login = ""
        self._said = threading.Event()
        self.process = started("run", "--dev", "--home", home, "--port", port, PACKAGE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """Pass on what it says, behind its name."""
        for line in self.process.stdout or ():
            if found := _READY.search(line):
                port = found[1].rpartition(":")[2]
                self._page = f"http://duo-guesthouse-os.localhost:{port}/{PROCESS}/?with={self._other}"
            elif found := _LOGIN.search(line):
                self._login = found[1]
                self._said.set()
            else:
                print(f"{self.name}  {line}", end="", flush=True)
        self._said.set()

    def urls(self) -> str:
        """Where to log in, and the page; waits until it serves."""
        self._said.wait()
        if not self._login:
            raise Failed(f"{self.name} did not start: see above")
        return f"{self.name}  log in: {self._login}\n{self.name}  then open: {self._page}"


def guesthouse(*arguments: object) -> list[str]:
    """A command of Guesthouse's."""
    return [sys.executable, "-m", "guesthouse", *map(str, arguments)]


def started(*arguments: object) -> subprocess.Popen[str]:
    """A command that runs until it is told to end, by its own process group: Ctrl-C is for this program."""
    return subprocess.Popen(  # noqa: S603 - it runs what this file says
        guesthouse(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: object) -> str:
    """Run a command to its end; returns what it prints.

    Raises:
        Failed: it failed.
    """
    command = guesthouse(*arguments)
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - as above
    if ran.returncode:
        raise Failed(ran.stderr.strip())
    return ran.stdout.strip()


def serve(folder: Path, port: int, nats_port: int) -> None:
    """Start everything, print the URLs, and wait for Ctrl-C."""
    folder.mkdir(parents=True, exist_ok=True)
    homes = [folder / name for name in NODES]
    url = f"nats://127.0.0.1:{nats_port}"
    with ExitStack() as stack:
        nats = started("cluster", "dev", "--port", nats_port, "--store", folder / "nats")
        stack.callback(end, nats)
        await_nats(nats)
        if not (homes[0] / "cluster.ed25519").exists():
            run("cluster", "init", "--nats", url, "--node", NODES[0], "--home", homes[0])
        nodes = [Node(NODES[0], homes[0], port)]
        stack.callback(end, nodes[0].process)
        first = nodes[0].urls()
        if not (homes[1] / "guesthouse.toml").exists():
            ticket = run("cluster", "ticket", "--home", homes[0])
            run("cluster", "join", ticket, "--node", NODES[1], "--home", homes[1])
        nodes.append(Node(NODES[1], homes[1], port + 1 if port else 0))
        stack.callback(end, nodes[1].process)
        print(f"\n{first}\n{nodes[1].urls()}\n\nCtrl-C ends it.\n", flush=True)
        threading.Event().wait()


def await_nats(server: subprocess.Popen[str]) -> None:
    """Wait until the NATS server serves; from then on nobody reads what it says."""
    said = []
    for line in server.stdout or ():
        said.append(line)
        if "Server is ready" in line:
            threading.Thread(target=server.communicate, daemon=True).start()
            return
    raise Failed("".join(said[-5:]))


def end(process: subprocess.Popen[str]) -> None:
    """SIGTERM, and wait for the end."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
    process.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".home/cluster"), help="where the homes are")
    parser.add_argument("--port", type=int, default=8080, help="of the first node; the second has the next")
    parser.add_argument("--nats-port", type=int, default=4222)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(options.folder, options.port, options.nats_port)
    except KeyboardInterrupt:
        return
    except Failed as failed:
        sys.exit(f"cluster: {failed}")


if __name__ == "__main__":
    main()
