"""Many ranges of positions at once, without a Python loop."""

from __future__ import annotations

import numpy as np

from lorabank.types.arrays import IntArray


def spread(starts: IntArray, counts: IntArray) -> tuple[IntArray, IntArray]:
    """``(which, position)`` of every position ``starts[i] .. starts[i] + counts[i] - 1``.

    Both inputs (n,), both outputs (sum of counts,), range after range.
    """
    which = np.repeat(np.arange(len(starts)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, starts[which] + within
