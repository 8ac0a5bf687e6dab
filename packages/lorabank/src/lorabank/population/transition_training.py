"""Training of transition vectors beside everything that is known about items already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lorabank.numerics.adagrad import RowAdagrad
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.residuals import log_inclusion
from lorabank.population.ground import Ground
from lorabank.population.predictor import Predictor
from lorabank.population.recorder import Recorder
from lorabank.population.residual_choice import PATIENCE
from lorabank.population.residual_training import ResidualLesson, allowed_items, minibatch
from lorabank.population.transitions import Transitions, age_weights
from lorabank.population_config import PopulationConfig
from lorabank.turns import give_way
from lorabank.types.arrays import BoolArray, FloatArray, IntArray

# Relative; of two fits that say the same, either may come out lower by as much.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class ChosenTransitions:
    """What held-out users liked best, and the vectors of the fitted users."""

    decay: float
    epochs: int
    transitions: Transitions


@dataclass(frozen=True, slots=True, eq=False)
class TransitionTrainer:
    """Trains transition vectors on a ground, always with the same training logit.

    The loss is that of ``<tau y + tau c, e_j + v_j> + b_j + prior_j`` with the sum c of the last
    items' vectors; everything but them is frozen. Where neighbours are served as well, the two
    are weighed against each other afterwards.

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
        self, ground: Ground, fullest: Predictor, recorder: Recorder
    ) -> ChosenTransitions | None:
        """Decay and epoch by which ``fullest`` gains most on held-out users; None if by none."""
        near, least = fullest.calibrated(ground, ground.some, 1e-4)
        best: ChosenTransitions | None = None
        for decay in self.config.transitions.decays:
            lowest, since = np.inf, 0
            for epoch, found in enumerate(self._epochs(ground, fullest, decay), start=1):
                near, loss = near.after(found).calibrated(ground, ground.some, 1e-4)
                recorder.tell("transitions", f"decay {decay:g}, epoch {epoch}", 0.5, loss)
                recorder.losses[f"transitions decay={decay:g} epochs={epoch}"] = loss
                since = 0 if loss < lowest else since + 1
                if since == PATIENCE:
                    break
                lowest = min(lowest, loss)
                if loss < least * (1.0 - ROUNDING):
                    least, best = loss, ChosenTransitions(decay, epoch, found)
        return best

    def again(
        self, ground: Ground, parts: Predictor, chosen: ChosenTransitions
    ) -> Transitions | None:
        """The same training on all users of the ground's split that are fitted."""
        found = None
        epochs = self._epochs(ground, parts, chosen.decay)
        for _ in range(chosen.epochs):
            found = next(epochs, None)
        return found

    def _epochs(self, ground: Ground, parts: Predictor, decay: float) -> Iterator[Transitions]:
        """The vectors after each epoch; none if no item has enough users."""
        config, window = self.config.transitions, self.config.neighbours.window
        positions = ground.fit
        allowed = allowed_items(ground, positions, self.config.min_users, config.max_bytes)
        if not allowed.any():
            return
        assert parts.matrices is not None
        lesson = ResidualLesson(ground, parts.matrices, self.calibration, positions, allowed)
        items = np.flatnonzero(allowed).astype(np.int64)
        u, steps = np.zeros_like(ground.pool.vectors), RowAdagrad(len(ground.pool))
        inclusion = log_inclusion(ground.pool.log_q, config.negatives)
        rng = np.random.default_rng([self.seed, 4])
        tau = np.float32(self.calibration.tau)
        for _ in range(config.epochs):
            order = rng.permutation(positions)
            for begin in range(0, len(order), config.batch):
                self.check()
                give_way()
                part = order[begin : begin + config.batch]
                batch = minibatch(lesson, part, inclusion, config.negatives, rng)
                give_way()
                read, reading = _reading(ground.recent(part, window), allowed, decay)
                batch = replace(batch, Y=batch.Y + tau * (reading @ u[read]))
                dY = batch.context_gradient(_vectors(parts), _bias(parts, len(u)))
                give_way()
                gradient = tau * (reading.T @ dY) + np.float32(config.l2) * u[read]
                steps.update(u, read, gradient, config.learning_rate)
            yield Transitions(items, u[items], window, decay)


def _reading(recent: IntArray, allowed: BoolArray, decay: float) -> tuple[IntArray, FloatArray]:
    """The items (k,) that the rows look back on, and how much each row weighs each, (n, k)."""
    weights = age_weights(recent, decay) * ((recent >= 0) & allowed[recent])
    row, age = np.nonzero(weights)
    read, column = np.unique(recent[row, age], return_inverse=True)
    reading = np.zeros((len(recent), len(read)), np.float32)
    np.add.at(reading, (row, column), weights[row, age])
    return read, reading


def _vectors(parts: Predictor) -> FloatArray:
    assert parts.vectors is not None
    return parts.vectors


def _bias(parts: Predictor, size: int) -> FloatArray:
    return np.zeros(size, np.float32) if parts.bias is None else parts.bias
