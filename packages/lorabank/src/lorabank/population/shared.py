"""The shared adapter: trained per rank on some users, its rank chosen on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lorabank.config import ContrastiveConfig, PriorConfig
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import Matrices, initial_matrices
from lorabank.population.ground import Ground
from lorabank.population.predictor import Predictor
from lorabank.population.recorder import Recorder
from lorabank.population.rows import Split
from lorabank.population.tasks import ContrastiveTask
from lorabank.population.training import Schedule, fit_epochs
from lorabank.types.arrays import BoolArray

# Above this rank the peak learning rate falls.
REFERENCE_RANK = 32
RANK_POWER = 0.75
# epoch, epochs, held-out loss
OnEpoch = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """The weights of the epoch that held-out users liked best.

    Attributes:
        predictor: calibrated on them.
        epochs: how many were trained until then; 0 if the start was never beaten.
        loss: their weighted mean loss.
    """

    predictor: Predictor
    epochs: int
    loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Trainer:
    """How adapters are trained on a ground.

    Attributes:
        calibration: tau and prior weight of the training logit.
        prior: batch size, negatives, and schedules.
        contrastive: what counts as a like.
        seed: of minibatches and negatives.
        check: called between minibatches.
    """

    calibration: Calibration
    prior: PriorConfig
    contrastive: ContrastiveConfig
    seed: int
    check: Callable[[], object]

    def epochs(
        self, ground: Ground, start: Matrices, users: BoolArray, schedule: Schedule
    ) -> Iterator[Matrices]:
        """The weights after each epoch on all rows of the users, disliked ones among them."""
        config = replace(
            self.contrastive, calibration=self.calibration, negatives=self.prior.negatives
        )
        task = ContrastiveTask(ground.rows, ground.pool, config)
        rng = np.random.default_rng([self.seed, 1])
        positions = ground.rows.of_users(users)
        positions = positions[ground.rows.weight[positions] > 0]
        return fit_epochs(task, start, positions, schedule, self.prior, rng, self.check)

    def train(
        self,
        ground: Ground,
        start: Predictor,
        split: Split,
        schedule: Schedule,
        on_epoch: OnEpoch,
    ) -> Trained:
        """Train on the split's fitted users, and keep the epoch that is best to stop by."""
        assert start.matrices is not None
        stop = ground.some if split is ground.split else ground.stop_of(split.stop)
        predictor, loss = start.calibrated(ground, stop)
        best = Trained(predictor, 0, loss)
        iterator = self.epochs(ground, start.matrices, split.fit, schedule)
        for epoch, matrices in enumerate(iterator, start=1):
            predictor, loss = replace(predictor, matrices=matrices).calibrated(ground, stop, 1e-4)
            on_epoch(epoch, schedule.epochs, loss)
            if loss < best.loss:
                best = Trained(predictor, epoch, loss)
        return best

    def again(
        self, ground: Ground, start: Matrices, users: BoolArray, schedule: Schedule, epochs: int
    ) -> Matrices:
        """The same training on other users, for as many epochs of the schedule."""
        m = start
        iterator = self.epochs(ground, start, users, schedule)
        for _ in range(epochs):
            m = next(iterator)
        return m


@dataclass(frozen=True, slots=True)
class ChosenRank:
    """The rank that held-out users liked best, with what was trained at it."""

    rank: int
    trained: Trained


def choose_rank(
    trainer: Trainer, ground: Ground, ranks: Sequence[int], recorder: Recorder
) -> ChosenRank:
    """Train each rank; those above the dimension count as the dimension."""
    dim = ground.pool.dim
    capped = sorted({min(rank, dim) for rank in ranks})
    found = []
    for number, rank in enumerate(capped):
        tell = _teller(recorder, rank, number, len(capped))
        start = Predictor(fresh(rank, dim, trainer.seed), ground.pool.vectors)
        schedule = schedule_for(rank, trainer.prior)
        trained = trainer.train(ground, start, ground.split, schedule, tell)
        recorder.losses[f"rank={rank}"] = trained.loss
        found.append(ChosenRank(rank, trained))
    return min(found, key=lambda chosen: chosen.trained.loss)


def schedule_for(rank: int, prior: PriorConfig) -> Schedule:
    """Peak rate ``learning_rate * min(1, 32 / rank) ** 0.75``."""
    factor = min(1.0, REFERENCE_RANK / rank) ** RANK_POWER
    return Schedule(prior.learning_rate * factor, prior.epochs)


def fresh(rank: int, dim: int, seed: int) -> Matrices:
    """Where the training of a rank begins: the identity."""
    return Matrices(*initial_matrices(np.random.default_rng([seed, 0]), rank, dim), 1.0)


def _teller(recorder: Recorder, rank: int, number: int, ranks: int) -> OnEpoch:
    def tell(epoch: int, epochs: int, loss: float) -> None:
        share = (number + epoch / epochs) / ranks
        recorder.tell("shared", f"rank {rank}, epoch {epoch} of {epochs}", share, loss)

    return tell
