"""The mean of what a user liked: alone, and blended with popularity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorabank.evaluation.baselines import BLENDS, HISTORY_ONLY
from lorabank.evaluation.choosing import Candidate, best_ranking, most_likely
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated, Scores
from lorabank.evaluation.views import View
from lorabank.numerics.contrastive import Calibration
from lorabank.types.arrays import FloatArray

START = Calibration(4.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """``<mean of the last likes, e>``."""

    log_prior: FloatArray
    decay: float
    bytes_per_user: float = 0.0

    def scores(self, view: View) -> Scores:
        """Inner products with every item."""
        x = view.contexts(self.decay)
        return lambda rows: x[rows] @ view.items.T


def fit_history(ground: Ground) -> Calibrated:
    """Similarity alone, at the best decay."""
    return best_ranking(ground, _candidates(ground), [HISTORY_ONLY])


def fit_blend(ground: Ground) -> Calibrated:
    """The frozen blend that ranks best, popularity alone and similarity alone among them."""
    return best_ranking(ground, _candidates(ground), BLENDS)


def fit_likely_blend(ground: Ground) -> Calibrated:
    """The frozen blend that makes held-out events most likely."""
    return most_likely(ground, _candidates(ground), START)


def fit_identity(ground: Ground) -> Calibrated:
    """What adapters start as: the given contexts with calibrated weights."""
    model = History(ground.log_prior, ground.settings.decay)
    return most_likely(ground, [({"decay": model.decay}, model)], START)


def _candidates(ground: Ground) -> Iterator[Candidate]:
    for decay in ground.settings.decays:
        yield {"decay": decay}, History(ground.log_prior, decay)
