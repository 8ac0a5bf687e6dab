"""Effects of hyperparameter arms from shadow trials: paired, with users as clusters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.statistics.clusters import clustered_means
from lorabank.types.arrays import IntArray
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Pattern
from lorabank.types.strategy import ArmEffect

MIN_USERS = 5
# A relative effect beyond this counts as this, in both directions: one absurd loss can't bring a
# hint about, and holds one back only while few users have tried the arm. The bound is fixed
# beforehand, so the interval stays honest (its subject is the mean of the bounded effect), and an
# arm that ruins some users still shows it.
EFFECT_LIMIT = 0.25
_EPSILON = 1e-12


class _Table(NamedTuple):
    """One row per arm of each trial."""

    keys: list[tuple[str, float]]
    effect: NDArray[np.float64]
    arm: IntArray
    user: IntArray


def arm_effects(
    patterns: Iterable[Pattern],
    defaults: Hyperparameters,
    *,
    confidence: float = 0.95,
    min_users: int = MIN_USERS,
) -> tuple[ArmEffect, ...]:
    """Mean effect of each arm against the default, best first.

    The effect of an arm in one trial is ``(default_loss - arm_loss) / max(reference_loss, eps)``,
    bounded to +-`EFFECT_LIMIT`. Both ran from the same weights over the same updates and met the
    same next batch, so their difference is free of what they share.

    Args:
        patterns: those without a trial are passed over.
        defaults: what the arms' factors multiply; trials around other settings are passed over.
        confidence: of all two-sided intervals together (Bonferroni over the arms looked at).
        min_users: arms tried by fewer users are left out.

    Returns:
        ordered by their lower bounds.
    """
    table = _tabulate(patterns, defaults)
    if not table.keys:
        return ()
    means = clustered_means(table.effect, table.arm, table.user, len(table.keys))
    looked_at = np.flatnonzero(means.users >= max(min_users, 2)).tolist()
    level = 1.0 - (1.0 - confidence) / max(len(looked_at), 1)
    effects = []
    for arm in looked_at:
        parameter, factor = table.keys[arm]
        lower, upper = means.interval(arm, level)
        effects.append(
            ArmEffect(
                parameter=parameter,
                factor=factor,
                mean=float(means.mean[arm]),
                standard_error=float(means.standard_error[arm]),
                lower=lower,
                upper=upper,
                trials=int(means.observations[arm]),
                users=int(means.users[arm]),
                probability=means.probability_above_zero(arm),
            )
        )
    return tuple(sorted(effects, key=lambda e: (-e.lower, e.parameter, e.factor)))


def _tabulate(patterns: Iterable[Pattern], defaults: Hyperparameters) -> _Table:
    # Flat lists of plain numbers: this runs on the way of an update, over thousands of arms.
    trials = [
        (p.user_key, p.trial)
        for p in patterns
        if p.trial is not None and p.trial.defaults == defaults
    ]
    arms = [arm for _, trial in trials for arm in trial.arms]
    keys: dict[tuple[str, float], int] = {}
    arm = [keys.setdefault((a.parameter, a.factor), len(keys)) for a in arms]
    users: dict[str, int] = {}
    user = [users.setdefault(name, len(users)) for name, _ in trials]
    arms_of_trial = [len(trial.arms) for _, trial in trials]
    default = np.array([trial.default_loss for _, trial in trials], np.float64)
    reference = np.array([trial.reference_loss for _, trial in trials], np.float64)
    loss = np.array([a.loss for a in arms], np.float64)
    effect = np.repeat(default, arms_of_trial) - loss
    effect /= np.repeat(np.maximum(reference, _EPSILON), arms_of_trial)
    bounded = np.clip(effect, -EFFECT_LIMIT, EFFECT_LIMIT)
    user_of_arm = np.repeat(np.array(user, np.int64), arms_of_trial)
    return _Table(list(keys), bounded, np.array(arm, np.int64), user_of_arm)
