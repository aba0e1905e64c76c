"""What a worker can do to the memory that the node shares with it."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from guesthouse.link.shared_memory import RING_BYTES, NodeMemory, WorkerMemory


@pytest.fixture
def node() -> Iterator[NodeMemory]:
    memory = NodeMemory()
    yield memory
    memory.close()


def test_each_end_reads_what_the_other_writes(node: NodeMemory) -> None:
    worker = WorkerMemory(node.descriptors)
    assert node.back(RING_BYTES)
    assert worker.back(RING_BYTES)
    for offset in (0, 4096, 300_001, RING_BYTES - 5):
        node.write(offset, b"hello")
        worker.write(offset, b"HELLO")
        assert (worker.read(offset, 5), node.read(offset, 5)) == (b"hello", b"HELLO")


def test_only_the_pages_that_are_used_are_there(node: NodeMemory) -> None:
    def blocks() -> list[int]:
        return [os.fstat(descriptor).st_blocks * 512 for descriptor in node.descriptors]

    assert blocks() == [0, 0]
    assert node.back(100_000)
    assert blocks() == [256 * 1024, 0]
    node.read(0, 2 * 1024 * 1024)
    assert blocks() == [256 * 1024, 0], "what the worker did not write costs the node nothing"


def test_a_worker_cannot_write_what_the_node_says(node: NodeMemory) -> None:
    ring, _ = node.descriptors
    for length in (RING_BYTES, 4096):
        with pytest.raises(PermissionError):
            mmap.mmap(ring, length)
    with pytest.raises(PermissionError):
        os.pwrite(ring, b"x", 0)
    again = os.open(f"/proc/self/fd/{ring}", os.O_RDWR)  # which its sandbox denies it, too
    with pytest.raises(PermissionError):
        os.pwrite(again, b"x", 0)
    os.close(again)


@pytest.mark.parametrize("which", [0, 1], ids=["of the node", "of the worker"])
@pytest.mark.parametrize("size", [0, RING_BYTES // 2, RING_BYTES + 4096])
def test_a_worker_cannot_change_the_size_of_a_ring(node: NodeMemory, which: int, size: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(node.descriptors[which], size)


@pytest.mark.parametrize("which", [0, 1], ids=["of the node", "of the worker"])
def test_seals_stay(node: NodeMemory, which: int) -> None:
    with pytest.raises(PermissionError):
        fcntl.fcntl(node.descriptors[which], fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_a_worker_reads_the_nodes_ring_and_no_more(node: NodeMemory) -> None:
    """By its own mapping: a write through it is a fault of that OS process."""
    ring, _ = node.descriptors
    code = (
        "import ctypes, mmap, sys\n"
        f"at = ctypes.CDLL(None, use_errno=True).mmap\nat.restype = ctypes.c_void_p\n"
        f"at = at(None, {RING_BYTES}, 1, 1, {ring}, ctypes.c_long(0))\n"
        "ctypes.string_at(at, 1); print('read', flush=True)\n"
        f"libc = ctypes.CDLL(None, use_errno=True)\n"
        f"print(libc.mprotect(ctypes.c_void_p(at), {RING_BYTES}, 3), flush=True)\n"
        "ctypes.memset(at, 1, 1); print('written')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], pass_fds=[ring], capture_output=True, text=True, check=False
    )
    assert done.stdout == "read\n-1\n"
    assert done.returncode == -11


def test_nothing_is_left_of_memory_that_is_closed() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    memory = NodeMemory()
    memory.close()
    memory.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert "guesthouse-to" not in Path("/proc/self/maps").read_text()
    with pytest.raises(OSError, match="Bad file descriptor"):
        memory.read(0, 1)


def test_without_memory_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(os.listdir("/proc/self/fd"))

    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(OSError, match="Cannot allocate"):
        NodeMemory()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_ring_that_cannot_grow_is_not_touched(node: NodeMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert not node.back(1)
    monkeypatch.undo()
    assert node.back(1)
