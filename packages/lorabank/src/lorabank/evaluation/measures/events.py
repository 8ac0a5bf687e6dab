"""Rank and likelihood of every event under a method, a part of the catalogue's matrix at a time."""

from __future__ import annotations

import numpy as np

from lorabank.evaluation.methods.base import Scores
from lorabank.evaluation.metrics import EventScores, middle_rank
from lorabank.evaluation.views import View
from lorabank.numerics.contrastive import log_sum_exp
from lorabank.types.arrays import AnyFloatArray, IntArray


def measure(
    view: View, logits: Scores, rows: IntArray | None = None, tilt: Scores | None = None
) -> EventScores:
    """Against the whole catalogue minus what each user had before; ties share the middle rank.

    Args:
        view: the events.
        logits: of a method.
        rows: positions of the events to measure; None means all.
        tilt: what the ranks, but not the likelihoods, add to the logits.
    """
    ranks: list[AnyFloatArray] = [np.empty(0)]
    losses: list[AnyFloatArray] = [np.empty(0)]
    for part in view.chunks(rows):
        values, target = logits(part), view.events.target[part]
        view.mask(part, values)
        losses.append(log_sum_exp(values) - values[np.arange(len(values)), target])
        if tilt is not None:
            values += tilt(part)
        ranks.append(middle_rank(values, target))
    return EventScores(np.concatenate(ranks), np.concatenate(losses).astype(np.float64))
