"""The machine: kernel, confinement, limits of the operating system, clock."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import guesthouse
from guesthouse.core.config import MIB, Settings
from guesthouse.node.doctor.finding import FAIL, OK, WARN, Finding

_OLDEST_KERNEL: Final = (5, 13)
_FULL_LANDLOCK: Final = 6
"""The version from which on it denies what workers are denied: TCP, abstract sockets, signals."""
_WORKER_FILES: Final = 16_384
_SPARE_FILES: Final = 512
_FEW_PROCESSES: Final = 256
_LEAST_MAPPINGS: Final = 65_530
_LITTLE_MEMORY: Final = 512 * MIB
_ADDRESS_SPACE: Final = 2**40
_RELEASED: Final = 1_795_000_000
"""Before which no Guesthouse had this command: 18 November 2026."""
_UNSYNCHRONISED: Final = 5
_TIMEX_BYTES: Final = 512
"""More than `struct timex` has; zeros ask for nothing to be changed."""
_CONFINE: Final = (
    "import sys; from pathlib import Path; from guesthouse.worker.sandbox import confine; "
    "print('\\n'.join(confine(Path(sys.argv[1]), 2**38)))"
)
_PROBE_SECONDS: Final = 30


def kernel() -> Iterator[Finding]:
    """Version of the kernel and of Landlock."""
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdecimal())
    if sys.platform != "linux" or numbers < _OLDEST_KERNEL:
        remedy = "use Linux 5.13 or newer"
        yield Finding("kernel", FAIL, f"{platform.system()} {release} is too old", remedy)
    else:
        yield Finding("kernel", OK, f"Linux {release} on {platform.machine()}")
    from guesthouse.linux import landlock

    version = landlock.version()
    if version < 1:
        remedy = "boot with 'landlock' in the kernel's lsm= parameter, or use a kernel that has it"
        yield Finding(
            "landlock", WARN, "the kernel has no Landlock: workers can open this user's files", remedy
        )
    elif version < _FULL_LANDLOCK:
        text = f"version {version}: files are denied; signals and abstract sockets by the system call filter alone"
        yield Finding("landlock", OK, text)
    else:
        yield Finding("landlock", OK, f"version {version}")


def confinement(settings: Settings | None) -> Iterator[Finding]:
    """Whether a worker can give up its rights here: tried, in a subprocess."""
    with tempfile.TemporaryDirectory(prefix="guesthouse-doctor-") as folder:
        command = [sys.executable, "-c", _CONFINE, folder]
        tried = subprocess.run(  # noqa: S603 - this interpreter
            command, capture_output=True, text=True, check=False, timeout=_PROBE_SECONDS
        )
    lacks = [line for line in tried.stdout.splitlines() if line]
    if tried.returncode:
        lines = tried.stderr.strip().splitlines() or [f"ended with {tried.returncode}"]
        lacks = [f"a worker cannot be confined here: {lines[-1]}"]
    required = settings is not None and settings.worker_confinement == "required"
    for lack in lacks:
        remedy = "use a kernel with Landlock and seccomp, and a container profile that lets programs use them"
        yield Finding("confinement", FAIL if required else WARN, lack, remedy)
    if not lacks:
        yield Finding("confinement", OK, "a worker gives up all other files, sockets, programs and signals")


def limits(settings: Settings | None, pid: int | None) -> Iterator[Finding]:
    """Limits of OS processes: of the running node's if there is one, else of this one's."""
    whose = "the node's" if pid is not None else "this user's"
    known = _limits_of(pid)
    files = known["Max open files"]
    total, gateways = (20_000, 0) if settings is None else (settings.connections.total, settings.gateways)
    # A local gateway has two for each of its clients, and those of one that has just died.
    needed = max(total, 2 * total // max(1, gateways - 1) if gateways else 0) + _SPARE_FILES
    if files < max(needed, _WORKER_FILES):
        with_gateways = f" with gateways = {gateways}" if gateways else ""
        text = f"{whose} limit is {files:g}: less than connections.total ({total}) needs{with_gateways}"
        remedy = (
            f"LimitNOFILE={max(needed, _WORKER_FILES)} in the unit (ulimit -Hn), or a lower connections.total"
        )
        yield Finding("open files", WARN, text, remedy)
    else:
        yield Finding("open files", OK, f"{whose} limit is {files:g}")
    processes = known["Max processes"]
    few = processes < _FEW_PROCESSES
    remedy = f"TasksMax= and LimitNPROC= of {_FEW_PROCESSES} or more (ulimit -u)" if few else ""
    text = f"{whose} limit of processes and threads is {processes:g}"
    yield Finding("processes", WARN if few else OK, text, remedy)
    space = known["Max address space"]
    if space < _ADDRESS_SPACE:
        text = f"{whose} limit is {space:g} bytes: workers reserve far more than they use"
        yield Finding("address space", FAIL, text, "no limit of it (ulimit -v unlimited, no LimitAS=)")
    else:
        yield Finding("address space", OK, "not limited")
    yield Finding("locked memory", OK, "not used, whatever the limit")


def _limits_of(pid: int | None) -> dict[str, float]:
    """Hard limits, as the node raises its soft ones."""
    names = {"Max open files": resource.RLIMIT_NOFILE, "Max processes": resource.RLIMIT_NPROC}
    names["Max address space"] = resource.RLIMIT_AS
    if pid is not None:
        found = {}
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
            name, hard = line[:25].strip(), line[47:67].strip()
            found[name] = float("inf") if hard == "unlimited" else float(hard)
        return found
    most = {name: resource.getrlimit(limit)[1] for name, limit in names.items()}
    return {name: float("inf") if value == resource.RLIM_INFINITY else value for name, value in most.items()}


def memory() -> Iterator[Finding]:
    """What the kernel gives of memory and mappings."""
    mappings = _number("/proc/sys/vm/max_map_count")
    if mappings is not None and mappings < _LEAST_MAPPINGS:
        text = f"a program has {mappings} mappings: a worker needs four to nine for each guest"
        yield Finding("mappings", WARN, text, f"sysctl -w vm.max_map_count={_LEAST_MAPPINGS}")
    if _number("/proc/sys/vm/overcommit_memory") == 2:
        text = "vm.overcommit_memory is 2: what workers reserve and do not use counts"
        yield Finding("overcommit", WARN, text, "sysctl -w vm.overcommit_memory=0")
    limit = _number(_cgroup() / "memory.max")
    if limit is not None and limit < _LITTLE_MEMORY:
        text = f"the control group has {limit // MIB} MiB: compiling a component alone can take more"
        yield Finding("memory", WARN, text, "MemoryMax= of 512M or more (--memory of a container)")
    else:
        text = (
            "the control group sets no limit"
            if limit is None
            else f"the control group has {limit // MIB} MiB"
        )
        yield Finding("memory", OK, text)


def _cgroup() -> Path:
    line = Path("/proc/self/cgroup").read_text().splitlines()[-1]
    return Path("/sys/fs/cgroup", line.split(":", 2)[2].lstrip("/"))


def _number(path: str | Path) -> int | None:
    """A number that the kernel shows; None if it shows none."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def clock(home: Path) -> Iterator[Finding]:
    """Whether the clock can be right: tokens, certificates and durable timers go by it."""
    now = time.time()
    known = [
        _RELEASED,
        *_modified(Path(str(guesthouse.__file__)), home / "state.sqlite", home / "installed.json"),
    ]
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < max(known) - 60:
        text = f"it is {shown}, earlier than files that the node has written"
        yield Finding("clock", FAIL, text, "set it (timedatectl set-ntp true)")
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        hasattr(libc, "adjtimex")
        and libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) == _UNSYNCHRONISED
    ):
        text = f"it is {shown}, but nothing keeps the clock in time"
        yield Finding("clock", WARN, text, "timedatectl set-ntp true, on the host of a container")
    else:
        yield Finding("clock", OK, shown)


def _modified(*paths: Path) -> Iterator[float]:
    for path in paths:
        try:
            yield os.stat(path).st_mtime
        except OSError:
            continue
