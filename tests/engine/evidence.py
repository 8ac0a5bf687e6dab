"""Planted evidence: a doubled learning rate clearly helped."""

from __future__ import annotations

import numpy as np

from lorabank import (
    Hyperparameters,
    Outcome,
    Pattern,
    TrialOutcome,
    new_id,
)
from lorabank.types.pattern import ArmOutcome

DEFAULTS = Hyperparameters(learning_rate=0.1)


def evidence(count: int = 60) -> list[Pattern]:
    """Trials of many users in which a doubled learning rate clearly helped."""
    rng = np.random.default_rng(0)
    patterns = []
    for i in range(count):
        default = 0.5 + 0.05 * rng.standard_normal()
        better = default - 0.1 + 0.01 * rng.standard_normal()
        patterns.append(
            Pattern(
                id=new_id(1e9 + i),
                namespace="default",
                user_key=f"{i % 30:032x}",
                task="",
                context=rng.standard_normal(6).astype(np.float32),
                objective="mse",
                rank=2,
                hyperparameters=DEFAULTS,
                selection="default",
                propensity=1.0,
                samples=4,
                created_at=1e9 + i,
                outcome=Outcome(default, 1.0, 1 - default, 1.0, True),
                trial=TrialOutcome(
                    default_loss=default,
                    frozen_loss=1.0,
                    reference_loss=1.0,
                    updates=4,
                    arms=(ArmOutcome("learning_rate", 2.0, better),),
                    defaults=DEFAULTS,
                ),
            )
        )
    return patterns
