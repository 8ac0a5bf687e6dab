"""A model of each user's own, learned online from zero (or from a prior) while it is served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lorabank.adaptation.preparation import prepare_contrastive
from lorabank.config import ContrastiveConfig
from lorabank.evaluation.choosing import Candidate, most_likely
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated, Scores
from lorabank.evaluation.views import View
from lorabank.numerics.adam import Adam
from lorabank.numerics.batch import Batch
from lorabank.numerics.clipping import clip_jointly
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import Matrices, forward, initial_matrices
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.feedback import Feedback
from lorabank.types.hyperparameters import Hyperparameters
from lorabank.types.items import ItemPool

SGD_RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
ADAM_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
NEGATIVES = 256


@dataclass(frozen=True, slots=True, eq=False)
class Learning:
    """How a user's adapter learns.

    Attributes:
        pool: items with the popularity of past users.
        start: what every user's adapter starts from.
        calibration: of the training logit.
        hyperparameters: of a user, by number.
        adam: Adam instead of plain gradient steps.
        batch: events that are served before they are learned from together.
        seed: of the negatives; each user has a generator of its own.
    """

    pool: ItemPool
    start: Matrices
    calibration: Calibration
    hyperparameters: Callable[[int], Hyperparameters]
    adam: bool
    batch: int
    seed: int

    def served(self, view: View) -> FloatArray:
        """(n, dim) what each event is ranked with: learned from the user's earlier batches."""
        y = np.empty_like(view.events.x)
        user = view.events.user
        for number in np.unique(user).tolist():
            rows = np.flatnonzero(user == number)
            for part, m in self.states(view, number, rows):
                y[part] = forward(m, view.events.x[part])[0]
        return y

    def states(
        self, view: View, number: int, rows: IntArray
    ) -> Iterator[tuple[IntArray, Matrices]]:
        """A user's batches, each with the weights learned from those before it."""
        rng = np.random.default_rng([self.seed, 31, number])
        m, adam, hyper = self.start, Adam(), self.hyperparameters(number)
        for begin in range(0, len(rows), self.batch):
            part = rows[begin : begin + self.batch]
            yield part, m
            if begin + self.batch < len(rows):
                m = self.learned(self.prepared(view, part, rng), m, hyper, adam)

    def prepared(self, view: View, rows: IntArray, rng: np.random.Generator) -> Batch:
        """Events with drawn negatives; what the user had before does not compete."""
        events = view.events
        feedback = Feedback(events.x[rows], items=events.target[rows])
        config = ContrastiveConfig(calibration=self.calibration, negatives=NEGATIVES)
        seen = view.log.seen_items(events.user[rows], events.seen[rows])
        return prepare_contrastive(feedback, self.pool, config, self.calibration, rng, seen)

    def learned(self, batch: Batch, m: Matrices, hyper: Hyperparameters, adam: Adam) -> Matrices:
        """The weights after the steps on a batch."""
        for _ in range(hyper.steps):
            _, dA, dB = batch.gradient(m)
            clip_jointly(dA, dB, hyper.clip_threshold)
            if self.adam:
                step_A, step_B = adam.update((dA, dB), hyper.learning_rate)
            else:
                step_A, step_B = -hyper.learning_rate * dA, -hyper.learning_rate * dB
            m = m.with_matrices(
                (m.A + step_A).astype(np.float32), (m.B + step_B).astype(np.float32)
            )
        return m


@dataclass(frozen=True, slots=True, eq=False)
class Personal:
    """Adapters that learn while they are served."""

    log_prior: FloatArray
    learning: Learning
    items: FloatArray | None = None

    @property
    def bytes_per_user(self) -> float:
        """Two float32 matrices, and Adam's two moments of each."""
        size = self.learning.start.A.size + self.learning.start.B.size
        return float(4 * size * (3 if self.learning.adam else 1))

    def scores(self, view: View) -> Scores:
        """Learned here, once; then inner products with every item."""
        y = self.learning.served(view)
        items = view.items if self.items is None else self.items
        return lambda rows: y[rows] @ items.T


def fit_personal(ground: Ground, identity: Calibrated, *, adam: bool) -> Calibrated:
    """One rate for all users: the one that makes the choose users' events most likely."""
    learning = from_zero(ground, identity, adam=adam)

    def candidates() -> Iterator[Candidate]:
        for rate in ADAM_RATES if adam else SGD_RATES:
            chosen = Hyperparameters(learning_rate=rate)
            model = replace(learning, hyperparameters=always(chosen))
            yield {"learning_rate": rate}, Personal(ground.log_prior, model)

    return most_likely(ground, candidates(), identity.calibration)


def always(chosen: Hyperparameters) -> Callable[[int], Hyperparameters]:
    """The same for every user."""
    return lambda _: chosen


def from_zero(ground: Ground, identity: Calibrated, *, adam: bool) -> Learning:
    """Adapters that start as the identity, with the default hyperparameters."""
    rank = min(ground.settings.rank, ground.items.shape[1])
    A, B = initial_matrices(ground.rng(1), rank, ground.items.shape[1])
    return Learning(
        pool=ground.pool,
        start=Matrices(A, B, 1.0),
        calibration=identity.calibration,
        hyperparameters=always(Hyperparameters()),
        adam=adam,
        batch=ground.settings.batch,
        seed=ground.seed,
    )
