"""What is trained: minibatches, held-out losses and calibration, per objective."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from lorabank.adaptation.preparation import prepare_contrastive
from lorabank.config import ContrastiveConfig
from lorabank.numerics.batch import Batch
from lorabank.numerics.calibration import ScoredEvents, fit_calibration
from lorabank.numerics.contrastive import Calibration, log_sum_exp
from lorabank.numerics.lora import Matrices, forward
from lorabank.numerics.mse import MseBatch
from lorabank.population.rows import Rows
from lorabank.turns import give_way
from lorabank.types.arrays import AnyFloatArray, BoolArray, FloatArray, IntArray
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool

CHUNK = 512
CALIBRATION_ROWS = 1024


class Task(Protocol):
    """One objective on one set of rows."""

    @property
    def rows(self) -> Rows:
        """All rows."""
        ...

    @property
    def judged(self) -> BoolArray:
        """(M,) which rows say how good weights are."""
        ...

    def minibatch(self, positions: IntArray, rng: np.random.Generator) -> Batch:
        """The rows at ``positions``, ready for a gradient."""
        ...

    def losses(
        self, m: Matrices | None, calibration: Calibration, positions: IntArray
    ) -> AnyFloatArray:
        """Loss of each row, (n,); ``m`` None is the identity."""
        ...

    def calibrate(self, m: Matrices | None, positions: IntArray) -> Calibration:
        """The calibration that fits the rows best."""
        ...


@dataclass(frozen=True, slots=True)
class MseTask:
    """Relative squared error; there is nothing to calibrate."""

    rows: Rows
    calibration: Calibration

    @property
    def judged(self) -> BoolArray:
        """Rows with some weight whose input is not zero."""
        return (self.rows.weight > 0) & self.rows.x.any(axis=1)

    def minibatch(self, positions: IntArray, rng: np.random.Generator) -> Batch:  # noqa: ARG002
        """Weighted by the user's share, and by the reward beside a target."""
        assert self.rows.target is not None
        weights = user_weights(self.rows, positions) * self.rows.weight[positions]
        return MseBatch(self.rows.x[positions], self.rows.target[positions], weights)

    def losses(
        self,
        m: Matrices | None,
        calibration: Calibration,  # noqa: ARG002
        positions: IntArray,
    ) -> AnyFloatArray:
        """``w |y - t|^2 / |x|^2`` of each row, zero inputs counting as zero."""
        assert self.rows.target is not None
        X = self.rows.x[positions]
        give_way()
        Y = X if m is None else forward(m, X)[0]
        give_way()
        energy = np.einsum("ij,ij->i", X, X)
        error = ((Y - self.rows.target[positions]) ** 2).sum(1) * self.rows.weight[positions]
        losses: AnyFloatArray = np.divide(error, energy, out=np.zeros_like(error), where=energy > 0)
        return losses

    def calibrate(self, m: Matrices | None, positions: IntArray) -> Calibration:  # noqa: ARG002
        """Unchanged."""
        return self.calibration


@dataclass(frozen=True, slots=True)
class ContrastiveTask:
    """Sampled softmax to train with; the exact likelihood over the pool to judge by.

    Items that the user had before a row are not offered again: neither as negatives nor in the
    exact likelihood.
    """

    rows: Rows
    pool: ItemPool
    config: ContrastiveConfig

    @property
    def judged(self) -> BoolArray:
        """Liked rows of some weight: the likelihood of a disliked item says nothing good."""
        liked: BoolArray = self.rows.reward >= self.config.negative_below
        return liked & (self.rows.weight > 0)

    def minibatch(self, positions: IntArray, rng: np.random.Generator) -> Batch:
        """Weighted by the user's share; negatives are shared by the whole minibatch."""
        assert self.rows.items is not None
        feedback = Feedback(
            self.rows.x[positions],
            items=self.rows.items[positions],
            reward=self.rows.reward[positions],
        )
        calibration = self.config.calibration
        give_way()
        earlier = self.rows.earlier_items(positions)
        give_way()
        batch = prepare_contrastive(feedback, self.pool, self.config, calibration, rng, earlier)
        weights = batch.weights * user_weights(self.rows, positions)
        return replace(batch, weights=weights)

    def losses(
        self, m: Matrices | None, calibration: Calibration, positions: IntArray
    ) -> AnyFloatArray:
        """Exact negative log-likelihood over the pool minus what the user had before."""
        parts = []
        for events in self._scored(m, positions):
            offered = np.isfinite(events.scores)  # 0 * -inf would not be a number
            give_way()
            logits = calibration.tau * np.where(offered, events.scores, 0.0)
            give_way()
            logits += calibration.prior_weight * events.log_prior
            give_way()
            logits[~offered] = -np.inf
            give_way()
            rows = np.arange(len(logits))
            parts.append(log_sum_exp(logits) - logits[rows, events.targets])
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def calibrate(self, m: Matrices | None, positions: IntArray) -> Calibration:
        """By maximum likelihood, on an even choice of the rows: two numbers need no more."""
        if len(positions) > CALIBRATION_ROWS:
            even = np.linspace(0, len(positions) - 1, CALIBRATION_ROWS)
            positions = positions[even.astype(np.int64)]
        return fit_calibration(lambda: self._scored(m, positions), self.config.calibration)

    def _scored(self, m: Matrices | None, positions: IntArray) -> Iterator[ScoredEvents]:
        for start in range(0, len(positions), CHUNK):
            give_way()
            yield self._scored_chunk(m, positions[start : start + CHUNK])

    def _scored_chunk(self, m: Matrices | None, positions: IntArray) -> ScoredEvents:
        assert self.rows.items is not None
        X = self.rows.x[positions]
        Y = X if m is None else forward(m, X)[0]
        targets = self.rows.items[positions]
        scores = Y @ self.pool.vectors.T
        give_way()
        kept = scores[np.arange(len(targets)), targets]
        scores[self.rows.earlier_items(positions)] = -np.inf
        scores[np.arange(len(targets)), targets] = kept
        give_way()
        weights = user_weights(self.rows, positions)
        return ScoredEvents(scores, self.pool.log_prior, targets, weights)


def user_weights(rows: Rows, positions: IntArray) -> FloatArray:
    """(n,) ``1 / sqrt(rows of the user)``, mean one over all rows: between events and users."""
    counts = np.diff(rows.first)
    inverse = counts**-0.5
    mean = float((counts * inverse).sum() / counts.sum())
    weights: FloatArray = (inverse[rows.user[positions]] / mean).astype(np.float32)
    return weights
