"""Shadow trials: alternatives to the defaults run beside the served weights, unseen by the user.

All arms start from the same weights, go through the same batches with the same negatives, and
are scored on the same next batch: full information, so their differences are paired.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from lorabank.adaptation.learning import Pull, descend
from lorabank.adapter import Adapter, Trial, TrialArm
from lorabank.config import TrialConfig
from lorabank.numerics.batch import Batch
from lorabank.numerics.lora import Matrices
from lorabank.types.chance import Chance
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.values import changed
from lorabank.types.weights import Weights

DEFAULT = "default"
FROZEN = "frozen"


def continue_trial(
    adapter: Adapter,
    batch: Batch,
    defaults: Hyperparameters,
    config: TrialConfig,
    rng: Chance,
    pull: Pull | None,
) -> Trial | None:
    """The trial after this batch: carried on, newly started, or none.

    ``adapter`` is as the batch found it. A trial whose updates are all done is over (its arms
    were scored before this is called).
    """
    trial = adapter.trial
    if trial is None or trial.updates_left == 0:
        trial = _maybe_start(adapter.weights, defaults, config, rng)
    if trial is None:
        return None
    return changed(
        trial,
        arms=tuple(_advance(arm, trial.defaults, batch, adapter.scale, pull) for arm in trial.arms),
        updates_done=trial.updates_done + 1,
        updates_left=trial.updates_left - 1,
    )


@lru_cache(maxsize=256)
def settings_of(parameter: str, factor: float, defaults: Hyperparameters) -> Hyperparameters:
    """The defaults with one parameter multiplied; steps are rounded to at least 1."""
    if parameter in (DEFAULT, FROZEN):
        return defaults
    value = getattr(defaults, parameter) * factor
    return replace(defaults, **{parameter: max(1, round(value)) if parameter == "steps" else value})


def _maybe_start(
    weights: Weights, defaults: Hyperparameters, config: TrialConfig, rng: Chance
) -> Trial | None:
    if config.probability == 0 or rng.random() >= config.probability:
        return None
    names = [(DEFAULT, 1.0), (FROZEN, 0.0)]
    names += [arm for arm in config.arms if settings_of(*arm, defaults) != defaults]
    arms = tuple(TrialArm(parameter, factor, weights) for parameter, factor in names)
    return Trial(arms, defaults, updates_done=0, updates_left=config.updates)


def _advance(
    arm: TrialArm, defaults: Hyperparameters, batch: Batch, scale: float, pull: Pull | None
) -> TrialArm:
    if arm.parameter == FROZEN:
        return arm
    start = Matrices(arm.weights.A, arm.weights.B, scale)
    settings = settings_of(arm.parameter, arm.factor, defaults)
    after = descend(batch, start, settings, pull).matrices
    return changed(arm, weights=Weights.taking(after.A, after.B))
