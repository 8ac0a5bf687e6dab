"""What an item says about the one liked after it: small vectors, learned for the reading side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.population.recent import decays
from lorabank.types.arrays import FloatArray, IntArray, as_matrix, frozen
from lorabank.types.checks import check_count, check_number


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """A vector u_i per item that enough users liked; every other item says nothing.

    After the items i_0 (the newest), i_1, ... the logit of item j gains a multiple of
    ``<sum_k decay^k u_{i_k}, e_j + v_j>``: a factorised Markov chain (Rendle et al. 2010) over the
    last likes, with the items' own vectors on the side of what follows.

    Attributes:
        items: int64 (k,), ascending positions in the pool, k >= 1.
        vectors: float32 (k, dim).
        window: how many of a user's last liked items are read.
        decay: weight of an item against the next newer one.
    """

    items: IntArray
    vectors: FloatArray
    window: int
    decay: float

    def __post_init__(self) -> None:
        check_count(self.window, "transitions.window", low=1)
        check_number(self.decay, "transitions.decay", low=1e-6, high=1.0)
        vectors, items = as_matrix(self.vectors, "transitions.vectors"), self.items
        ascending = items.dtype == np.int64 and items.ndim == 1 and bool((np.diff(items) > 0).all())
        if not ascending or len(items) == 0 or items[0] < 0:
            raise InvalidInputError("transitions.items", items.shape, "ascending int64 positions")
        if len(vectors) != len(items):
            raise InvalidInputError("transitions.vectors", vectors.shape, f"{len(items)} rows")
        object.__setattr__(self, "items", frozen(items))
        object.__setattr__(self, "vectors", frozen(vectors))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.items.nbytes + self.vectors.nbytes

    def contexts(self, recent: IntArray) -> FloatArray:
        """Decayed sums of the vectors of what each user liked last.

        Args:
            recent: (n, k) positions, newest first, padded with -1; the first ``window`` count.

        Returns:
            float32 (n, dim).
        """
        recent = np.asarray(recent, np.int64)[:, : self.window]
        place = np.minimum(np.searchsorted(self.items, recent), len(self.items) - 1)
        weights = age_weights(recent, self.decay) * (self.items[place] == recent)
        sums: FloatArray = (weights[:, None, :] @ self.vectors[place])[:, 0]
        return sums


def age_weights(recent: IntArray, decay: float) -> FloatArray:
    """float32 (n, k): ``decay ** age``, and 0 where nothing was liked."""
    return decays(decay, recent.shape[1]) * (recent >= 0)
