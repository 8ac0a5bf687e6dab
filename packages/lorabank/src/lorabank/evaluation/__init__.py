"""Offline evaluation of next-item ranking: events without leaks, metrics, baselines, intervals.

What is exported here is pure numpy. `lorabank.evaluation.make` is the whole of ``lorabank
evaluate``: it reads a log (`sources`), splits it (`splits`), fits and serves every way of ranking
(`methods`), measures them (`measures`) and reports (`report`); it needs the extra ``evaluate``.
"""

from lorabank.evaluation.baselines import Blend, fit_temperature, fit_weights, tune_blend
from lorabank.evaluation.bootstrap import Interval, PairedComparison, paired_bootstrap
from lorabank.evaluation.contexts import decayed_contexts
from lorabank.evaluation.events import Events, Log, ordered_log
from lorabank.evaluation.folds import Fold, make_folds
from lorabank.evaluation.metrics import EventScores, UserScores, score_events, user_scores
from lorabank.statistics.scores import hit_rate, ndcg

__all__ = [
    "Blend",
    "EventScores",
    "Events",
    "Fold",
    "Interval",
    "Log",
    "PairedComparison",
    "UserScores",
    "decayed_contexts",
    "fit_temperature",
    "fit_weights",
    "hit_rate",
    "make_folds",
    "ndcg",
    "ordered_log",
    "paired_bootstrap",
    "score_events",
    "tune_blend",
    "user_scores",
]
