"""Buffers of large messages cost page faults once."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
from guesthouse.linux.malloc import keep_large_buffers

{call}

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def use(buffers):
    kept = [b"x" * 2**20 for _ in range(buffers)]

for _ in range(3):
    use(6)
before = faults()
for _ in range(20):
    use(6)
print(faults() - before)
"""


def faults_of_120_buffers(call: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(call=call)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_buffers_of_large_messages_are_faulted_in_once() -> None:
    pages = 120 * 2**20 // 4096
    assert faults_of_120_buffers("") > pages / 2
    assert faults_of_120_buffers("keep_large_buffers()") < pages / 20
