"""Confidence sequences for the mean of bounded values: valid however often one looks.

To test "the mean is at most m", start with a wealth of 1 and bet a fraction c of it on each value
being above m. If the mean is at most m this is a supermartingale, so that it ever reaches
1 / alpha has a probability of at most alpha (Ville 1939): at any time, for any distribution
within the bounds, without a minimum number of values. The lower bound is the largest m that is
refuted. Wealth is spread evenly over a fixed set of fractions, so no bet looks ahead, and
without decay the order of the values does not matter.

Source: Waudby-Smith and Ramdas 2023, "Estimating means of bounded random variables by betting":
its capital processes, with a mixture over fractions (diversified Kelly betting).

**Decay.** With a half-life, the logarithm of a wealth above 1 halves in that time, while a wealth
below 1 stays: gains fade, losses do not. Giving wealth away keeps a supermartingale one, so the
guarantee holds for ever; decay can only take a conclusion back, never bring one about.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lorabank.turns import unhurried
from lorabank.types.checks import check_number, check_positive

# Shares of the largest bet that can't lose everything at once; small ones serve small effects.
FRACTIONS = np.array([0.03, 0.06, 0.12, 0.25, 0.5, 0.75, 0.95])
STEPS_PER_HALF_LIFE = 4
# Of a bracket of width 1: bounds to a sixteen-thousandth of the range, on the safe side.
_HALVINGS = 14
_CHUNK = 64  # the largest factor is 2 ** _HALVINGS, and 2 ** (14 * 64) is within float64


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """What is known of a mean after the values so far.

    Attributes:
        lower, upper: each of them holds at all times together with probability 1 - alpha.
        log_wealth: against "the mean is at most 0"; ``exp(-log_wealth)``, at most 1, is an
            anytime-valid p-value.
        crossed: how many values it took until the lower bound was first above 0; None before.
    """

    lower: float
    upper: float
    log_wealth: float
    crossed: int | None


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Values start..stop-1 of one time step, and the share of a gain that was kept before it."""

    start: int
    stop: int
    kept: float


def confidence_sequence(
    values: ArrayLike,
    alpha: float,
    limit: float,
    *,
    times: ArrayLike | None = None,
    now: float | None = None,
    half_life: float | None = None,
) -> ConfidenceSequence:
    """Bounds of the mean of independent values in [-limit, limit].

    Args:
        values: (n,), in the order in which they came.
        alpha: chance that the lower bound is ever wrong; likewise the upper bound.
        limit: what the values are bounded by, above 0.
        times: (n,), ascending, in the unit of ``half_life``; None is all at once.
        now: time that wealth has faded until; None is the last value's.
        half_life: of gains; None is no decay. Time is counted in quarters of it, so that the
            bounds at a time do not depend on when one looked before.
    """
    rows = np.asarray(values, np.float64)[None, :]
    return confidence_sequences(rows, alpha, limit, times=times, now=now, half_life=half_life)[0]


def confidence_sequences(
    values: ArrayLike,
    alpha: float,
    limit: float,
    *,
    times: ArrayLike | None = None,
    now: float | None = None,
    half_life: float | None = None,
) -> list[ConfidenceSequence]:
    """As `confidence_sequence`, for each row of ``values`` (k, n): faster than one by one."""
    check_number(alpha, "alpha", low=1e-300, high=0.5)
    check_positive(limit, "limit")
    shares = 0.5 + 0.5 * np.asarray(values, np.float64) / limit
    stretches = _stretches(shares.shape[1], times, now, half_life)
    threshold = -math.log(alpha)
    refuted = _refuted(np.concatenate([shares, 1.0 - shares]), stretches, threshold)
    found = []
    for row, lower, upper in zip(shares, *np.split(refuted, 2), strict=True):
        path = _path(row, 0.5, stretches)
        above = np.flatnonzero(path[: len(row)] >= threshold)
        found.append(
            ConfidenceSequence(
                lower=limit * (2.0 * float(lower) - 1.0),
                upper=limit * (1.0 - 2.0 * float(upper)),
                log_wealth=float(path[-1]),
                crossed=int(above[0]) + 1 if len(above) else None,
            )
        )
    return found


def _refuted(
    shares: NDArray[np.float64], stretches: list[_Stretch], threshold: float
) -> NDArray[np.float64]:
    """(k,): the largest mean in [0, 1) that each row refutes, from below: 0 if there is none."""
    low, high = np.zeros(len(shares)), np.ones(len(shares))
    for _ in unhurried(range(_HALVINGS), 1):
        middle = 0.5 * (low + high)
        refuted = _mixed(_final(shares, middle, stretches)) >= threshold
        low, high = np.where(refuted, middle, low), np.where(refuted, high, middle)
    return low


def _final(
    shares: NDArray[np.float64], means: NDArray[np.float64], stretches: list[_Stretch]
) -> NDArray[np.float64]:
    """(k, fractions) logarithms of each row's wealth against its mean at the end.

    A value y multiplies wealth by ``1 + c (y - mean) / mean``, which falls with the mean.
    """
    factors = np.multiply.outer(FRACTIONS, shares / means[:, None] - 1.0)
    factors += 1.0
    wealth = np.zeros((len(FRACTIONS), len(shares)))
    for stretch in stretches:
        wealth = _faded(wealth, stretch.kept)
        if stretch.start < stretch.stop:
            # Products over so few values that they stay within floats; then few logarithms.
            starts = range(0, stretch.stop - stretch.start, _CHUNK)
            part = factors[:, :, stretch.start : stretch.stop]
            wealth += np.log(np.multiply.reduceat(part, starts, axis=2)).sum(axis=2)
    return wealth.T


def _path(
    shares: NDArray[np.float64], mean: float, stretches: list[_Stretch]
) -> NDArray[np.float64]:
    """Log wealth against ``mean`` after each value, (n,), and at the end."""
    gains = np.log1p(np.multiply.outer(shares / mean - 1.0, FRACTIONS))
    wealth = np.zeros(len(FRACTIONS))
    parts = []
    for stretch in stretches:
        wealth = _faded(wealth, stretch.kept)
        rows = wealth + np.cumsum(gains[stretch.start : stretch.stop], axis=0)
        wealth = rows[-1] if len(rows) else wealth
        parts.append(rows)
    return _mixed(np.concatenate([*parts, wealth[None]]))


def _mixed(wealth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the mean wealth over the fractions, the last axis."""
    largest = wealth.max(axis=-1)
    mixed: NDArray[np.float64] = largest + np.log(np.exp(wealth - largest[..., None]).mean(axis=-1))
    return mixed


def _faded(wealth: NDArray[np.float64], kept: float) -> NDArray[np.float64]:
    return np.minimum(wealth, np.maximum(wealth, 0.0) * kept)


def _stretches(
    count: int, times: ArrayLike | None, now: float | None, half_life: float | None
) -> list[_Stretch]:
    if times is None or half_life is None or count == 0:
        return [_Stretch(0, count, 1.0)]
    step = half_life / STEPS_PER_HALF_LIFE
    steps = np.floor(np.asarray(times, np.float64) / step)
    starts = [0, *(np.flatnonzero(np.diff(steps)) + 1).tolist(), count]
    stretches = []
    for i, (start, stop) in enumerate(itertools.pairwise(starts)):
        passed = steps[start] - steps[start - 1] if i else 0.0
        stretches.append(_Stretch(start, stop, _kept(float(passed))))
    if now is not None:
        passed = max(0.0, math.floor(now / step) - float(steps[-1]))
        stretches.append(_Stretch(count, count, _kept(float(passed))))
    return stretches


def _kept(steps: float) -> float:
    return float(0.5 ** (steps / STEPS_PER_HALF_LIFE))
