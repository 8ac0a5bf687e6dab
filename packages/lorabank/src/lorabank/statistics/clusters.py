"""Means with users as clusters.

Episodes of one user are not independent, so each user counts once: first the mean per user, then a
t interval over those means with users - 1 degrees of freedom. What is estimated is the mean over
users, not over episodes, so that a heavy user does not decide for all. Observations may have
weights (how fresh they are): then a user's mean is weighted, and a user counts with its freshest
observation.

Source: Ibragimov and Mueller 2010, "t-statistic based correlation and heterogeneity robust
inference": with (nearly) unbiased normal cluster estimates the interval's level holds, or is
conservative, even if their variances differ, for levels of at most 8.3 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lorabank.statistics.student import student_quantile
from lorabank.types.arrays import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredMeans:
    """One mean per group, each array (groups,).

    Attributes:
        mean: float64, over the users' means; NaN for a group without observations.
        standard_error: float64, of ``mean``; infinite with fewer than two users.
        users: int64, distinct users.
        observations: int64.
        effective_users: float64, how many equally active and equally fresh users would carry as
            much (n_eff, Kish 1965): far below ``users`` if a few users made most observations.
    """

    mean: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    users: IntArray
    observations: IntArray
    effective_users: NDArray[np.float64]

    def interval(self, group: int, confidence: float) -> tuple[float, float]:
        """Two-sided t interval of a group's mean; infinite with fewer than two users."""
        if self.users[group] < 2:
            return -math.inf, math.inf
        t = student_quantile(0.5 + 0.5 * confidence, float(self.users[group] - 1))
        mean, width = float(self.mean[group]), t * float(self.standard_error[group])
        return mean - width, mean + width


def clustered_means(
    values: ArrayLike,
    groups: ArrayLike,
    users: ArrayLike,
    group_count: int,
    weights: ArrayLike | None = None,
) -> ClusteredMeans:
    """Means of ``values`` per group, users as clusters.

    Args:
        values: finite, (n,).
        groups: integers in [0, group_count), (n,).
        users: integers >= 0, (n,); the same number is the same user in every group.
        group_count: how many groups there are.
        weights: in (0, 1], (n,); None for ones.
    """
    value = np.asarray(values, np.float64)
    user = np.asarray(users, np.int64)
    weight = np.ones(len(value)) if weights is None else np.asarray(weights, np.float64)
    width = int(user.max(initial=-1)) + 1
    cell, cells = np.asarray(groups, np.int64) * width + user, group_count * width
    freshest = np.zeros(cells)
    np.maximum.at(freshest, cell, weight)
    by_cell = _Cells(
        counts=np.bincount(cell, minlength=cells).reshape(group_count, width),
        weights=_summed(weight, cell, cells).reshape(group_count, width),
        sums=_summed(weight * value, cell, cells).reshape(group_count, width),
        freshest=freshest.reshape(group_count, width),
    )
    return _from_cells(by_cell)


def effective_number(weights: ArrayLike) -> NDArray[np.float64]:
    """Kish's effective number ``(sum w)^2 / sum w^2`` along the last axis; 0 for no weight."""
    given = np.asarray(weights, np.float64)
    squares = np.sum(given**2, axis=-1)
    number: NDArray[np.float64] = np.sum(given, axis=-1) ** 2 / np.where(squares > 0, squares, 1.0)
    return number


def _summed(values: NDArray[np.float64], cell: IntArray, cells: int) -> NDArray[np.float64]:
    return np.bincount(cell, values, cells).astype(np.float64)


class _Cells(NamedTuple):
    """Per group and user, each (groups, users)."""

    counts: NDArray[np.int64]
    weights: NDArray[np.float64]
    sums: NDArray[np.float64]
    freshest: NDArray[np.float64]


def _from_cells(cells: _Cells) -> ClusteredMeans:
    counts, share = cells.counts, cells.freshest
    users = (counts > 0).sum(axis=1)
    user_means = cells.sums / np.where(counts > 0, cells.weights, 1.0)
    total = share.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sum(share * user_means, axis=1) / total
        deviations = np.where(counts > 0, share * (user_means - mean[:, None]), 0.0)
        variance = np.sum(deviations**2, axis=1) / total**2 * users / (users - 1)
    error = np.full(len(users), np.inf)
    enough = users >= 2
    error[enough] = np.sqrt(variance[enough])
    effective = effective_number(cells.weights)
    return ClusteredMeans(mean, error, users, counts.sum(axis=1), effective)
