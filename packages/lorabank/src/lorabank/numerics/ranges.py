"""Many positions at once, without a Python loop."""

from __future__ import annotations

import numpy as np

from lorabank.types.arrays import IntArray


def spread(starts: IntArray, counts: IntArray) -> tuple[IntArray, IntArray]:
    """``(which, position)`` of every position ``starts[i] .. starts[i] + counts[i] - 1``.

    Both inputs (n,), both outputs (sum of counts,), range after range.
    """
    which = np.repeat(np.arange(len(starts)), counts)
    shift = starts - (np.cumsum(counts) - counts)
    return which, np.arange(len(which)) + shift[which]


def distinct(values: IntArray) -> IntArray:
    """The values (n,), each once, ascending.

    By sorting, which is many times faster here than the hashing of ``np.unique``.
    """
    ordered = np.sort(values)
    result: IntArray = ordered[run_starts(ordered)]
    return result


def run_starts(values: IntArray) -> IntArray:
    """Where each run of equal values (n,) begins, ascending."""
    first = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return np.flatnonzero(first)
