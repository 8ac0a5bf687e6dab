"""Doubly robust effects against a logging policy whose choices depend on the context."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lorabank.statistics import LoggedEffect, arm_of, logged_effects
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ArmOutcome, Outcome, Pattern, TrialOutcome

DEFAULTS = Hyperparameters(learning_rate=0.1)
BOLD = replace(DEFAULTS, learning_rate=0.2)
USERS, EPISODES, DIM = 60, 3, 3
Values = NDArray[np.float64]


def gains(contexts: Values, bold: bool) -> Values:
    """Not linear in the context, so that the model of the rewards is wrong."""
    first = contexts[:, 0] / np.linalg.norm(contexts, axis=1)
    level: Values = 0.3 + 0.25 * first + 0.1 * np.abs(first)
    return level + (0.04 + 0.08 * first if bold else 0.0)


def truth() -> float:
    contexts = np.random.default_rng(99).normal(size=(400_000, DIM))
    return float((gains(contexts, True) - gains(contexts, False)).mean())


def log(rng: np.random.Generator) -> list[Pattern]:
    """The bold arm goes, with known probability, to those who gain much in any case."""
    taste = rng.normal(size=(USERS, DIM))
    own = 0.05 * rng.normal(size=USERS)
    found = []
    for n in range(USERS * EPISODES):
        user = n % USERS
        context = taste[user]
        likely = 0.1 + 0.8 / (1 + np.exp(-3 * context[0]))
        bold = bool(rng.random() < likely)
        gain = float(gains(context[None], bold)[0] + own[user] + 0.05 * rng.normal())
        found.append(
            Pattern(
                id=f"{n}",
                namespace="shop",
                user_key=f"u{user}",
                task="",
                context=context.astype(np.float32),
                objective="mse",
                rank=4,
                hyperparameters=BOLD if bold else DEFAULTS,
                selection="explored",
                propensity=float(likely if bold else 1 - likely),
                samples=8,
                created_at=float(n),
                outcome=Outcome(1 - gain, 1.0, gain, 0.5, gain > 0),
            )
        )
    return found


def weighted(patterns: list[Pattern], *, naive: bool = False) -> float:
    """Inverse propensity scoring, or the plain difference of means."""
    rewards = np.array([p.outcome.gain for p in patterns if p.outcome is not None])
    bold = np.array([p.hyperparameters == BOLD for p in patterns])
    if naive:
        return float(rewards[bold].mean() - rewards[~bold].mean())
    weights = np.where(bold, 1.0, -1.0) / [p.propensity for p in patterns]
    return float(np.mean(weights * rewards))


def test_it_is_unbiased_and_better_than_inverse_propensities() -> None:
    rng, true = np.random.default_rng(31), truth()
    robust, inverse, naive, covered = [], [], [], []
    for _ in range(150):
        patterns = log(rng)
        (effect,) = logged_effects(patterns, DEFAULTS)
        robust.append(effect.mean)
        covered.append(effect.lower <= true <= effect.upper)
        inverse.append(weighted(patterns))
        naive.append(weighted(patterns, naive=True))
    errors = {
        name: np.array(found) - true
        for name, found in (("robust", robust), ("inverse", inverse), ("naive", naive))
    }
    noise = float(np.std(errors["robust"])) / 150**0.5
    assert abs(errors["robust"].mean()) <= 3 * noise
    assert errors["naive"].mean() > 20 * noise  # what the propensities are for
    assert np.mean(errors["robust"] ** 2) < 0.25 * np.mean(errors["inverse"] ** 2)
    assert np.mean(covered) >= 0.9


def test_only_explored_episodes_with_an_outcome_and_no_trial_are_looked_at() -> None:
    patterns = log(np.random.default_rng(32))
    trial = TrialOutcome(0.5, 1.0, 1.0, 4, (ArmOutcome("steps", 2.0, 0.4),), DEFAULTS)
    others = [
        replace(patterns[0], id="a", selection="hinted"),
        replace(patterns[1], id="b", outcome=None),
        replace(patterns[2], id="c", trial=trial),
    ]
    assert logged_effects([*patterns, *others], DEFAULTS) == logged_effects(patterns, DEFAULTS)
    assert logged_effects(others, DEFAULTS) == ()


def test_it_says_how_much_data_it_rests_on() -> None:
    patterns = log(np.random.default_rng(33))
    (effect,) = logged_effects(patterns, DEFAULTS)
    assert isinstance(effect, LoggedEffect)
    bold = [p for p in patterns if p.hyperparameters == BOLD]
    assert (effect.parameter, effect.factor) == ("learning_rate", 2.0)
    assert (effect.episodes, effect.users) == (len(bold), USERS)
    assert 1 <= effect.effective_episodes < len(bold)


@pytest.mark.parametrize("dim", [2, 400])
def test_contexts_of_any_dimension_will_do(dim: int) -> None:
    rng = np.random.default_rng(34)
    patterns = [
        replace(p, context=rng.normal(size=dim).astype(np.float32))
        for p in log(np.random.default_rng(35))
    ]
    (effect,) = logged_effects(patterns, DEFAULTS)
    assert effect.lower < effect.mean < effect.upper


def test_which_arm_a_choice_was() -> None:
    assert arm_of(DEFAULTS, DEFAULTS) == ("default", 1.0)
    assert arm_of(BOLD, DEFAULTS) == ("learning_rate", 2.0)
    assert arm_of(replace(DEFAULTS, steps=3), DEFAULTS) == ("steps", 3.0)
    assert arm_of(replace(BOLD, steps=3), DEFAULTS) is None
    assert arm_of(replace(DEFAULTS, ewc_strength=1.0), DEFAULTS) is None
