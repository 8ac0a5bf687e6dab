"""Who is worse off with a method than with another, beyond what chance explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.evaluation.bootstrap import Interval
from lorabank.evaluation.measures.compare import Resamples
from lorabank.statistics.student import student_quantile
from lorabank.types.arrays import AnyFloatArray, BoolArray, IntArray

LEVEL = 0.05
# A test of fewer events has no power.
LEAST_EVENTS = 5


@dataclass(frozen=True, slots=True)
class Harm:
    """Users harmed by one measure.

    Attributes:
        tested: users with enough events for a test.
        share: of them, significantly worse off (one-sided t test per user, 5 %).
        excess: share minus the 5 % that chance alone would give, with its interval.
        mean: how much worse the harmed ones are off, per event; 0 if there are none.
        worse: share of all users whose mean is worse, significant or not.
    """

    tested: int
    share: float
    excess: Interval
    mean: float
    worse: float


def harmed(loss: AnyFloatArray, user: IntArray) -> tuple[BoolArray, AnyFloatArray, BoolArray]:
    """Per user (u,): harmed, mean loss, tested. ``loss`` (n,) above zero is worse."""
    _, inverse, count = np.unique(user, return_inverse=True, return_counts=True)
    mean = np.bincount(inverse, loss) / count
    squares = np.bincount(inverse, (loss - mean[inverse]) ** 2)
    error = np.sqrt(squares / np.maximum(count - 1, 1) / count)
    tested = count >= LEAST_EVENTS
    quantile = {int(c): student_quantile(1 - LEVEL, float(c - 1)) for c in np.unique(count[tested])}
    critical = np.array([quantile.get(int(c), 0.0) for c in count])
    worse: BoolArray = tested & (mean > 0) & (mean > critical * error)
    return worse, mean, tested


def harm(loss: AnyFloatArray, user: IntArray, resamples: Resamples) -> Harm:
    """Users harmed, from per-event losses against the other method.

    Args:
        loss: (n,) ours minus theirs (NLL), or theirs minus ours (nDCG).
        user: (n,) ascending.
        resamples: of the users.
    """
    worse, mean, tested = harmed(loss, user)
    # Users without a test neither count as harmed nor dilute the share.
    rate = float(worse[tested].mean()) if tested.any() else 0.0
    drawn = resamples.weights @ worse / np.maximum(resamples.weights @ tested, 1e-9)
    lower, upper = np.percentile(drawn - LEVEL, (2.5, 97.5))
    return Harm(
        tested=int(tested.sum()),
        share=rate,
        excess=Interval(rate - LEVEL, float(lower), float(upper)),
        mean=float(mean[worse].mean()) if worse.any() else 0.0,
        worse=float((mean > 0).mean()),
    )
