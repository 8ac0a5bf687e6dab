"""Intervals for differences between two methods that were run on the same users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import AnyFloatArray
from lorabank.types.checks import check_count, check_number


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its two-sided interval."""

    mean: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """How one method compares with another, over the same users.

    Attributes:
        difference: mean over users of (ours - theirs).
        relative: mean of ours / mean of theirs - 1; zero if theirs is zero.
        users: how many.
    """

    difference: Interval
    relative: Interval
    users: int


def paired_bootstrap(
    ours: AnyFloatArray,
    theirs: AnyFloatArray,
    *,
    confidence: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> PairedComparison:
    """Percentile bootstrap over users (Efron 1979): a user's two values are drawn together.

    Args:
        ours, theirs: (u,) one value per user, in the same order.
        confidence: of each two-sided interval.
        resamples: how many samples of u users are drawn.
        seed: of the draws.

    Raises:
        InvalidInputError: different lengths, or no users.
    """
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1 or not len(ours):
        raise InvalidInputError("ours, theirs", (ours.shape, theirs.shape), "one value per user")
    check_number(confidence, "confidence", low=0.01, high=0.9999)
    check_count(resamples, "resamples", low=1)
    drawn = np.random.default_rng(seed).integers(0, len(ours), (resamples, len(ours)))
    a, b = ours[drawn].mean(axis=1), theirs[drawn].mean(axis=1)
    level = 100 * np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    mean_a, mean_b = float(ours.mean()), float(theirs.mean())
    return PairedComparison(
        difference=_interval(mean_a - mean_b, a - b, level),
        relative=_interval(relative(mean_a, mean_b), relative(a, b), level),
        users=len(ours),
    )


def relative(a: AnyFloatArray | float, b: AnyFloatArray | float) -> AnyFloatArray:
    """``a / b - 1``; zero where b is zero."""
    a, b = np.asarray(a), np.asarray(b)
    ratio: AnyFloatArray = np.divide(a, b, out=np.ones_like(a), where=b != 0) - 1.0
    return ratio


def _interval(mean: AnyFloatArray | float, drawn: AnyFloatArray, level: AnyFloatArray) -> Interval:
    lower, upper = np.percentile(drawn, level)
    return Interval(float(mean), float(lower), float(upper))
