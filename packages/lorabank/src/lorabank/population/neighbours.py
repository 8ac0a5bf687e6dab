"""Item-to-item: what was liked after what, as a sparse table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lorabank.errors import InvalidInputError
from lorabank.numerics.ranges import distinct, spread
from lorabank.population.recent import decays
from lorabank.turns import give_way
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray, as_float32, frozen
from lorabank.types.checks import check_count, check_number

SmallIntArray: TypeAlias = NDArray[np.int32]
# Places of one block, and neighbours gathered for them: what stays in the processor's cache.
BLOCK = 1 << 18


@dataclass(frozen=True, eq=False)
class ItemToItem:
    """Compressed sparse rows: row a holds how strongly each item b follows a.

    Attributes:
        starts: int64 (N + 1,), where each item's row begins.
        items: int32 (nnz,), the neighbours.
        weights: float32 (nnz,), > 0.
        window: how many of a user's last liked items are looked up.
        decay: weight of an item against the next newer one.
    """

    starts: IntArray
    items: SmallIntArray
    weights: FloatArray
    window: int
    decay: float

    def __post_init__(self) -> None:
        check_count(self.window, "neighbours.window", low=1)
        check_number(self.decay, "neighbours.decay", low=1e-6, high=1.0)
        starts, items = self.starts, self.items
        weights = as_float32(self.weights, "neighbours.weights")
        fits = starts.dtype == np.int64 and starts.ndim == 1 and len(starts) >= 2
        fits = fits and starts[0] == 0 and starts[-1] == len(items)
        if not fits or (np.diff(starts) < 0).any():
            raise InvalidInputError("neighbours.starts", starts.shape, "row bounds of the table")
        if items.dtype != np.int32 or items.ndim != 1 or weights.shape != items.shape:
            raise InvalidInputError("neighbours.items", items.shape, "one int32 per weight")
        if len(items) and not (items.min() >= 0 and items.max() < len(starts) - 1):
            raise InvalidInputError("neighbours.items", int(items.max()), "positions in the pool")
        if (weights <= 0).any():
            raise InvalidInputError("neighbours.weights", float(weights.min()), "numbers above 0")
        object.__setattr__(self, "starts", frozen(starts))
        object.__setattr__(self, "items", frozen(items))
        object.__setattr__(self, "weights", frozen(weights))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.starts.nbytes + self.items.nbytes + self.weights.nbytes

    def scores(self, recent: IntArray, candidates: IntArray | None = None) -> FloatArray:
        """Decayed sum of the rows of the items that each user liked last.

        Args:
            recent: (n, k) positions, newest first, padded with -1; the first ``window`` count.
            candidates: (m,) positions to score, distinct; None means all N.

        Returns:
            float32 (n, m), >= 0.

        Raises:
            InvalidInputError: positions outside the table.
        """
        return self._summed(recent, candidates, lambda sums: sums)

    def log_scores(self, recent: IntArray, candidates: IntArray | None = None) -> FloatArray:
        """``log(1 + score)``, the feature of the experts: see `scores`, bit by bit.

        Most scores are zero, and so are their logarithms.
        """
        return self._summed(recent, candidates, np.log1p)

    def _summed(
        self,
        recent: IntArray,
        candidates: IntArray | None,
        of: Callable[[FloatArray], FloatArray],
    ) -> FloatArray:
        """``of`` the sums that are not zero, (n, m)."""
        recent = np.asarray(recent, np.int64)[:, : self.window]
        if recent.size and not (recent.min() >= -1 and recent.max() < len(self)):
            raise InvalidInputError(
                "recent", int(recent.max()), f"positions in -1..{len(self) - 1}"
            )
        rows, width = self._whole, len(self)
        if candidates is not None:
            (recent, rows), width = self._narrowed(recent, candidates), len(candidates)
        result = np.zeros((len(recent), width), np.float32)
        for start, stop in _blocks(rows.lengths[recent].sum(axis=1), width):
            block = result[start:stop]
            place, values = self._gathered(recent[start:stop], rows, width)
            give_way()
            sums = np.bincount(place, values, minlength=block.size)
            # A place that several neighbours share is written several times: the same.
            block.reshape(-1)[place] = of(sums[place].astype(np.float32))
            give_way()
        return result

    @cached_property
    def _whole(self) -> _Rows:
        """Every item's row; the one after the last, which -1 finds, is empty."""
        lengths = np.diff(self.starts, append=self.starts[-1])
        return _Rows(self.starts, lengths, self.items, self.weights)

    def _narrowed(self, recent: IntArray, candidates: IntArray) -> tuple[IntArray, _Rows]:
        """``recent`` as places among the rows of recent items, with candidates alone.

        A batch's events share most of what was liked before them, and few of many neighbours are
        candidates: each item's are looked for once.
        """
        items = distinct(recent.reshape(-1))
        which, at = self._whole.entries(items)
        give_way()
        columns = _columns(candidates, len(self))[self.items[at]]
        wanted = np.flatnonzero(columns >= 0)
        lengths = np.bincount(which[wanted], minlength=len(items))
        starts = np.cumsum(lengths) - lengths
        rows = _Rows(starts, lengths, columns[wanted], self.weights[at[wanted]])
        return np.searchsorted(items, recent), rows

    def _gathered(
        self, recent: IntArray, rows: _Rows, width: int
    ) -> tuple[IntArray, AnyFloatArray]:
        """Places in the (n, width) block, and what the rows of all recent items add there."""
        which, at = rows.entries(recent.reshape(-1))
        give_way()
        ages = recent.shape[1]
        row = which // ages
        decayed = decays(self.decay, ages)[which - row * ages]
        return row * width + rows.columns[at], rows.weights[at] * decayed


class _Rows(NamedTuple):
    """Sparse rows: where each begins and how many entries it has; columns and weights of these."""

    starts: IntArray
    lengths: IntArray
    columns: SmallIntArray
    weights: FloatArray

    def entries(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """``(which, place)`` of the entries of ``rows``: see `spread`."""
        return spread(self.starts[rows], self.lengths[rows])


def _blocks(entries: IntArray, width: int) -> Iterator[tuple[int, int]]:
    """Users from one to another, so that a block of them has few entries and few places.

    Large arrays are given back to the system at once, and that keeps the interpreter's lock.
    """
    total = np.cumsum(np.maximum(entries, width))
    start, before = 0, 0
    while start < len(total):
        stop = max(start + 1, int(np.searchsorted(total, before + BLOCK, "right")))
        yield start, stop
        start, before = stop, int(total[stop - 1])


def _columns(candidates: IntArray, size: int) -> SmallIntArray:
    """(size,) the column of each candidate, -1 for every other item."""
    if len(candidates) and not (candidates.min() >= 0 and candidates.max() < size):
        raise InvalidInputError("candidates", int(candidates.max()), f"positions below {size}")
    column = np.full(size, -1, np.int32)
    column[candidates] = np.arange(len(candidates), dtype=np.int32)
    return column
