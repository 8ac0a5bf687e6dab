"""Memory that a process has before it is watched."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lorabank_bench.stock import _has_large_pages, first_touches


def test_each_new_page_is_timed() -> None:
    found = first_touches(4)
    assert len(found) == (4 if _has_large_pages() else 0)
    assert (found > 0).all()


def test_what_is_kept_is_touched_once() -> None:
    """Faults of a process that makes and drops arrays, before and after it keeps memory."""
    script = """
import resource
import numpy as np
from lorabank_bench.stock import keep

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [np.ones(40 << 20, np.uint8) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), *(max(faults() for _ in range(3)),) if keep(256 << 20) else ())
"""
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    environment.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
        env=environment,
    )
    fresh, *kept = map(int, done.stdout.split())
    if not kept:
        pytest.skip("the C library has no mallopt that takes these values")
    assert kept[0] < fresh / 2


def test_more_than_two_gibibytes_are_kept() -> None:
    """By default glibc gives back what is free at the heap's end; nothing is touched here."""
    script = """
import ctypes
import numpy as np
from lorabank_bench import stock

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "a b c d e f g h i j".split()]

stock.np = type("", (), {"ones": staticmethod(np.empty), "uint8": np.uint8})
answer = stock.keep(3 << 30)
read = getattr(ctypes.CDLL(None), "mallinfo2", None)
if answer and read is not None:
    read.restype = Info
    print(read().a)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=60
    )
    if not done.stdout:
        pytest.skip("the C library has no mallopt that takes these values, or no mallinfo2")
    assert int(done.stdout) >= 3 << 30
