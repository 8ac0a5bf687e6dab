"""How fast methods get better: NLL by the number of events that a user has had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorabank.evaluation.bootstrap import Interval
from lorabank.evaluation.measures.compare import Resamples, interval
from lorabank.types.arrays import AnyFloatArray, IntArray

HORIZONS = (50, 25, 10, 5)
# A mean over fewer users says nothing.
LEAST_USERS = 20
# Events that a point of the curve is the mean of, itself the last one; fewer at the start.
SMOOTHING = 10
# Events that a curve has to stay at or below the target.
SUSTAINED = 10


@dataclass(frozen=True, slots=True)
class Target:
    """When a method reaches a target.

    Attributes:
        events: seen until then, interpolated from means over users; the horizon if it never is.
        reached: whether it is.
        against: share of events saved against the method that the target was made of.
    """

    events: Interval
    reached: bool
    against: Interval


def choose_horizon(lengths: IntArray, most: int) -> int:
    """The longest of the horizons that at least `LEAST_USERS` and a fifth of the users reach."""
    least = max(LEAST_USERS, len(lengths) // 5)
    fitting = [h for h in HORIZONS if h <= most and np.count_nonzero(lengths >= h) >= least]
    return fitting[0] if fitting else HORIZONS[-1]


def by_event(
    values: AnyFloatArray, user: IntArray, number: IntArray, horizon: int
) -> AnyFloatArray:
    """(users who reach it, horizon) values of the first events of each; the same users all along.

    Args:
        values: (n,) of events, sorted by user and time.
        user, number: (n,) of the events.
        horizon: events.
    """
    lengths = np.bincount(user)
    keep = (lengths[user] >= horizon) & (number < horizon)
    table: AnyFloatArray = values[keep].reshape(-1, horizon)
    return table


def smooth(curve: AnyFloatArray) -> AnyFloatArray:
    """Trailing means over `SMOOTHING` points along the last axis, over fewer at its start."""
    total = np.cumsum(curve, axis=-1)
    smoothed = total.copy()
    smoothed[..., SMOOTHING:] -= total[..., :-SMOOTHING]
    count = np.minimum(np.arange(curve.shape[-1]) + 1, SMOOTHING)
    result: AnyFloatArray = smoothed / count
    return result


def first_crossing(curve: AnyFloatArray, target: AnyFloatArray) -> IntArray:
    """(b,) the first point of each curve (b, h) that is at or below its target (b,) and from which
    on the next `SUSTAINED` points (or all that are left) are; h where there is none."""
    below = curve <= np.asarray(target)[:, None]
    width = curve.shape[1]
    sustained = np.ones_like(below)
    for ahead in range(min(SUSTAINED, width)):
        sustained[:, : width - ahead] &= below[:, ahead:]
    found: IntArray = np.where(sustained.any(axis=1), sustained.argmax(axis=1), width)
    return found.astype(np.int64)


def updates_to_target(
    ours: AnyFloatArray, reference: AnyFloatArray, resamples: Resamples
) -> Target:
    """Events until our mean curve reaches where the reference's ends.

    The target is the last point of the reference's own smoothed curve; each resample of the users
    makes its own, so that its chance is in the interval.

    Args:
        ours, reference: (users, horizon) NLL; the reference was chosen beforehand.
        resamples: of these users.
    """
    share = resamples.weights / resamples.weights.sum(axis=1, keepdims=True)
    goal = smooth(reference.mean(axis=0)[None])[:, -1]
    goals = smooth(share @ reference)[:, -1]
    crossings = []
    for table in (ours, reference):
        point = int(first_crossing(smooth(table.mean(axis=0)[None]), goal)[0])
        crossings.append((point, first_crossing(smooth(share @ table), goals)))
    (mine, my_draws), (theirs, their_draws) = crossings
    saved = 1 - my_draws / np.maximum(their_draws, 1)
    return Target(
        events=interval(float(mine), my_draws.astype(np.float64)),
        reached=mine < ours.shape[1],
        against=interval(1 - mine / max(theirs, 1), saved),
    )
