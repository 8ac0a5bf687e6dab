"""From the trials of similar users to a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lorabank.statistics import arm_effects, choose_hints
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Match
from lorabank.types.query import PatternFilter
from lorabank.types.strategy import Strategy

# The most similar trials that are looked at. More would add users who are less alike, and time.
EVIDENCE_LIMIT = 512


def evidence_filter(where: PatternFilter) -> PatternFilter:
    """Which trials are evidence for a query.

    Conditions on the outcome are left out: trials chosen by how well they went would make every
    effect look better than it is.
    """
    return replace(where, has_trial=True, min_reward=None, success=None)


def learn(
    matches: Sequence[Match],
    evidence: Sequence[Match],
    defaults: Hyperparameters,
    *,
    confidence: float = 0.95,
) -> Strategy:
    """A strategy without its text.

    Args:
        matches: the most similar patterns, for the caller to see.
        evidence: similar patterns with trials, of one objective.
        defaults: what effects are relative to; trials around other settings are no evidence.
        confidence: of all intervals together.
    """
    effects = arm_effects((match.pattern for match in evidence), defaults, confidence=confidence)
    hints = choose_hints(effects, defaults)
    return Strategy(
        hints=hints, effects=effects, patterns=tuple(matches), confidence=hints.confidence
    )
