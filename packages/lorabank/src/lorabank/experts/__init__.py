"""A population's experts at work for one user: scored, mixed and served.

`BoundExperts` is a population bound to its pool of items; it is what `lorabank.adaptation` learns
with. `lorabank.experts.serving` gives the mixture's answers.
"""

from lorabank.experts.bound import BoundExperts
from lorabank.experts.serving import (
    ExpertWeights,
    mixed_log_probabilities,
    mixed_transform,
    mixed_vector_log_probabilities,
    ranking_tilt,
    trust,
)

__all__ = [
    "BoundExperts",
    "ExpertWeights",
    "mixed_log_probabilities",
    "mixed_transform",
    "mixed_vector_log_probabilities",
    "ranking_tilt",
    "trust",
]
