"""Item residuals: small vectors and biases on top of the items' own embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import FloatArray, IntArray, as_float32, as_matrix, frozen
from lorabank.types.items import ItemPool


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Rows for the items that enough users liked; all other items keep their own vector.

    Attributes:
        items: int64 (k,), ascending positions in the pool, k >= 1.
        vectors: float32 (k, dim), added to those items' vectors.
        bias: float32 (k,), added to those items' logits.
    """

    items: IntArray
    vectors: FloatArray
    bias: FloatArray

    def __post_init__(self) -> None:
        vectors = as_matrix(self.vectors, "residuals.vectors")
        bias = as_float32(self.bias, "residuals.bias")
        items = self.items
        ascending = items.dtype == np.int64 and items.ndim == 1 and bool((np.diff(items) > 0).all())
        if not ascending or len(items) == 0 or items[0] < 0:
            raise InvalidInputError("residuals.items", items.shape, "ascending int64 positions")
        if items.shape != bias.shape or len(vectors) != len(items):
            raise InvalidInputError("residuals.bias", bias.shape, f"one row per item {items.shape}")
        object.__setattr__(self, "items", frozen(items))
        object.__setattr__(self, "vectors", frozen(vectors))
        object.__setattr__(self, "bias", frozen(bias))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.items.nbytes + self.vectors.nbytes + self.bias.nbytes

    def item_vectors(self, pool: ItemPool) -> FloatArray:
        """float32 (N, dim): ``e + v``, for a vector index. The biases are not in it.

        Raises:
            InvalidInputError: a pool of another dimension, or without some of the items.
        """
        self._check(pool)
        vectors = pool.vectors.copy()
        vectors[self.items] += self.vectors
        return vectors

    def item_bias(self, pool: ItemPool) -> FloatArray:
        """float32 (N,): the bias of every item, zero for those without a row."""
        self._check(pool)
        bias = np.zeros(len(pool), np.float32)
        bias[self.items] = self.bias
        return bias

    def _check(self, pool: ItemPool) -> None:
        if pool.dim != self.vectors.shape[1] or self.items[-1] >= len(pool):
            raise InvalidInputError(
                "pool",
                pool.vectors.shape,
                f"more than {self.items[-1]} items of dimension {self.vectors.shape[1]}",
            )
