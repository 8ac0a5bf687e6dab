"""Rare pairs of items, seen through what is common to many: a low-rank factorisation of all counts.

A table of pairs that enough users had is exact where pairs are frequent, and silent elsewhere; in a
log with few likes per item that is nearly everywhere. A factorisation of few dimensions has a value
for every pair, made of what all users of both items had: nobody's single pair can be read from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.numerics.orthonormal import orthonormal
from lorabank.population.counting import PairCounts
from lorabank.turns import give_way
from lorabank.types.arrays import FloatArray, IntArray

# The items liked by most users; the square of their number bounds time and memory (64 MiB).
MOST_ITEMS = 4096
# More dimensions than this share of the items could remember single pairs.
ITEMS_PER_DIMENSION = 8
OVERSAMPLING, PASSES = 16, 4
# Rows of the product at a time.
ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """``C ~ diag(sqrt(likes)) left @ right diag(sqrt(likes))``, C the counts of "b after a".

    Attributes:
        items: (n,) positions of the items that have factors, ascending.
        left: float32 (n, rank).
        right: float32 (rank, n).
    """

    items: IntArray
    left: FloatArray
    right: FloatArray

    def strongest(self, most: int) -> tuple[IntArray, IntArray, FloatArray]:
        """Of each item a the ``most`` largest values above zero: a, b (k,) and the values (k,).

        The values are cosines: counts divided by the roots of both items' likes.
        """
        found_a, found_b, values = [], [], []
        for start in range(0, len(self.items), ROWS):
            give_way()
            block = self.left[start : start + ROWS] @ self.right
            rows = np.arange(len(block))
            block[rows, start + rows] = 0.0  # an item is no neighbour of itself
            if most < block.shape[1]:
                column = np.argpartition(block, -most, axis=1)[:, -most:]
            else:
                column = np.broadcast_to(np.arange(block.shape[1]), block.shape)
            kept = np.take_along_axis(block, column, axis=1)
            row, place = np.nonzero(kept > 0)
            found_a.append(self.items[start + row])
            found_b.append(self.items[column[row, place]])
            values.append(kept[row, place])
        return np.concatenate(found_a), np.concatenate(found_b), np.concatenate(values)


def factorise(counts: PairCounts, decay: int, backward: float, rank: int) -> Factors | None:
    """Truncated SVD of the counts as cosines, by subspace iteration (Halko et al. 2011, alg. 4.4).

    Args:
        counts: of all pairs, also of those that few users had.
        decay, backward: which counts, see `TableChoice`.
        rank: of the factors.

    Returns:
        None where there are too few items for that rank.
    """
    liked = np.flatnonzero(counts.likes >= counts.min_users)
    if len(liked) > MOST_ITEMS:
        most = np.argsort(-counts.likes[liked], kind="stable")[:MOST_ITEMS]
        liked = np.sort(liked[most])
    if len(liked) < rank * ITEMS_PER_DIMENSION:
        return None
    cosines = _cosines(counts, liked, decay, backward)
    rng = np.random.default_rng(0)  # of the start alone; the result hardly depends on it
    basis = cosines @ rng.standard_normal((len(liked), rank + OVERSAMPLING), dtype=np.float32)
    for _ in range(PASSES):
        basis = cosines.T @ orthonormal(basis)
        basis = cosines @ orthonormal(basis)
    basis = orthonormal(basis)
    give_way()
    U, s, Vt = np.linalg.svd(basis.T @ cosines, full_matrices=False)
    return Factors(liked, (basis @ U[:, :rank]) * s[:rank], Vt[:rank])


def _cosines(counts: PairCounts, items: IntArray, decay: int, backward: float) -> FloatArray:
    """Float32 (n, n): how often b came after a, divided by the roots of both items' likes."""
    place = np.full(len(counts.likes), -1, np.int64)
    place[items] = np.arange(len(items))
    low, high = place[counts.low], place[counts.high]
    both = (low >= 0) & (high >= 0)
    low, high = low[both], high[both]
    rising, falling = counts.rising[decay][both], counts.falling[decay][both]
    root = np.sqrt(counts.likes[items].astype(np.float64))
    scale = root[low] * root[high]
    matrix = np.zeros((len(items), len(items)), np.float32)
    matrix[low, high] = (rising + backward * falling) / scale
    matrix[high, low] = (falling + backward * rising) / scale
    return matrix
