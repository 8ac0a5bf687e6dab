"""Statistics of paired effects with users as clusters. Pure functions: no I/O, no logging."""

from lorabank.statistics.betting import ConfidenceSequence, confidence_sequence
from lorabank.statistics.choice import arm_value, choose_hints, confidence_in
from lorabank.statistics.clusters import ClusteredMeans, clustered_means, effective_number
from lorabank.statistics.effects import EFFECT_LIMIT, MIN_USERS, arm_effects, effects_of
from lorabank.statistics.logged import GAIN_LIMIT, LoggedEffect, arm_of, logged_effects
from lorabank.statistics.student import student_cdf, student_quantile

__all__ = [
    "EFFECT_LIMIT",
    "GAIN_LIMIT",
    "MIN_USERS",
    "ClusteredMeans",
    "ConfidenceSequence",
    "LoggedEffect",
    "arm_effects",
    "arm_of",
    "arm_value",
    "choose_hints",
    "clustered_means",
    "confidence_in",
    "confidence_sequence",
    "effective_number",
    "effects_of",
    "logged_effects",
    "student_cdf",
    "student_quantile",
]
