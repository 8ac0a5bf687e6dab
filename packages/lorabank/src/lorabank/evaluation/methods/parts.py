"""Parts of the bank by themselves, chosen and calibrated like every baseline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lorabank.evaluation.choosing import Candidate, best_ranking, calibrate, most_likely
from lorabank.evaluation.methods.base import Calibrated, Scores
from lorabank.evaluation.methods.neighbours import BLENDS, Neighbours, Sum, common_tables
from lorabank.evaluation.methods.workshop import Workshop
from lorabank.evaluation.views import View
from lorabank.numerics.lora import Matrices, forward
from lorabank.population.model import SHARED
from lorabank.types.arrays import FloatArray, IntArray

# Weights of item-kNN beside the shared adapter's similarity.
BESIDE = (0.1, 0.2, 0.4, 0.8, 1.6)
BIASES = (0.0, 2.0, 6.0, 12.0)
# Temperature that the biases' weights above are meant at.
TAU = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """``<y, e + v> + bias weight * b``: the shared adapter with item residuals.

    Attributes:
        log_prior: (N,).
        matrices: of the shared adapter, or None.
        vectors: (N, dim) of the items, residuals added.
        bias: (N,) of the items, weighted.
    """

    log_prior: FloatArray
    matrices: Matrices | None
    vectors: FloatArray
    bias: FloatArray
    bytes_per_user: float = 0.0

    def scores(self, view: View) -> Scores:
        """Inner products with the corrected items."""
        x = view.events.x
        y: FloatArray = x if self.matrices is None else forward(self.matrices, x)[0]

        def scores(rows: IntArray) -> FloatArray:
            values: FloatArray = y[rows] @ self.vectors.T
            values += self.bias
            return values

        return scores


def fit_shared(workshop: Workshop) -> Calibrated:
    """One adapter for everyone, as long trained as everything together."""
    model = workshop.shared
    calibration = calibrate(workshop.ground, model, workshop.identity.calibration)
    return Calibrated(model, calibration)


def fit_neighbours_and_shared(workshop: Workshop) -> Calibrated:
    """Both scores and popularity, log-linear, with the weights that rank best."""
    return best_ranking(workshop.ground, _mixes(workshop, workshop.tables), BLENDS)


def fit_common_neighbours_and_shared(workshop: Workshop) -> Calibrated:
    """The same of pairs that as many users had as the library asks for."""
    tables = common_tables(workshop.ground, workshop.tables)
    return best_ranking(workshop.ground, _mixes(workshop, tables), BLENDS)


def fit_residuals(workshop: Workshop) -> Calibrated:
    """The shared adapter and item residuals, without neighbours, groups or a chain of one's own."""
    return most_likely(workshop.ground, _corrections(workshop), workshop.identity.calibration)


def _mixes(workshop: Workshop, tables: dict[bool, Any]) -> Iterator[Candidate]:
    """The decay and floor that item-kNN mostly chooses by itself."""
    ground = workshop.ground
    base = np.exp(ground.log_prior)
    for directed, table in tables.items():
        neighbours = Neighbours(ground.log_prior, table, 0.7, 0.3, base)
        for weight in BESIDE:
            yield (
                {"directed": float(directed), "weight": weight},
                Sum(workshop.shared, neighbours, weight),
            )


def _corrections(workshop: Workshop) -> Iterator[Candidate]:
    ground, full = workshop.ground, workshop.full
    pool, residuals = ground.pool, full.residuals
    found = [adapter.matrices for adapter in full.adapters if adapter.name == SHARED]
    matrices = found[0] if found else None
    zero = np.zeros(len(pool), np.float32)
    if residuals is None:
        yield {}, Corrected(ground.log_prior, matrices, pool.vectors, zero)
        return
    vectors, bias = residuals.item_vectors(pool), residuals.item_bias(pool)
    for weight in BIASES:
        scaled = np.float32(weight / TAU) * bias
        yield {"bias_weight": weight}, Corrected(ground.log_prior, matrices, vectors, scaled)
