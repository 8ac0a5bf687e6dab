"""What the mixture promises: hardly worse than the identity, for every single user; and no worse
than the best of its experts, for users as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lorabank.evaluation.methods.mixture import Mixed
from lorabank.evaluation.metrics import EventScores
from lorabank.evaluation.views import View
from lorabank.statistics.scores import user_means
from lorabank.types.arrays import AnyFloatArray


@dataclass(frozen=True, slots=True)
class Bound:
    """Of the mixture: the largest total excess NLL of a user over the identity, and ln(1/w0)."""

    largest: float
    allowed: float


@dataclass(frozen=True, slots=True, eq=False)
class Single:
    """One expert alone.

    Attributes:
        name: of the expert.
        nll: (n,) of every event.
    """

    name: str
    nll: AnyFloatArray


def largest_excess(mixed: Mixed, view: View, scores: EventScores) -> Bound:
    """The user for whom the mixture lost most against the population's calibrated identity.

    Args:
        mixed: the mixture.
        view: the events.
        scores: of the mixture on them.
    """
    identity = -mixed.replay(view).likelihoods[:, 0]
    excess = np.bincount(view.events.user, scores.nll - identity)
    allowed = math.log(1 / mixed.config.mixture.identity_weight)
    return Bound(float(excess.max()), allowed)


def best_single(mixed: Mixed, view: View) -> Single:
    """The expert that would have been the best to serve all these users with, by mean NLL.

    It is known afterwards alone, so a mixture that is as good has chosen as well as could be.
    """
    losses = -mixed.replay(view).likelihoods
    means = [user_means(alone, view.events.user).mean() for alone in losses.T]
    best = int(np.argmin(means))
    return Single(mixed.experts.names[best], losses[:, best])
