"""Planted histories: what a bank is to find, and what it must not."""

from __future__ import annotations

import time

import numpy as np

from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import ARM_PARAMETERS, ArmOutcome, Outcome, Pattern, TrialOutcome
from lorabank_conformance.samples import Samples

FACTOR = 2.0
DEFAULTS = Hyperparameters(learning_rate=0.03, clip_threshold=1.5, ewc_strength=0.2, steps=2)
USERS = 40
TRIALS_PER_USER = 3


def trials(make: Samples, effect: float, seed: int) -> list[Pattern]:
    """Trials of one arm per parameter by users who are all alike.

    Doubling the learning rate of ``DEFAULTS`` saves ``effect`` of the reference loss, the other
    arms nothing; users and trials differ around that.
    """
    rng = np.random.default_rng(seed)
    return [
        make.pattern(
            f"trial-{user:02}-{number}",
            _near(make, rng),
            user_key=f"user-{user:02}",
            created_at=time.time() - 3600.0,
            outcome=_outcome(0.2),
            trial=_trial(rng, effect),
        )
        for user in range(USERS)
        for number in range(TRIALS_PER_USER)
    ]


def episodes(
    make: Samples, *, users: int, gain: float, seed: int, age: float = 3600.0, prefix: str = "u"
) -> list[Pattern]:
    """Four episodes for each of some users who are alike, with gains around ``gain``."""
    rng = np.random.default_rng(seed)
    return [
        make.pattern(
            f"{prefix}{user:02}-{number}",
            _near(make, rng),
            user_key=f"{prefix}{user:02}",
            created_at=time.time() - age,
            outcome=_outcome(gain + float(rng.normal(0.0, 0.05))),
        )
        for user in range(users)
        for number in range(4)
    ]


def _near(make: Samples, rng: np.random.Generator) -> np.ndarray:
    vector = make.axis(0) + rng.normal(0.0, 0.05, make.space.dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _trial(rng: np.random.Generator, effect: float) -> TrialOutcome:
    def loss(saved: float) -> float:
        return 0.9 - saved + float(rng.normal(0.0, 0.03))

    arms = tuple(
        ArmOutcome(name, FACTOR, loss(effect if name == "learning_rate" else 0.0))
        for name in ARM_PARAMETERS
    )
    return TrialOutcome(0.9, 0.95, 1.0, updates=4, arms=arms, defaults=DEFAULTS)


def _outcome(gain: float) -> Outcome:
    reward = min(max(0.5 + gain / 2.0, 0.0), 1.0)
    return Outcome(1.0 - gain, 1.0, gain, reward, success=gain > 0)
