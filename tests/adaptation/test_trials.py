"""Shadow arms share batches and negatives, and one of them is the served adapter itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.support.streams import DIM, Drifting, config_of, new_adapter

from lorabank.adaptation.learning import descend
from lorabank.adaptation.step import Decision, StepResult, adapt, prepare
from lorabank.adaptation.trials import Shadows, settings_of
from lorabank.adapter import Adapter, Objective, TrialArm
from lorabank.config import EngineConfig, TrialConfig
from lorabank.numerics.batch import Batch
from lorabank.numerics.lora import Matrices
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Pattern

OBJECTIVES: list[Objective] = ["mse", "contrastive"]
objectives = pytest.mark.parametrize("objective", OBJECTIVES)
HELD = 3


def config_with_trials(objective: Objective, probability: float = 1.0) -> EngineConfig:
    trials = TrialConfig(probability=probability, updates=HELD)
    return replace(config_of(objective, 0.2, 5.0), trials=trials)


def pending(adapter: Adapter) -> Adapter:
    pattern = Pattern(
        "id", "n", "key", "", np.ones(DIM, np.float32), adapter.objective, 8, Hyperparameters(),
        "default", 1.0, 6, 0.0,
    )  # fmt: skip
    return replace(adapter, pending=pattern)


def run(
    objective: Objective, updates: int, decision: Decision | None = None
) -> list[tuple[Adapter, StepResult, Batch]]:
    """(adapter before, result, batch) of each update."""
    config, stream = config_with_trials(objective), Drifting(objective, 0, leak=0.2, gain=2.0)
    decision = decision or Decision(config.defaults, observed=True)
    adapter, rng, history = new_adapter(config), np.random.default_rng(0), []
    for _ in range(updates):
        adapter = pending(adapter)
        batch = prepare(adapter, stream.draw(0, 6, stream.rng), config, stream.pool, rng)
        result = adapt(adapter, batch, decision, config, rng, lambda: 0.0)
        history.append((adapter, result, batch))
        adapter = result.adapter
    return history


def arms_of(adapter: Adapter) -> dict[tuple[str, float], TrialArm]:
    assert adapter.trial is not None
    return {(arm.parameter, arm.factor): arm for arm in adapter.trial.arms}


@objectives
def test_the_default_arm_is_the_served_trajectory_and_the_frozen_arm_is_the_start(
    objective: Objective,
) -> None:
    history = run(objective, HELD)
    start = history[0][0]
    for _, result, _ in history:
        arms = arms_of(result.adapter)
        np.testing.assert_array_equal(arms["default", 1.0].weights.A, result.adapter.A)
        np.testing.assert_array_equal(arms["default", 1.0].weights.B, result.adapter.B)
        np.testing.assert_array_equal(arms["frozen", 0.0].weights.A, start.A)
        np.testing.assert_array_equal(arms["frozen", 0.0].weights.B, start.B)


@objectives
def test_every_arm_learns_from_the_same_batches_with_its_own_setting(objective: Objective) -> None:
    history = run(objective, HELD)
    defaults = config_with_trials(objective).defaults
    for name, factor in (("learning_rate", 4.0), ("steps", 2.0)):
        weights = history[0][0].weights
        for before, _, batch in history:
            m = Matrices(weights.A, weights.B, before.scale)
            after = descend(batch, m, settings_of(name, factor, defaults), None).matrices
            weights = type(weights)(after.A, after.B)
        np.testing.assert_array_equal(
            arms_of(history[-1][1].adapter)[name, factor].weights.B, weights.B
        )


@objectives
def test_arms_are_held_for_n_updates_and_then_all_meet_the_same_next_batch(
    objective: Objective,
) -> None:
    history = run(objective, HELD + 1)
    lefts = [result.adapter.trial.updates_left for _, result, _ in history if result.adapter.trial]
    assert lefts == [2, 1, 0, 2]
    finished = [result.finished for _, result, _ in history]
    assert all(pattern is not None for pattern in finished)
    assert [pattern.trial is not None for pattern in finished if pattern] == [False] * HELD + [True]
    adapter, result, batch = history[-1]
    assert result.finished is not None
    trial = result.finished.trial
    assert trial is not None
    assert trial.updates == HELD
    assert trial.default_loss == result.loss_before
    assert trial.reference_loss == result.identity_loss
    arms = arms_of(adapter)
    for one in trial.arms:
        weights = arms[one.parameter, one.factor].weights
        expected = batch.loss(Matrices(weights.A, weights.B, adapter.scale))
        assert one.loss == expected
    frozen = arms["frozen", 0.0].weights
    assert trial.frozen_loss == batch.loss(Matrices(frozen.A, frozen.B, adapter.scale))


def test_a_hinted_user_still_has_the_defaults_as_an_arm() -> None:
    hinted = Hyperparameters(learning_rate=0.8)
    history = run("mse", 2, Decision(hinted, "hinted", observed=True))
    unhinted = run("mse", 2)
    default = arms_of(history[-1][1].adapter)["default", 1.0].weights
    np.testing.assert_array_equal(default.B, unhinted[-1][1].adapter.B)
    assert not np.array_equal(default.B, history[-1][1].adapter.B)


def test_trials_do_not_change_what_is_served() -> None:
    """Batches are prepared from a generator of their own here: only the arms differ."""
    config, off = config_with_trials("mse"), config_with_trials("mse", 0.0)
    stream, rng = Drifting("mse", 0, leak=0.2, gain=2.0), np.random.default_rng(0)
    adapter = new_adapter(config)
    batch = prepare(adapter, stream.draw(0, 6, stream.rng), config, None, rng)
    decision = Decision(config.defaults, observed=True)
    one, other = (adapt(adapter, batch, decision, c, rng, lambda: 0.0) for c in (config, off))
    assert one.in_trial
    assert not other.in_trial
    np.testing.assert_array_equal(one.adapter.B, other.adapter.B)


def test_without_anyone_to_store_the_episode_there_is_no_trial() -> None:
    history = run("mse", 2, Decision(config_with_trials("mse").defaults, observed=False))
    assert not any(result.in_trial for _, result, _ in history)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_trials_start_with_their_probability(probability: float) -> None:
    config = config_with_trials("mse", probability)
    stream, rng = Drifting("mse", 0, leak=0.2, gain=2.0), np.random.default_rng(0)
    adapter = new_adapter(config)
    batch = prepare(adapter, stream.draw(0, 2, stream.rng), config, None, rng)
    decision = Decision(config.defaults, observed=True)
    started = [
        adapt(adapter, batch, decision, config, rng, lambda: 0.0).in_trial for _ in range(300)
    ]
    spread = (probability * (1 - probability) / 300) ** 0.5
    assert abs(np.mean(started) - probability) <= 4 * spread


def test_an_arm_multiplies_one_setting_and_steps_stay_whole() -> None:
    defaults = Hyperparameters(0.1, 1.0, 2.0, 1)
    assert settings_of("learning_rate", 2.0, defaults) == replace(defaults, learning_rate=0.2)
    assert settings_of("ewc_strength", 0.25, defaults) == replace(defaults, ewc_strength=0.5)
    assert settings_of("steps", 0.1, defaults).steps == 1
    assert settings_of("steps", 2.6, defaults).steps == 3
    assert settings_of("default", 1.0, defaults) == defaults


@objectives
def test_what_arms_share_is_computed_once_and_is_the_same(objective: Objective) -> None:
    config = config_with_trials(objective)
    batch, start = run(objective, 2)[1][2], new_adapter(config)
    here = Matrices(start.A, start.B, start.scale)
    norm = descend(batch, here, config.defaults, None).norm
    clips = (norm / 2, norm / 4, norm * 2, norm * 3)
    settings = [replace(config.defaults, clip_threshold=clip) for clip in clips]
    settings += [replace(one, steps=2) for one in settings]
    settings += [replace(one, learning_rate=2 * one.learning_rate) for one in settings]
    shadows = Shadows(batch, None)
    shadows.served(here, settings[2], descend(batch, here, settings[2], None))
    found = [shadows.descend(here, one) for one in settings]
    for one, weights in zip(settings, found, strict=True):
        alone = descend(batch, here, one, None).matrices
        assert np.array_equal(weights.A, alone.A)
        assert np.array_equal(weights.B, alone.B)
    # Two that are never clipped, with one step, two, and either at the doubled rate.
    assert all(found[i] is found[i + 1] for i in (2, 10))
    assert len({id(weights) for weights in found}) <= len(found) - 2
