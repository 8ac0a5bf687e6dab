"""From the trials of similar users to a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lorabank.statistics import GAIN_LIMIT, arm_effects, choose_hints, clustered_means
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Match, TrialOutcome
from lorabank.types.query import HALF_LIFE, PatternFilter
from lorabank.types.strategy import NO_TRIALS, Strategy, TrialSummary

# The most similar trials that are looked at. More would add users who are less alike, and time.
EVIDENCE_LIMIT = 512
# Ids that a summary names: answers are cached by the thousand.
NAMED = 4


def evidence_filter(where: PatternFilter, asker: str | None = None) -> PatternFilter:
    """Which trials are evidence for a query.

    Conditions on the outcome are left out: trials chosen by how well they went would make every
    effect look better than it is. The asker's own trials are left out unless ``where`` is about
    users already: what is wanted is what helped others.
    """
    others = where.exclude_user_key
    if others is None and where.user_key is None:
        others = asker
    return replace(where, has_trial=True, min_reward=None, success=None, exclude_user_key=others)


def learn(
    matches: Sequence[Match],
    evidence: Sequence[Match],
    defaults: Hyperparameters,
    *,
    confidence: float = 0.95,
    half_life: float = HALF_LIFE,
) -> Strategy:
    """A strategy without its text.

    Args:
        matches: the most similar patterns, for the caller to see.
        evidence: similar patterns with trials, of one objective, best first.
        defaults: what effects are relative to; trials around other settings are no evidence.
        confidence: of all intervals together, however often this is asked.
        half_life: seconds, see `Query`.
    """
    effects = arm_effects(
        (match.pattern for match in evidence), defaults, confidence=confidence, half_life=half_life
    )
    hints = choose_hints(effects, defaults)
    return Strategy(
        hints=hints,
        effects=effects,
        patterns=tuple(matches),
        confidence=hints.confidence,
        summary=summarise(evidence, defaults),
    )


def summarise(evidence: Sequence[Match], defaults: Hyperparameters) -> TrialSummary:
    """Which trials there are, and what the defaults did in them."""
    found = [
        (match.pattern, match.pattern.trial)
        for match in evidence
        if match.pattern.trial is not None and match.pattern.trial.defaults == defaults
    ]
    if not found:
        return NO_TRIALS
    numbers: dict[str, int] = {}
    users = [numbers.setdefault(pattern.user_key, len(numbers)) for pattern, _ in found]
    gains = [_default_gain(trial) for _, trial in found]
    means = clustered_means(gains, np.zeros(len(gains)), users, group_count=1)
    return TrialSummary(
        trials=len(found),
        users=len(numbers),
        nearest=tuple(pattern.id for pattern, _ in found[:NAMED]),
        default_gain=float(means.mean[0]),
    )


def _default_gain(trial: TrialOutcome) -> float:
    gain = (trial.frozen_loss - trial.default_loss) / max(trial.reference_loss, 1e-12)
    return min(max(gain, -GAIN_LIMIT), GAIN_LIMIT)
