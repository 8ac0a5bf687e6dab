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
# Bounds are found to a sixteen-thousandth of the range, on the safe side.
_GRID = 2**14
_CHUNK = 64  # the largest factor is _GRID, and 2 ** (14 * 64) is within float64


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
    paths = _paths(shares, 0.5, stretches)
    found = []
    for path, lower, upper in zip(paths, *np.split(refuted, 2), strict=True):
        found.append(
            ConfidenceSequence(
                lower=limit * (2.0 * float(lower) - 1.0),
                upper=limit * (1.0 - 2.0 * float(upper)),
                log_wealth=float(_mixed(path[-1])),
                crossed=_first_above(path[:-1], threshold),
            )
        )
    return found


def _refuted(
    shares: NDArray[np.float64], stretches: list[_Stretch], threshold: float
) -> NDArray[np.float64]:
    """(k,): the largest mean in [0, 1) that each row refutes, from below: 0 if there is none.

    Among the multiples of ``1 / _GRID``. Wealth falls with the mean, so any way of searching finds
    the same one; this one looks where a straight line through the last two looks meets the
    threshold, and needs about half as many looks as halving does.
    """
    rows = len(shares)
    low, high = [0] * rows, [_GRID] * rows
    at, slope = _first_guesses(shares, threshold)
    before: list[tuple[int, float]] = [(-1, 0.0)] * rows
    for look in unhurried(itertools.count(1), 1):
        wealth = _mixed(_final(shares, np.array(at) / _GRID, stretches)) - threshold
        for row, value in enumerate(wealth.tolist()):
            place, (last, last_value) = at[row], before[row]
            if value >= 0:
                low[row] = max(low[row], place)
            else:
                high[row] = min(high[row], place)
            if last not in (-1, place) and value != last_value:
                slope[row] = (value - last_value) / (place - last)
            before[row] = place, value
            at[row] = _next_look(place, value, slope[row], low[row], high[row], look)
        if all(top - bottom <= 1 for bottom, top in zip(low, high, strict=True)):
            return np.array(low) / _GRID
    raise AssertionError("unreachable")


def _first_guesses(shares: NDArray[np.float64], threshold: float) -> tuple[list[int], list[float]]:
    """Where each row's bound would be for normal values, in steps of the grid, and the slope."""
    count = max(shares.shape[1], 1)
    wide = threshold + 1.0  # the mixture over fractions costs about so much
    widths = np.sqrt(2.0 * wide * shares.var(axis=1) / count) if shares.size else shares.sum(axis=1)
    guesses = _GRID * ((shares.sum(axis=1) / count) - widths)
    slopes = -2.0 * wide / (_GRID * np.maximum(widths, 1.0 / _GRID))
    return [min(max(int(guess), 1), _GRID - 1) for guess in guesses], slopes.tolist()


def _next_look(place: int, value: float, slope: float, low: int, high: int, look: int) -> int:
    """Strictly between ``low`` and ``high``, if there is something."""
    if look % 4 == 0 or slope >= 0:
        return max((low + high) // 2, 1)  # never long without halving
    ahead = min(max(-value / slope, -_GRID), _GRID)
    wanted = place + math.floor(ahead)
    return max(min(max(wanted, low + 1), high - 1), 1)


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


def _paths(
    shares: NDArray[np.float64], mean: float, stretches: list[_Stretch]
) -> NDArray[np.float64]:
    """Log wealth of each row against ``mean`` after each value, and at the end.

    (k, n + 1, fractions).
    """
    gains = np.log1p(np.multiply.outer(shares / mean - 1.0, FRACTIONS))
    wealth = np.zeros((len(shares), len(FRACTIONS)))
    parts = []
    for stretch in stretches:
        wealth = _faded(wealth, stretch.kept)
        rows = wealth[:, None] + np.cumsum(gains[:, stretch.start : stretch.stop], axis=1)
        wealth = rows[:, -1] if rows.shape[1] else wealth
        parts.append(rows)
    return np.concatenate([*parts, wealth[:, None]], axis=1)


def _first_above(path: NDArray[np.float64], threshold: float) -> int | None:
    """After how many values the mixed wealth first reached the threshold; None if never."""
    if not path.size or path.max() < threshold:  # the mixture is never above the best fraction
        return None
    above = np.flatnonzero(_mixed(path) >= threshold)
    return int(above[0]) + 1 if len(above) else None


def _mixed(wealth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the mean wealth over the fractions, the last axis."""
    largest = np.maximum.reduce(wealth, axis=-1)  # `max` and `mean` come to the same, later
    sums = np.add.reduce(np.exp(wealth - largest[..., None]), axis=-1)
    mixed: NDArray[np.float64] = largest + np.log(sums / wealth.shape[-1])
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
