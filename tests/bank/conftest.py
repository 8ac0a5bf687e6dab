"""Patterns and trials for the tests of banks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ArmOutcome, Outcome, Pattern, TrialOutcome

DEFAULTS = Hyperparameters(learning_rate=0.05)
MakePattern = Callable[..., Pattern]


@pytest.fixture(scope="session")
def make_pattern() -> MakePattern:
    """A pattern with sensible fields; any of them may be given, ``gain`` as a shorthand."""

    def make(pattern_id: str, context: Any = (1.0, 0.0), **given: Any) -> Pattern:
        gain = given.pop("gain", None)
        if gain is not None:
            reward = min(max(0.5 + gain / 2, 0.0), 1.0)
            given["outcome"] = Outcome(1.0 - gain, 1.0, gain, reward, gain > 0)
        fields = {
            "namespace": "shop",
            "user_key": "ada",
            "task": "adapt",
            "objective": "mse",
            "rank": 4,
            "hyperparameters": DEFAULTS,
            "selection": "default",
            "propensity": 1.0,
            "samples": 8,
            "created_at": 1000.0,
        }
        return Pattern(id=pattern_id, context=np.asarray(context), **{**fields, **given})

    return make


@pytest.fixture(scope="session")
def make_trial() -> Callable[[Mapping[tuple[str, float], float]], TrialOutcome]:
    """A trial in which each arm lowers the loss by so much of the reference loss."""

    def make(effects: Mapping[tuple[str, float], float], default_loss: float = 1.0) -> TrialOutcome:
        arms = tuple(
            ArmOutcome(parameter, factor, default_loss - 2.0 * effect)
            for (parameter, factor), effect in effects.items()
        )
        return TrialOutcome(default_loss, 1.5, 2.0, 4, arms, DEFAULTS)

    return make
