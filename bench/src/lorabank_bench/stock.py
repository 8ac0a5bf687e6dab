"""Memory that the process has before it is watched.

The host of a virtual machine may give memory when it is first touched, and take back what the
guest has no use for. Where that takes milliseconds for a large page, the guest counts them as
computing by the thread that touched it, with the interpreter's lock if it had it. `first_touches`
shows how long; a loop is watched in a process that has had its memory (`keep`).
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

PAGE = 1 << 21
_PAGES = 64
_PIECE = 1 << 24
# Parameters of glibc's `mallopt`, and values for them.
_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1
_NEVER = -1


def first_touches(pages: int = _PAGES) -> np.ndarray:
    """Milliseconds for each of so many new large pages, where there are such; none elsewhere."""
    if not _has_large_pages():
        return np.empty(0)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, pages * PAGE, flags=flags) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        times = []
        for start in range(0, pages * PAGE, PAGE):
            before = perf_counter()
            memory[start] = 1
            times.append(perf_counter() - before)
    return 1e3 * np.array(times)


def _has_large_pages() -> bool:
    try:
        return "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


def keep(size: int) -> bool:
    """Have so many bytes, and give none of what is freed back to the system from now on.

    For the life of the process, all of its threads. Returns False where that can't be done: it
    needs glibc.
    """
    change = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER))
    if change is None or not all(change(parameter, value) for parameter, value in wanted):
        return False
    pieces = [np.ones(_PIECE, np.uint8) for _ in range(size // _PIECE)]
    pieces.clear()
    return True
