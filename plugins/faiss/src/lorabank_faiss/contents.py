"""The index of one namespace: rows, an approximate index of the first ones, the rest in a tail.

A namespace up to the flat limit is all tail: searched exactly. This class is told what to hold and
searched; it takes no locks (see `shard`) and knows no SQL (see `catching`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.numerics.products import near_products
from lorabank.types.arrays import BoolArray, FloatArray, IntArray
from lorabank.types.query import PatternFilter
from lorabank_faiss.approximate import Approximate
from lorabank_faiss.growing import Growing
from lorabank_faiss.rows import Rows, Selected
from lorabank_faiss.vectors import cut, exact_scores

# Candidates asked for per wanted pattern, and how far 8-bit codes may err.
_CANDIDATES = 3
_CODE_ERROR = 2e-3
_MOST_CANDIDATES = 16_384


class Question(NamedTuple):
    """A search: ``query`` is float64 (dim,) of length one; k >= 1."""

    query: NDArray[np.float64]
    k: int
    where: PatternFilter


class Scored(NamedTuple):
    """Keys int64 (n,) and exact cosines float64 (n,)."""

    keys: IntArray
    scores: NDArray[np.float64]


_NOTHING = Scored(np.empty(0, np.int64), np.empty(0))
# From keys to unit vectors float32 (n, dim), in the same order.
Units = Callable[[IntArray], FloatArray]


class Contents:
    """What an index holds, up to ``sequence`` of the bank's change sequence."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.rows = Rows()
        self.tail: Growing[FloatArray] = Growing(np.empty((0, dim), np.float32))
        self.main: Approximate | None = None
        self.sequence = 0

    @property
    def merged(self) -> int:
        """How many rows the approximate index has; the others are in the tail."""
        return len(self.rows) - len(self.tail)

    @property
    def covered(self) -> int:
        """All changes up to here are in the approximate index and the marks of its rows."""
        if len(self.tail):
            return int(self.rows.keys.values[self.merged]) - 1
        return self.sequence

    @property
    def nbytes(self) -> int:
        """Bytes of rows and tail (of the approximate index only what rows take)."""
        return self.rows.nbytes + self.tail.nbytes

    def append(
        self,
        keys: Sequence[int],
        checksums: Sequence[int],
        columns: Sequence[Any],
        units: FloatArray,
    ) -> None:
        """Add rows with growing keys; units are float32 (n, dim)."""
        self.rows.append(keys, checksums, columns)
        self.tail.append(units)

    def merge(self, count: int) -> None:
        """Move the first ``count`` vectors of the tail into the approximate index."""
        assert self.main is not None
        self.main.add(self.tail.values[:count])
        self.tail.drop_first(count)

    def frozen(self) -> Contents:
        """A copy of the merged rows' marks, with the approximate index itself."""
        copy = Contents(self.dim)
        rows, count = self.rows, self.merged
        copy.rows.extend(
            rows.keys.values[:count],
            rows.checksums.values[:count],
            rows.columns.values[:count],
            rows.alive.values[:count],
        )
        copy.main, copy.sequence = self.main, self.covered
        return copy

    def nearest(
        self, query: NDArray[np.float64], k: int, where: PatternFilter, units: Units
    ) -> Scored:
        """At least the k best rows that pass the filter, with all that tie with the k-th.

        Args:
            query: float64 (dim,) of length one.
            k: how many; >= 1. If that many pass, that many are found.
            where: the filter.
            units: reads vectors of the approximate index's rows.
        """
        selected = self.rows.select(where)
        k = min(k, selected.passed)
        if not k:
            return _NOTHING
        tail = self._in_tail(query, k, selected.mask)
        if self.main is None:
            return tail
        return self._with_main(self.main, query, k, selected, tail, units)

    def _in_tail(self, query: NDArray[np.float64], k: int, mask: BoolArray | None) -> Scored:
        start, vectors = self.merged, self.tail.values
        if not len(vectors):
            return _NOTHING
        narrow = query.astype(np.float32)
        if mask is None:
            near = near_products(vectors, narrow)
            rows = np.flatnonzero(near >= cut(near, k))
        else:
            passing = np.flatnonzero(mask[start:])
            if 4 * len(passing) < len(vectors):  # gathering a few is cheaper than reading all
                near = near_products(vectors[passing], narrow)
            else:
                near = near_products(vectors, narrow)[passing]
            rows = passing[near >= cut(near, k)]
        return Scored(self.rows.keys.values[start + rows], exact_scores(vectors[rows], query))

    def _with_main(
        self,
        main: Approximate,
        query: NDArray[np.float64],
        k: int,
        selected: Selected,
        tail: Scored,
        units: Units,
    ) -> Scored:
        inside = self._of_main(selected)
        size, narrow = min(_CANDIDATES * k, inside.passed), query.astype(np.float32)
        if not size:
            return tail
        while True:
            found = main.search(narrow, size, inside)
            near = _within_error(found.scores, k)
            # Beyond the most, that many contexts are all but equal.
            if near < len(found.rows) or len(found.rows) == inside.passed:
                break
            if len(found.rows) >= _MOST_CANDIDATES:
                break
            size = min(4 * len(found.rows), inside.passed)
        keys = self.rows.keys.values[found.rows[:near]]
        scores = exact_scores(units(keys), query)
        if not len(tail.keys):
            return Scored(keys, scores)
        return Scored(np.append(tail.keys, keys), np.append(tail.scores, scores))

    def _of_main(self, selected: Selected) -> Selected:
        if selected.mask is None:
            return Selected(None, self.merged)
        if not len(self.tail):
            return selected
        mask = selected.mask[: self.merged]
        return Selected(mask, int(np.count_nonzero(mask)))


def _within_error(scores: FloatArray, k: int) -> int:
    """How many of ``scores`` (8-bit codes', best first) may be among the k best in truth."""
    if k >= len(scores):
        return len(scores)
    least = scores[k - 1] - 2 * _CODE_ERROR  # the k-th may be overrated, and another underrated
    return int(np.count_nonzero(scores >= least))
