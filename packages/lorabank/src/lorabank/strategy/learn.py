"""From the trials of similar users to a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lorabank.statistics import GAIN_LIMIT, choose_hints, clustered_means, effects_of
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.pattern import Match
from lorabank.types.query import HALF_LIFE, PatternFilter
from lorabank.types.strategy import NO_TRIALS, Strategy, TrialSummary
from lorabank.types.trials import Trials

_EPSILON = 1e-12
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
    evidence: Trials,
    defaults: Hyperparameters,
    *,
    confidence: float = 0.95,
    half_life: float = HALF_LIFE,
) -> Strategy:
    """A strategy without its text.

    Args:
        matches: the most similar patterns, for the caller to see.
        evidence: trials of similar patterns, of one objective, best first.
        defaults: what effects are relative to; trials around other settings are no evidence.
        confidence: of all intervals together, however often this is asked.
        half_life: seconds, see `Query`.
    """
    effects = effects_of(evidence, defaults, confidence=confidence, half_life=half_life)
    hints = choose_hints(effects, defaults)
    return Strategy(
        hints=hints,
        effects=effects,
        patterns=tuple(matches),
        confidence=hints.confidence,
        summary=summarise(evidence, defaults),
    )


def summarise(evidence: Trials, defaults: Hyperparameters) -> TrialSummary:
    """Which trials there are, and what the defaults did in them."""
    found = evidence.around(defaults)
    if not len(found):
        return NO_TRIALS
    facts = found.facts
    _, first, user = np.unique(facts["user"], return_index=True, return_inverse=True)
    # Numbered as they come, so that the sum over users is the same in every process.
    users = np.argsort(np.argsort(first))[user]
    gains = (facts["frozen_loss"] - facts["default_loss"]) / np.maximum(
        facts["reference_loss"], _EPSILON
    )
    bounded = np.clip(gains, -GAIN_LIMIT, GAIN_LIMIT)
    means = clustered_means(bounded, np.zeros(len(found)), users, group_count=1)
    return TrialSummary(
        trials=len(found),
        users=len(first),
        nearest=tuple(found.ids[:NAMED]),
        default_gain=float(means.mean[0]),
    )
