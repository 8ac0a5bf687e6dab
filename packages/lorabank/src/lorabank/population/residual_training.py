"""Training of item residuals on top of a frozen adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lorabank.numerics.adagrad import RowAdagrad
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.lora import Matrices, forward
from lorabank.numerics.ranges import distinct
from lorabank.numerics.residuals import SampledRows, log_inclusion
from lorabank.population.counting import distinct_users
from lorabank.population.ground import Ground
from lorabank.population.residuals import Residuals
from lorabank.population_config import ResidualConfig
from lorabank.turns import give_way
from lorabank.types.arrays import BoolArray, FloatArray, IntArray
from lorabank.types.items import ItemPool

BYTES_PER_NUMBER = 4


@dataclass(frozen=True, slots=True)
class ResidualLesson:
    """What does not change between learning rates.

    Attributes:
        ground: of the training.
        matrices: of the frozen adapter.
        calibration: tau and prior weight of the logit that is trained.
        positions: (n,) liked rows to train on.
        allowed: (N,) items that may have a row.
    """

    ground: Ground
    matrices: Matrices
    calibration: Calibration
    positions: IntArray
    allowed: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Whole-pool arrays while they are trained: ``vectors`` (N, dim) is e + v, ``bias`` (N,)."""

    vectors: FloatArray
    bias: FloatArray

    def residuals(self, pool: ItemPool, allowed: BoolArray) -> Residuals:
        """The rows of the allowed items alone."""
        items = np.flatnonzero(allowed).astype(np.int64)
        return Residuals(items, self.vectors[items] - pool.vectors[items], self.bias[items])


def allowed_items(ground: Ground, positions: IntArray, min_users: int, max_bytes: int) -> BoolArray:
    """(N,) whether enough distinct users liked it; the most liked ones, if bytes are short."""
    size = len(ground.pool)
    users = distinct_users(ground.rows.user[positions], ground.items(positions), size)
    allowed: BoolArray = users >= min_users
    per_row = BYTES_PER_NUMBER * (ground.pool.dim + 1) + 8
    room = max_bytes // per_row
    if allowed.sum() > room:
        order = np.argsort(np.where(allowed, -users, 1), kind="stable")
        allowed[order[room:]] = False
    return allowed


def residual_epochs(
    lesson: ResidualLesson,
    config: ResidualConfig,
    learning_rate: float,
    rng: np.random.Generator,
    check: Callable[[], object],
) -> Iterator[Table]:
    """Train, giving the table after each epoch; it is the same object, changed in place.

    The pull to zero acts on the rows that a minibatch touches. Items that are not allowed keep
    their vector bit by bit.
    """
    ground = lesson.ground
    v = np.zeros_like(ground.pool.vectors)
    table = Table(ground.pool.vectors.copy(), np.zeros(len(ground.pool), np.float32))
    steps = RowAdagrad(len(v)), RowAdagrad(len(v))
    # A row of dim numbers moves dim ** 0.5 times as far as one number at the same rate.
    root = ground.pool.dim**0.5
    inclusion = log_inclusion(ground.pool.log_q, config.negatives)
    for _ in range(config.epochs):
        order = rng.permutation(lesson.positions)
        for begin in range(0, len(order), config.batch):
            check()
            give_way()
            part = order[begin : begin + config.batch]
            batch = minibatch(lesson, part, inclusion, config.negatives, rng)
            _, items, dV, db = batch.gradient(table.vectors, table.bias)
            give_way()
            mine = lesson.allowed[items]
            items, dV, db = items[mine], dV[mine], db[mine]
            dV += config.l2 * v[items]
            db += config.l2 * table.bias[items]
            steps[0].update(v, items, dV, learning_rate)
            steps[1].update(table.bias, items, db, learning_rate * root)
            table.vectors[items] = ground.pool.vectors[items] + v[items]
        yield table


def minibatch(
    lesson: ResidualLesson,
    positions: IntArray,
    inclusion: FloatArray,
    draws: int,
    rng: np.random.Generator,
) -> SampledRows:
    """The rows with negatives drawn for all of them; ``inclusion`` (N,) as of `log_inclusion`."""
    ground, calibration = lesson.ground, lesson.calibration
    if draws < len(ground.pool):
        negatives = distinct(ground.pool.sample(draws, rng))
        correction = inclusion[negatives]
    else:
        negatives = np.arange(len(ground.pool))
        correction = np.zeros(len(negatives), np.float32)
    give_way()
    target = ground.items(positions)
    offset = np.float32(calibration.prior_weight) * ground.pool.log_prior
    Y = forward(lesson.matrices, ground.rows.x[positions])[0]
    Y *= np.float32(calibration.tau)
    return SampledRows(
        Y=Y,
        target=target,
        negatives=negatives,
        target_offset=offset[target],
        offset=offset[negatives] - correction,
        hits=_hits(ground, positions, negatives) | (target[:, None] == negatives),
        weights=ground.weights(positions),
    )


def _hits(ground: Ground, positions: IntArray, negatives: IntArray) -> BoolArray:
    """(n, m) where a negative is something that the row's user had before."""
    column = np.full(len(ground.pool), -1, np.int64)
    column[negatives] = np.arange(len(negatives))
    row, item = ground.rows.earlier_items(positions)
    give_way()
    where = column[item]
    hits: BoolArray = np.zeros((len(positions), len(negatives)), np.bool_)
    hits[row[where >= 0], where[where >= 0]] = True
    return hits
