"""Effects from logged choices: for episodes that come from outside, where no trial ran beside.

The engine's own evidence are trials: every arm meets the same batch. An outside system that drew
each episode's hyperparameters at random and logged the probability (``selection="explored"`` and
``propensity``) leaves only what was chosen. What an arm would have done on all episodes is then

    V(a) = mean_i  q(x_i, a) + 1[a_i = a] / p_i * (r_i - q(x_i, a))

doubly robust: unbiased as the propensities are right, and the better the model q of the rewards,
the less noise their inverses bring in (without q it is inverse propensity scoring). q is a ridge
regression on the context, fitted on one fold of users and used on the other.

Sources: Dudik, Langford and Li 2011, "Doubly robust policy evaluation and learning"; the folds are
the cross-fitting of Chernozhukov et al. 2018.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lorabank.statistics.clusters import clustered_means, effective_number
from lorabank.types.arrays import BoolArray, IntArray
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ARM_PARAMETERS, Pattern

# A gain is at most 1 (no loss is left); a loss more than double the reference counts as double.
GAIN_LIMIT = 1.0
RIDGE = 1.0
_DEFAULT = ("default", 1.0)
Arm = tuple[str, float]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LoggedEffect:
    """What an arm would have gained over the default on all logged episodes.

    Attributes:
        parameter, factor: the arm, as in `ArmEffect`.
        mean: difference of the mean gains over identity; above 0 is better.
        lower, upper: two-sided t interval, users as clusters. For one look: it is corrected
            neither for many arms nor for looking often, and no hint rests on it.
        episodes: in which the arm was chosen.
        effective_episodes: Kish's effective number of them under their weights ``1 / p``.
        users: distinct users among all episodes.
    """

    parameter: str
    factor: float
    mean: float
    lower: float
    upper: float
    episodes: int
    effective_episodes: float
    users: int


class _Log(NamedTuple):
    """One row per episode."""

    arms: list[Arm | None]
    contexts: Values
    gains: Values
    propensities: Values
    users: IntArray
    folds: IntArray


def logged_effects(
    patterns: Iterable[Pattern], defaults: Hyperparameters, *, confidence: float = 0.95
) -> tuple[LoggedEffect, ...]:
    """The doubly robust effect of every arm that was logged, best mean first.

    Args:
        patterns: of one objective and embedding space. Only explored ones with an outcome and
            without a trial are looked at.
        defaults: what arms are compared with. An episode that differs from them in one parameter
            is that arm's; in several, of no arm.
        confidence: of each interval.
    """
    log = _read(patterns, defaults)
    if log is None:
        return ()
    base = _scores(log, _DEFAULT)
    effects = []
    for parameter, factor in sorted({arm for arm in log.arms if arm not in (None, _DEFAULT)}):
        chosen = _chose(log, (parameter, factor))
        difference = _scores(log, (parameter, factor)) - base
        means = clustered_means(difference, np.zeros(len(difference)), log.users, group_count=1)
        lower, upper = means.interval(0, confidence)
        effects.append(
            LoggedEffect(
                parameter=parameter,
                factor=factor,
                mean=float(means.mean[0]),
                lower=lower,
                upper=upper,
                episodes=int(chosen.sum()),
                effective_episodes=float(effective_number(1.0 / log.propensities[chosen])),
                users=int(means.users[0]),
            )
        )
    return tuple(sorted(effects, key=lambda effect: -effect.mean))


def arm_of(chosen: Hyperparameters, defaults: Hyperparameters) -> Arm | None:
    """Which arm a choice was: the one parameter that differs and its factor; None for several."""
    changed = [name for name in ARM_PARAMETERS if getattr(chosen, name) != getattr(defaults, name)]
    if not changed:
        return _DEFAULT
    default = float(getattr(defaults, changed[0]))
    if len(changed) > 1 or default == 0:
        return None
    return changed[0], float(f"{getattr(chosen, changed[0]) / default:.6g}")


def _read(patterns: Iterable[Pattern], defaults: Hyperparameters) -> _Log | None:
    found = [
        (pattern, pattern.outcome)
        for pattern in patterns
        if pattern.selection == "explored" and pattern.trial is None and pattern.outcome is not None
    ]
    if not found:
        return None
    contexts = np.stack([pattern.context for pattern, _ in found]).astype(np.float64)
    norms = np.linalg.norm(contexts, axis=1, keepdims=True)
    numbers: dict[str, int] = {}
    users = [numbers.setdefault(pattern.user_key, len(numbers)) for pattern, _ in found]
    folds = np.array([zlib.crc32(name.encode()) & 1 for name in numbers], np.int64)
    return _Log(
        arms=[arm_of(pattern.hyperparameters, defaults) for pattern, _ in found],
        contexts=np.hstack([np.ones_like(norms), contexts / np.where(norms > 0, norms, 1.0)]),
        gains=np.clip([outcome.gain for _, outcome in found], -GAIN_LIMIT, GAIN_LIMIT),
        propensities=np.array([pattern.propensity for pattern, _ in found]),
        users=np.array(users, np.int64),
        folds=folds[users],
    )


def _chose(log: _Log, arm: Arm) -> BoolArray:
    return np.array([chosen == arm for chosen in log.arms])


def _scores(log: _Log, arm: Arm) -> Values:
    """The doubly robust gain of an arm on each episode."""
    chosen = _chose(log, arm)
    model = np.zeros(len(chosen))
    for fold in (0, 1):
        rows, others = log.folds == fold, chosen & (log.folds != fold)
        model[rows] = _ridge(log.contexts[others], log.gains[others], log.contexts[rows])
    scores: Values = model + np.where(chosen, (log.gains - model) / log.propensities, 0.0)
    return scores


def _ridge(X: Values, y: Values, at: Values) -> Values:
    """Predictions at ``at`` of a ridge regression, solved on the smaller side; 0 without data."""
    if not len(y):
        return np.zeros(len(at))
    level = float(y.mean())
    if len(y) < X.shape[1]:
        weights = X.T @ np.linalg.solve(X @ X.T + RIDGE * np.eye(len(y)), y - level)
    else:
        weights = np.linalg.solve(X.T @ X + RIDGE * np.eye(X.shape[1]), X.T @ (y - level))
    predictions: Values = level + at @ weights
    return predictions
