"""The allocator setting, in a process of its own because it cannot be undone."""

import platform
import subprocess
import sys

import pytest
import torch

from doamlib.core.memory import enough_memory

PROGRAM = """
import resource, sys
import torch
from doamlib.core.memory import reuse_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "reuse":
    assert reuse_freed_memory()
torch.set_num_threads(1)
for _ in range(10):  # the heap grows to what is needed
    torch.empty(2**24).fill_(1)
before = faults()
for _ in range(10):
    torch.empty(2**24).fill_(1)
print(faults() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_used_again():
    counts = {}
    for mode in ("default", "reuse"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True
        )
        counts[mode] = int(done.stdout)
    assert counts["reuse"] < 0.1 * counts["default"]


def full(*_):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


def gone(*_):
    raise torch.OutOfMemoryError("CUDA out of memory.")


def other(*_):
    raise RuntimeError("sizes differ")


@pytest.mark.parametrize(("raised", "seen"), [(full, OSError), (gone, OSError), (other, None)])
def test_full_memory_is_said_in_the_callers_words(raised, seen):
    with (
        pytest.raises(seen or RuntimeError, match="too large" if seen else "sizes differ"),
        enough_memory(OSError("too large")),
    ):
        raised()
