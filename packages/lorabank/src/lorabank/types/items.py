"""The pool of items that a contrastive engine ranks against."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import FloatArray, IntArray, as_float32, as_matrix, read_only
from lorabank.types.chance import Chance
from lorabank.types.checks import check_count, check_number


@dataclass(frozen=True, eq=False, init=False)
class ItemPool:
    """Item vectors with their popularity. Immutable; one pool may serve many engines.

    Attributes:
        vectors: float32 (N, dim).
        log_prior: float32 (N,), log popularity of each item, normalised to a distribution.
        log_q: float32 (N,), log probability of drawing each item as a negative.
    """

    vectors: FloatArray
    log_prior: FloatArray
    log_q: FloatArray
    _counts: NDArray[np.float64] | None = field(repr=False)
    _smoothing: float = field(repr=False)

    def __init__(
        self,
        vectors: ArrayLike,
        counts: ArrayLike | None = None,
        *,
        smoothing: float = 1.0,
        sampling_power: float = 0.75,
    ) -> None:
        """Build a pool.

        Args:
            vectors: item embeddings (N, dim), N >= 2.
            counts: how often each item was chosen, (N,), >= 0; None means "all alike".
            smoothing: added to each count, > 0, so that a new item has a finite prior.
            sampling_power: negatives are drawn with probability ``(count + smoothing) ** power``
                (0.75 as in Mikolov et al. 2013, section 2.2).

        Raises:
            InvalidInputError: names the field, the value and what was expected.
        """
        items = as_matrix(vectors, "items.vectors")
        if len(items) < 2:
            raise InvalidInputError("items.vectors", items.shape, "at least two items")
        check_number(smoothing, "items.smoothing", low=1e-9)
        check_number(sampling_power, "items.sampling_power", low=0.0, high=1.0)
        checked = _as_counts(counts, len(items))
        log_weight = np.log(checked + smoothing)
        object.__setattr__(self, "_counts", None if counts is None else read_only(checked))
        object.__setattr__(self, "_smoothing", smoothing)
        object.__setattr__(self, "vectors", read_only(items))
        object.__setattr__(self, "log_prior", read_only(_log_normalise(log_weight)))
        object.__setattr__(self, "log_q", read_only(_log_normalise(sampling_power * log_weight)))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Number of components of each item vector."""
        return int(self.vectors.shape[1])

    def without(self, items: IntArray, *, sampling_power: float = 1.0) -> ItemPool:
        """The pool as if these likes, one entry each, had never been counted.

        For training and choosing with users held out: a popularity that knows what they are going
        to like flatters itself. A pool made without counts stays as it is.

        Args:
            items: (m,) positions; a count does not fall below zero.
            sampling_power: as in `ItemPool`.
        """
        if self._counts is None:
            return self
        taken = np.bincount(items, minlength=len(self))
        counts = np.maximum(self._counts - taken, 0.0)
        return ItemPool(
            self.vectors, counts, smoothing=self._smoothing, sampling_power=sampling_power
        )

    @cached_property
    def _cumulative_q(self) -> NDArray[np.float64]:
        cumulative: NDArray[np.float64] = np.cumsum(np.exp(self.log_q.astype(np.float64)))
        cumulative /= cumulative[-1]
        return cumulative

    def sample(self, count: int, rng: Chance) -> IntArray:
        """Draw ``count`` item positions from q, with replacement, in O(count log N)."""
        check_count(count, "count", low=1)
        draws = np.searchsorted(self._cumulative_q, rng.random(count), side="right")
        positions: IntArray = np.minimum(draws, len(self) - 1).astype(np.int64)
        return positions


def _as_counts(counts: ArrayLike | None, size: int) -> NDArray[np.float64]:
    if counts is None:
        return np.zeros(size)
    array = as_float32(counts, "items.counts").astype(np.float64)
    if array.shape != (size,) or (array < 0).any():
        raise InvalidInputError("items.counts", array.shape, f"{size} numbers >= 0")
    return array


def _log_normalise(log_weight: NDArray[np.float64]) -> FloatArray:
    peak = log_weight.max()
    total = peak + np.log(np.exp(log_weight - peak).sum())
    result: FloatArray = (log_weight - total).astype(np.float32)
    return result
