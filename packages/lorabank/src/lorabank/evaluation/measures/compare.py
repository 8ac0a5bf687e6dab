"""Intervals over users, for one seed or for several that share users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.evaluation.bootstrap import Interval, relative
from lorabank.types.arrays import AnyFloatArray, IntArray

LEVEL = (2.5, 97.5)


@dataclass(frozen=True, slots=True, eq=False)
class Resamples:
    """Users drawn with replacement, with all they have in every seed (cluster bootstrap).

    Every comparison uses the same draws, so that methods are compared on the same users.

    Attributes:
        weights: float32 (resamples, n): how often each of n values is drawn.
    """

    weights: AnyFloatArray

    def mean(self, values: AnyFloatArray) -> Interval:
        """Of values (n,)."""
        return interval(float(values.mean()), self._means(values))

    def difference(self, ours: AnyFloatArray, theirs: AnyFloatArray) -> Interval:
        """Mean of ours minus mean of theirs."""
        return self.mean(np.asarray(ours) - np.asarray(theirs))

    def relative(self, ours: AnyFloatArray, theirs: AnyFloatArray) -> Interval:
        """Mean of ours over mean of theirs, minus 1; 0 where theirs is 0."""
        a, b = self._means(ours), self._means(theirs)
        mean = float(relative(float(ours.mean()), float(theirs.mean())))
        return interval(mean, relative(a, b))

    def _means(self, values: AnyFloatArray) -> AnyFloatArray:
        means: AnyFloatArray = self.weights @ values / self.weights.sum(axis=1)
        return means


def draw(who: IntArray, resamples: int, seed: int = 0) -> Resamples:
    """Resamples for values that belong to the users ``who`` (n,); a user may own several.

    Raises:
        InvalidInputError: no values.
    """
    if not len(who):
        raise InvalidInputError("users", 0, "at least one user to compare on")
    users, owner = np.unique(who, return_inverse=True)
    share = np.full(len(users), 1 / len(users))
    drawn = np.random.default_rng(seed).multinomial(len(users), share, resamples)
    return Resamples(drawn[:, owner].astype(np.float64))


def interval(mean: float, drawn: AnyFloatArray) -> Interval:
    """A number with the percentiles of its resamples (Efron 1979)."""
    lower, upper = np.percentile(drawn, LEVEL)
    return Interval(mean, float(lower), float(upper))
