"""One full linear map for everyone, by ridge regression to the identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lorabank.evaluation.baselines import BLENDS
from lorabank.evaluation.choosing import Candidate, best_ranking
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated, Scores
from lorabank.evaluation.views import View
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray

# Times the mean eigenvalue of the contexts' second moment.
RIDGES = (0.01, 0.1, 1.0, 10.0)
DTYPE = np.float64


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """``<W x, e>``, W (dim, dim)."""

    log_prior: FloatArray
    W: FloatArray
    bytes_per_user: float = 0.0

    def scores(self, view: View) -> Scores:
        """Inner products of the mapped contexts."""
        y: FloatArray = view.events.x @ self.W.T

        def scores(rows: IntArray) -> FloatArray:
            values: FloatArray = y[rows] @ view.items.T
            return values

        return scores


def fit_linear(ground: Ground) -> Calibrated:
    """The ridge, and the weight beside popularity, that rank best."""
    return best_ranking(ground, _candidates(ground), BLENDS)


def ridge_map(XX: AnyFloatArray, TX: AnyFloatArray, strength: float) -> FloatArray:
    """W that minimises ``sum |t - W x|^2 + strength * |W - s I|^2``, s the best multiple of I.

    Args:
        XX: (dim, dim) sum of x x^T.
        TX: (dim, dim) sum of t x^T.
        strength: of the pull to a multiple of the identity.
    """
    eye = np.eye(len(XX))
    scale = np.trace(TX) / np.trace(XX)
    W = np.linalg.solve(XX + strength * eye, (TX + strength * scale * eye).T).T
    mapped: FloatArray = W.astype(np.float32)
    return mapped


def _candidates(ground: Ground) -> Iterator[Candidate]:
    """Targets count less the more popular they are, as negatives would make them."""
    events = ground.fit.events
    counts = np.bincount(events.user)[events.user]
    weight = (1.0 / np.sqrt(counts * (1.0 + ground.counts[events.target]))).astype(np.float32)
    T = ground.items[events.target]
    weighted = events.x * weight[:, None]
    XX, TX = (weighted.T @ events.x).astype(DTYPE), (T.T @ weighted).astype(DTYPE)
    unit = float(np.trace(XX)) / len(XX)
    for ridge in RIDGES:
        yield {"ridge": ridge}, Mapped(ground.log_prior, ridge_map(XX, TX, ridge * unit))
