"""What the mixture promises: hardly worse than the identity, for every single user."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lorabank.evaluation.measures.events import measure
from lorabank.evaluation.methods.mixture import Mixed
from lorabank.evaluation.metrics import EventScores
from lorabank.evaluation.views import View
from lorabank.population.model import IDENTITY
from lorabank.types.arrays import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Bound:
    """Of the mixture: the largest total excess NLL of a user over the identity, and ln(1/w0)."""

    largest: float
    allowed: float


def largest_excess(mixed: Mixed, view: View, scores: EventScores) -> Bound:
    """The user for whom the mixture lost most against the population's calibrated identity.

    Args:
        mixed: the mixture.
        view: the events.
        scores: of the mixture on them.
    """
    scorer = mixed.experts.scorer

    def identity(rows: IntArray) -> FloatArray:
        return scorer.logits(IDENTITY, view.events.x[rows], view.recent[rows])

    excess = np.bincount(view.events.user, scores.nll - measure(view, identity).nll)
    allowed = math.log(1 / mixed.config.mixture.identity_weight)
    return Bound(float(excess.max()), allowed)
