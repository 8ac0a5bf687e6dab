"""Effects of hyperparameter arms from shadow trials: paired, with users as clusters.

Two things are kept apart. The **interval** decides on hints: it must hold although the evidence
is looked at again with every update, so it comes from a confidence sequence in which each user
counts once, with the first trial, in the order in which users came. (A mean over all trials of a
user would change what was already bet on; and one user's trials are not independent.) The
**mean** describes: it is over all trials, each user counts once, and old trials weigh less.

Whatever is picked because it looks best looks better than it is. So users fall into two folds by
their key: which arm is best is decided on one (`ArmEffect.fold_lower`), and what it is worth is
estimated on those of the other who came after its interval left zero (`ArmEffect.confirmed`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.statistics.betting import (
    ConfidenceSequence,
    confidence_sequence,
    confidence_sequences,
)
from lorabank.statistics.clusters import ClusteredMeans, clustered_means
from lorabank.turns import unhurried
from lorabank.types.arrays import BoolArray, IntArray
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Pattern
from lorabank.types.query import HALF_LIFE
from lorabank.types.strategy import ArmEffect, Estimate
from lorabank.types.trials import Trials

MIN_USERS = 5
# A relative effect beyond this counts as this, in both directions: one absurd loss can't bring a
# hint about, and holds one back only while few users have tried the arm. The bound is fixed
# beforehand, so the interval stays honest (its subject is the mean of the bounded effect), and an
# arm that ruins some users still shows it.
EFFECT_LIMIT = 0.25
_EPSILON = 1e-12


class _Table(NamedTuple):
    """One row per arm of each trial, in the order of time."""

    keys: list[tuple[str, float]]
    effect: NDArray[np.float64]
    arm: IntArray
    user: IntArray
    fold: IntArray
    trial: IntArray
    time: NDArray[np.float64]


def arm_effects(
    patterns: Iterable[Pattern],
    defaults: Hyperparameters,
    *,
    confidence: float = 0.95,
    min_users: int = MIN_USERS,
    half_life: float = HALF_LIFE,
) -> tuple[ArmEffect, ...]:
    """`effects_of` the trials of ``patterns``; those without one are passed over."""
    return effects_of(
        Trials.of(patterns),
        defaults,
        confidence=confidence,
        min_users=min_users,
        half_life=half_life,
    )


def effects_of(
    trials: Trials,
    defaults: Hyperparameters,
    *,
    confidence: float = 0.95,
    min_users: int = MIN_USERS,
    half_life: float = HALF_LIFE,
) -> tuple[ArmEffect, ...]:
    """Mean effect of each arm against the default, best first.

    The effect of an arm in one trial is ``(default_loss - arm_loss) / max(reference_loss, eps)``,
    bounded to +-`EFFECT_LIMIT`. Both ran from the same weights over the same updates and met the
    same next batch, so their difference is free of what they share.

    Args:
        trials: their order does not matter.
        defaults: what the arms' factors multiply; trials around other settings are passed over.
        confidence: of all two-sided intervals together (Bonferroni over the arms), at all times
            together.
        min_users: arms tried by fewer users are left out.
        half_life: seconds, see `Query`.

    Returns:
        ordered by their lower bounds.
    """
    table = _tabulate(trials, defaults)
    if not table.keys:
        return ()
    now = float(table.time.max())
    weights = np.maximum(0.5 ** ((now - table.time) / half_life), _EPSILON)
    means = clustered_means(table.effect, table.arm, table.user, len(table.keys), weights)
    looked_at = np.flatnonzero(means.users >= max(min_users, 2)).tolist()
    alpha = 0.5 * (1.0 - confidence) / len(table.keys)
    firsts = {arm: _first_trials(table, arm) for arm in looked_at}
    bounds = _bounds_of_all(table, firsts, alpha, half_life)
    effects = [
        _effect(table, means, arm, firsts[arm], bounds[arm], confidence, half_life)
        for arm in unhurried(looked_at, 1)
    ]
    return tuple(sorted(effects, key=lambda e: (-e.lower, e.parameter, e.factor)))


def _effect(
    table: _Table,
    means: ClusteredMeans,
    arm: int,
    firsts: IntArray,
    bounds: ConfidenceSequence,
    confidence: float,
    half_life: float,
) -> ArmEffect:
    parameter, factor = table.keys[arm]
    mean = float(means.mean[arm])
    fold_lower = confirmed = None
    if bounds.lower > 0:
        choosing = table.fold[firsts] == 0
        alpha = 0.5 * (1.0 - confidence) / len(table.keys)
        fold_lower = _bounds(table, [firsts[choosing]], alpha, half_life)[0].lower
        confirmed = _confirmed(table.effect[firsts], ~choosing, bounds.crossed, confidence)
    return ArmEffect(
        parameter=parameter,
        factor=factor,
        mean=mean,
        standard_error=float(means.standard_error[arm]),
        lower=min(bounds.lower, mean),
        upper=max(bounds.upper, mean),
        trials=int(means.observations[arm]),
        users=int(means.users[arm]),
        probability=-math.expm1(-max(bounds.log_wealth, 0.0)),
        effective_users=float(means.effective_users[arm]),
        fold_lower=fold_lower,
        confirmed=confirmed,
    )


def _first_trials(table: _Table, arm: int) -> IntArray:
    """The row of each user's first trial of an arm, in the order of time."""
    rows = np.flatnonzero(table.arm == arm)
    users, places = table.user[rows], np.arange(len(rows))
    first = np.empty(int(users.max(initial=-1)) + 1, np.int64)
    first[users[::-1]] = places[::-1]  # of several for one user the last written stays: the first
    firsts: IntArray = rows[first[users] == places]
    return firsts


def _bounds_of_all(
    table: _Table, firsts: dict[int, IntArray], alpha: float, half_life: float
) -> dict[int, ConfidenceSequence]:
    """Of each arm. Arms that were tried in the same trials, most often all, are done at once."""
    together: dict[bytes, list[int]] = {}
    for arm, rows in firsts.items():
        together.setdefault(table.trial[rows].tobytes(), []).append(arm)
    found: dict[int, ConfidenceSequence] = {}
    for arms in together.values():
        bounds = _bounds(table, [firsts[arm] for arm in arms], alpha, half_life)
        found.update(zip(arms, bounds, strict=True))
    return found


def _bounds(
    table: _Table, rows: list[IntArray], alpha: float, half_life: float
) -> list[ConfidenceSequence]:
    """Of sets of rows that are from the same trials."""
    now, times = float(table.time.max()), table.time[rows[0]]
    values = table.effect[np.stack(rows)]
    return confidence_sequences(
        values, alpha, EFFECT_LIMIT, times=times, now=now, half_life=half_life
    )


def _confirmed(
    values: NDArray[np.float64],
    estimating: BoolArray,
    crossed: int | None,
    confidence: float,
) -> Estimate | None:
    """The effect on users of the other fold who came after the interval left zero."""
    fresh = values[crossed:][estimating[crossed:]]
    if crossed is None or len(fresh) < 2:
        return None
    bounds = confidence_sequence(fresh, 0.5 * (1.0 - confidence), EFFECT_LIMIT)
    return Estimate(float(fresh.mean()), bounds.lower, bounds.upper, len(fresh))


def _tabulate(trials: Trials, defaults: Hyperparameters) -> _Table:
    # Arrays throughout: this runs on the way of an update, over thousands of arms.
    found = trials.around(defaults)
    facts, arms, losses = found.columns_of(found.by_time())
    arms_of_trial = facts["arms"]
    arm, kinds = _renumbered(arms)
    user, _ = _renumbered(facts["user"])
    effect = np.repeat(facts["default_loss"], arms_of_trial) - losses
    effect /= np.repeat(np.maximum(facts["reference_loss"], _EPSILON), arms_of_trial)
    return _Table(
        keys=[found.choices[kind] for kind in kinds.tolist()],
        effect=np.clip(effect, -EFFECT_LIMIT, EFFECT_LIMIT),
        arm=arm,
        user=np.repeat(user, arms_of_trial),
        fold=np.repeat(facts["fold"], arms_of_trial),
        trial=np.repeat(np.arange(len(found)), arms_of_trial),
        time=np.repeat(facts["time"], arms_of_trial),
    )


def _renumbered(values: IntArray) -> tuple[IntArray, IntArray]:
    """Numbers from 0 in the order of first appearance, (n,), and the value of each number."""
    known, first, place = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(known), np.int64)
    number[order] = np.arange(len(known))
    return number[place], known[order]
