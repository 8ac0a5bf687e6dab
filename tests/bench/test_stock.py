"""Memory that a process has before it is watched."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lorabank_bench.stock import first_touches

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="glibc and large pages are Linux's")


@LINUX
def test_each_new_page_is_timed() -> None:
    found = first_touches(4)
    assert len(found) == 4
    assert (found > 0).all()


@LINUX
def test_what_is_kept_is_touched_once() -> None:
    """Faults of a process that makes and drops an array, before and after it keeps memory."""
    script = """
import resource
import numpy as np
from lorabank_bench.stock import keep

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(40 << 20, np.uint8)  # so many are always the system's, by default
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fresh = [faults() for _ in range(3)]
assert keep(128 << 20)
print(min(fresh), max(faults() for _ in range(3)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60
    )
    fresh, kept = map(int, done.stdout.split())
    assert kept < fresh / 2
