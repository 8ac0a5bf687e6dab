"""Patterns, skills and vectors that the laws are tried with: plain, full, and seeded ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lorabank.types.arrays import FloatArray
from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.pattern import ArmOutcome, Outcome, Pattern, TrialOutcome
from lorabank.types.skill import Evidence, Prior, Skill
from lorabank.types.space import EmbeddingSpace
from lorabank.types.strategy import ArmEffect
from lorabank.types.weights import Weights

NAMESPACE = "default"
NOW = 1_700_000_000.123456
# A third has no exact binary form, so a store that rounds it is found out.
THIRD = 1.0 / 3.0


def outcome(reward: float = 0.7, *, success: bool = True, gain: float = THIRD) -> Outcome:
    """How an episode went."""
    return Outcome(loss=0.6, reference_loss=0.9, gain=gain, reward=reward, success=success)


def trial(effect: float = 0.3, *, factor: float = 2.0) -> TrialOutcome:
    """A trial of one learning-rate arm; ``effect`` is the loss that it saves, of a reference of 1.

    Frozen is worse than the default, and every loss differs.
    """
    arm = ArmOutcome("learning_rate", factor, 0.9 - effect)
    return TrialOutcome(0.9, 0.95, 1.0, updates=4, arms=(arm,))


@dataclass(frozen=True, slots=True)
class Samples:
    """Builds records of one embedding space."""

    space: EmbeddingSpace

    def axis(self, index: int, length: float = 1.0) -> FloatArray:
        """The unit vector along an axis, times ``length``."""
        vector = np.zeros(self.space.dim, np.float32)
        vector[index % self.space.dim] = length
        return vector

    def vectors(self, count: int, seed: int) -> FloatArray:
        """Random directions, (count, dim); of length one if the space is normalised."""
        rows = np.random.default_rng(seed).normal(size=(count, self.space.dim))
        if self.space.normalised:
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows.astype(np.float32)

    def pattern(
        self, pattern_id: str, context: FloatArray | None = None, **changes: Any
    ) -> Pattern:
        """A pattern with every optional field left out, unless it is among the changes."""
        fields: dict[str, Any] = {
            "id": pattern_id,
            "namespace": NAMESPACE,
            "user_key": "user",
            "task": "",
            "context": self.axis(0) if context is None else context,
            "objective": "mse",
            "rank": 4,
            "hyperparameters": Hyperparameters(),
            "selection": "default",
            "propensity": 1.0,
            "samples": 1,
            "created_at": NOW,
        }
        return Pattern(**(fields | changes))

    def full_pattern(self, pattern_id: str) -> Pattern:
        """A pattern with no field at its default, and numbers without short binary forms."""
        two_arms = (ArmOutcome("steps", 2.0, THIRD), ArmOutcome("clip_threshold", 0.1, -0.7))
        return self.pattern(
            pattern_id,
            self.vectors(1, seed=7)[0],
            task="watched 'Ärger im Paradies' \U0001f3ac\nto the end",
            objective="contrastive",
            rank=9,
            hyperparameters=Hyperparameters(0.1, THIRD, 0.7, 3),
            selection="explored",
            propensity=THIRD,
            samples=17,
            created_at=NOW + 1e-6,
            latency_ms=0.1,
            critique="gain 0.3: better than identity",
            skill_ids=("mse/everyone", "mse/group-1", "ünïcode"),
            outcome=Outcome(
                loss=1e-300, reference_loss=1e29, gain=-THIRD, reward=0.1, success=False
            ),
            trial=TrialOutcome(0.1, 0.2, THIRD, 5, two_arms, Hyperparameters(0.2, 0.4, THIRD, 2)),
        )

    def skill(self, skill_id: str, **changes: Any) -> Skill:
        """A skill with every optional field left out, unless it is among the changes."""
        fields: dict[str, Any] = {
            "id": skill_id,
            "namespace": NAMESPACE,
            "name": "everyone",
            "space": self.space,
            "objective": "mse",
            "centroid": self.axis(0),
            "min_similarity": -1.0,
            "evidence": Evidence(0.2, 0.1, 0.3, users=6, episodes=24),
            "passed": True,
            "user_keys": ("user",),
            "created_at": NOW,
        }
        return Skill(**(fields | changes))

    def full_skill(self, skill_id: str) -> Skill:
        """A skill with no field at its default, prior weights among them."""
        A = self.vectors(3, seed=11)
        effect = ArmEffect(
            "steps", 2.0, THIRD, 0.01, 0.3, 0.4, trials=40, users=9, probability=0.99
        )
        held_out = Evidence(THIRD, -0.1, 0.7, users=5, episodes=50)
        return self.skill(
            skill_id,
            name="group-1 'ünïcode' \U0001f3ac",
            objective="contrastive",
            centroid=self.vectors(1, seed=13)[0],
            min_similarity=THIRD,
            passed=False,
            user_keys=("ada", "böb", "'; --"),
            parent_id="contrastive/everyone",
            hints=Hints(0.1, THIRD, 0.7, 3, ("a", "b"), THIRD, ("because", "it helped")),
            effects=(effect,),
            prior=Prior(Weights(A, A.T * np.float32(0.1)), 2.5, "rslora", THIRD, -0.1, held_out),
        )
