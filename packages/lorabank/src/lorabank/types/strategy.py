"""A bank's answer: similar patterns, effects of choices with intervals, hints, and text."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.types.hyperparameters import NO_HINTS, Hints
from lorabank.types.pattern import Match


@dataclass(frozen=True, slots=True)
class ArmEffect:
    """Mean paired effect of one arm against the default, with users as clusters.

    Attributes:
        parameter: the hyperparameter that the arm changes.
        factor: multiplies the default.
        mean: relative decrease of the next batch's loss against the default's; above 0 is better.
        standard_error: by user.
        lower, upper: two-sided interval, corrected for the number of arms looked at.
        trials: number of trials.
        users: number of distinct users.
        probability: one-sided probability that the effect is above zero.
    """

    parameter: str
    factor: float
    mean: float
    standard_error: float
    lower: float
    upper: float
    trials: int
    users: int
    probability: float


@dataclass(frozen=True, slots=True)
class Strategy:
    """What a bank advises.

    Attributes:
        hints: only what beats the default by its lower bound.
        effects: of every arm with enough users, best first.
        patterns: the most similar ones, best first.
        confidence: probability of benefit of the hinted choices, in [0, 1]; 0 without hints.
        recommendation: text rendered from the numbers; the hint parser reads it back.
    """

    hints: Hints = NO_HINTS
    effects: tuple[ArmEffect, ...] = ()
    patterns: tuple[Match, ...] = ()
    confidence: float = 0.0
    recommendation: str = ""
