"""A bank's answer: similar patterns, effects of choices with intervals, hints, and text."""

from __future__ import annotations

from dataclasses import dataclass, field

from lorabank.types.hyperparameters import NO_HINTS, Hints
from lorabank.types.pattern import Match


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over users with its interval, for data that had no part in a choice.

    Attributes:
        mean: of the bounded effect.
        lower, upper: two-sided interval, valid at any time.
        users: number of distinct users.
    """

    mean: float
    lower: float
    upper: float
    users: int


@dataclass(frozen=True, slots=True)
class ArmEffect:
    """Mean paired effect of one arm against the default, with users as clusters.

    Attributes:
        parameter: the hyperparameter that the arm changes.
        factor: multiplies the default.
        mean: relative decrease of the next batch's loss against the default's; above 0 is better.
            Old trials weigh less.
        standard_error: by user.
        lower, upper: two-sided interval, corrected for the number of arms and for looking often.
        trials: number of trials.
        users: number of distinct users.
        probability: that the effect is above zero: 1 - an anytime-valid p-value.
        effective_users: n_eff, how many equally active and equally fresh users would carry as
            much; 0 where it is not known.
        fold_lower: lower bound on one fold of users alone, by which the best of the arms with
            ``lower`` above zero is chosen. None for the others.
        confirmed: the effect on users of the other fold who came after ``lower`` was first above
            zero: they had no part in choosing the arm, so here is no winner's curse. None before.
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
    effective_users: float = 0.0
    fold_lower: float | None = None
    confirmed: Estimate | None = None


@dataclass(frozen=True, slots=True)
class TrialSummary:
    """Which episodes a strategy rests on, and what the defaults did in them.

    Attributes:
        trials: how many episodes with a trial around the caller's defaults were looked at.
        users: number of distinct users.
        nearest: ids of those most similar to the query, best first.
        default_gain: what the updates with the defaults took off the next batch's loss, as a
            share of the reference loss; mean over users. Below 0 they did harm.
    """

    trials: int = 0
    users: int = 0
    nearest: tuple[str, ...] = ()
    default_gain: float = 0.0


NO_TRIALS = TrialSummary()


@dataclass(frozen=True, slots=True)
class Strategy:
    """What a bank advises.

    Attributes:
        hints: at most one, the best of what beats the default by its lower bound.
        effects: of every arm with enough users, best first.
        patterns: the most similar ones, best first.
        confidence: probability of benefit of the hinted choices, in [0, 1]; 0 without hints.
        recommendation: text rendered from the numbers; the hint parser reads it back.
        summary: of the trials behind the effects.
    """

    hints: Hints = NO_HINTS
    effects: tuple[ArmEffect, ...] = ()
    patterns: tuple[Match, ...] = field(default=(), repr=False)
    confidence: float = 0.0
    recommendation: str = ""
    summary: TrialSummary = NO_TRIALS
