"""A wall clock that ticks by calls, so that the order of episodes never depends on speed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

TICK = 0.001


def ticking(start: float | None = None) -> Callable[[], float]:
    """Unix seconds, from ``start`` (None: now) on, a millisecond later at each call."""
    begin = time.time() if start is None else start + TICK
    calls = itertools.count()
    return lambda: begin + TICK * next(calls)
