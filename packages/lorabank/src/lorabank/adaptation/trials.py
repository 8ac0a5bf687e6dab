"""Shadow trials: alternatives to the defaults run beside the served weights, unseen by the user.

All arms start from the same weights, go through the same batches with the same negatives, and
are scored on the same next batch: full information, so their differences are paired.

What would be computed twice is computed once: arms whose gradients were never clipped, and the
update that is served, go the same way as long as they stand at the same weights and take the same
steps. They are known by their arrays being the same objects, so this ends when an adapter is stored
and read, and nothing else does.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from lorabank.adaptation.learning import Descent, Pull, descend
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


class Shadows:
    """Descents on one batch, from any weights and with any settings, each step done once."""

    def __init__(self, batch: Batch, pull: Pull | None) -> None:
        self._batch = batch
        self._pull = pull
        # Steps from an A with a rate and a strength: threshold, norm, and where they led.
        self._steps: dict[tuple[int, float, float], list[tuple[float, float, Matrices]]] = {}
        self._weights: dict[int, Weights] = {}

    def served(self, start: Matrices, hyper: Hyperparameters, descent: Descent) -> None:
        """What the update itself did is known."""
        if hyper.steps == 1:
            key = (id(start.A), hyper.learning_rate, hyper.ewc_strength)
            self._steps[key] = [(hyper.clip_threshold, descent.norm, descent.matrices)]

    def descend(self, start: Matrices, hyper: Hyperparameters) -> Weights:
        """The weights after the steps; ``start`` must live as long as this."""
        m, single = start, _single(hyper)
        for _ in range(hyper.steps):
            m = self._step(m, single)
        weights = self._weights.get(id(m.A))
        if weights is None:
            weights = self._weights[id(m.A)] = Weights.taking(m.A, m.B)
        return weights

    def _step(self, start: Matrices, hyper: Hyperparameters) -> Matrices:
        key = (id(start.A), hyper.learning_rate, hyper.ewc_strength)
        known = self._steps.setdefault(key, [])
        for threshold, norm, after in known:
            if threshold == hyper.clip_threshold or norm <= min(threshold, hyper.clip_threshold):
                return after
        descent = descend(self._batch, start, hyper, self._pull)
        known.append((hyper.clip_threshold, descent.norm, descent.matrices))
        return descent.matrices


def continue_trial(
    adapter: Adapter,
    shadows: Shadows,
    defaults: Hyperparameters,
    config: TrialConfig,
    rng: Chance,
) -> Trial | None:
    """The trial after a batch: carried on, newly started, or none.

    ``adapter`` is as the batch found it, ``shadows`` are on the batch. A trial whose updates are
    all done is over (its arms were scored before this is called).
    """
    trial = adapter.trial
    if trial is None or trial.updates_left == 0:
        trial = _maybe_start(adapter.weights, defaults, config, rng)
    if trial is None:
        return None
    return changed(
        trial,
        arms=tuple(_advance(arm, trial.defaults, shadows, adapter.scale) for arm in trial.arms),
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
    names = _names(config.arms, defaults)
    arms = tuple(TrialArm(parameter, factor, weights) for parameter, factor in names)
    return Trial(arms, defaults, updates_done=0, updates_left=config.updates)


@lru_cache(maxsize=64)
def _names(
    arms: tuple[tuple[str, float], ...], defaults: Hyperparameters
) -> tuple[tuple[str, float], ...]:
    """The baselines, and the arms that are something else than the defaults."""
    others = [arm for arm in arms if settings_of(*arm, defaults) != defaults]
    return ((DEFAULT, 1.0), (FROZEN, 0.0), *others)


@lru_cache(maxsize=256)
def _single(hyper: Hyperparameters) -> Hyperparameters:
    return replace(hyper, steps=1)


def _advance(arm: TrialArm, defaults: Hyperparameters, shadows: Shadows, scale: float) -> TrialArm:
    if arm.parameter == FROZEN:
        return arm
    start = Matrices(arm.weights.A, arm.weights.B, scale)
    weights = shadows.descend(start, settings_of(arm.parameter, arm.factor, defaults))
    return changed(arm, weights=weights)
