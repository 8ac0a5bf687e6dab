"""Learning rate and epochs of the residuals, chosen on held-out users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import Matrices
from lorabank.population.ground import Ground
from lorabank.population.predictor import Predictor
from lorabank.population.recorder import Recorder
from lorabank.population.residual_training import (
    ResidualLesson,
    Table,
    allowed_items,
    residual_epochs,
)
from lorabank.population.residuals import Residuals
from lorabank.population_config import PopulationConfig
from lorabank.types.items import ItemPool

# Some fifty users can't tell one epoch from the next for certain.
PATIENCE = 2


@dataclass(frozen=True, slots=True)
class ChosenResiduals:
    """What held-out users liked best, the predictor of the fitted users, and the former's loss."""

    learning_rate: float
    epochs: int
    predictor: Predictor
    loss: float

    def table(self, pool: ItemPool) -> Residuals:
        """Of the fitted users: a row for every item that has learned anything."""
        vectors, bias = self.predictor.vectors, self.predictor.bias
        assert vectors is not None and bias is not None  # noqa: PT018 - they come together
        v = vectors - pool.vectors
        items = np.flatnonzero(v.any(axis=1) | (bias != 0)).astype(np.int64)
        return Residuals(items, v[items], bias[items])


@dataclass(frozen=True, slots=True, eq=False)
class ResidualTrainer:
    """Trains residuals on a ground, always with the same training logit.

    Attributes:
        calibration: tau and prior weight of the training logit: the shared adapter's.
        config: of the population.
        seed: of minibatches and negatives.
        check: called between minibatches.
    """

    calibration: Calibration
    config: PopulationConfig
    seed: int
    check: Callable[[], object]

    def choose(
        self, ground: Ground, shared: Predictor, recorder: Recorder
    ) -> ChosenResiduals | None:
        """The best of the learning rates; None if no item has enough users."""
        assert shared.matrices is not None
        lesson = self._lesson(ground, shared.matrices)
        if not lesson.allowed.any():
            return None
        found = [
            self._stopped(ground, shared, lesson, rate, recorder)
            for rate in self.config.residuals.learning_rates
        ]
        return min(found, key=lambda chosen: chosen.loss)

    def _stopped(
        self,
        ground: Ground,
        shared: Predictor,
        lesson: ResidualLesson,
        rate: float,
        recorder: Recorder,
    ) -> ChosenResiduals:
        """One learning rate, until `PATIENCE` epochs in a row are no better than the best."""
        config = self.config.residuals
        best: ChosenResiduals | None = None
        number = config.learning_rates.index(rate)
        for epoch, table in enumerate(self._epochs(lesson, rate), start=1):
            start = replace(shared, weights=None) if best is None else best.predictor
            parts = replace(start, vectors=table.vectors.copy(), bias=table.bias.copy())
            predictor, loss = parts.calibrated(ground, ground.some, 1e-4)
            share = (number + epoch / config.epochs) / len(config.learning_rates)
            recorder.tell("residuals", f"rate {rate:g}, epoch {epoch}", share, loss)
            recorder.losses[f"residuals rate={rate:g} epochs={epoch}"] = loss
            if best is None or loss < best.loss:
                best = ChosenResiduals(rate, epoch, predictor, loss)
            elif epoch >= best.epochs + PATIENCE:
                break
        assert best is not None, "there is at least one epoch"
        return best

    def again(self, ground: Ground, matrices: Matrices, chosen: ChosenResiduals) -> Residuals:
        """The same training on all users of the ground's split that are fitted."""
        lesson = self._lesson(ground, matrices)
        epochs = self._epochs(lesson, chosen.learning_rate)
        for _ in range(chosen.epochs - 1):
            next(epochs)
        return next(epochs).residuals(ground.pool, lesson.allowed)

    def _lesson(self, ground: Ground, matrices: Matrices) -> ResidualLesson:
        positions = ground.fit
        allowed = allowed_items(
            ground, positions, self.config.min_users, self.config.residuals.max_bytes
        )
        return ResidualLesson(ground, matrices, self.calibration, positions, allowed)

    def _epochs(self, lesson: ResidualLesson, rate: float) -> Iterator[Table]:
        rng = np.random.default_rng([self.seed, 2])
        return residual_epochs(lesson, self.config.residuals, rate, rng, self.check)
