"""Feedback made ready for an objective: targets, weights and negatives are settled and checked."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lorabank.config import ContrastiveConfig
from lorabank.errors import InvalidInputError
from lorabank.kernels import Kernel, KernelBatch
from lorabank.numerics.batch import Batch
from lorabank.numerics.contrastive import Calibration, ContrastiveBatch, Negatives
from lorabank.numerics.mse import MseBatch
from lorabank.turns import give_way
from lorabank.types.arrays import BoolArray, FloatArray, IntArray
from lorabank.types.chance import Chance
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool

# Numbers up to which one BLAS product is the quickest mean; it takes threads for longer ones.
_SMALL = 8192


def prepare_mse(feedback: Feedback, pool: ItemPool | None, kernel: Kernel) -> KernelBatch:
    """Targets as given; without them ``reward * x``. A reward beside a target is its weight.

    Raises:
        InvalidInputError: items outside the pool, or nothing to relate the loss to.
    """
    target = _targets(feedback, pool)
    if target is not None:
        batch = KernelBatch(feedback.x, target, feedback.reward, kernel)
    elif feedback.reward is not None:
        goal = feedback.reward[:, None] * feedback.x
        batch = KernelBatch(feedback.x, goal, None, kernel)
    else:
        raise InvalidInputError("feedback", "neither target nor reward", "at least one of them")
    batch.energy()
    return batch


def prepare_contrastive(
    feedback: Feedback,
    pool: ItemPool | None,
    config: ContrastiveConfig,
    calibration: Calibration,
    rng: Chance,
    excluded: tuple[IntArray, IntArray] | None = None,
) -> ContrastiveBatch:
    """Targets with their negatives, supplied or drawn from the pool.

    ``excluded`` are pairs (row, item of the pool) that no longer compete: what the user had
    before. Supplied negatives compete regardless.

    Raises:
        InvalidInputError: no target, no negatives, items outside the pool, all inputs zero.
    """
    target = _targets(feedback, pool)
    if target is None:
        raise InvalidInputError(
            "feedback", "no target", "a target or items: 'contrastive' ranks a target item"
        )
    check_inputs(feedback)
    liked, weights = liking_of(feedback, config)
    return ContrastiveBatch(
        X=feedback.x,
        T=target,
        target_prior=_target_prior(feedback, pool),
        negatives=_negatives(feedback, target, pool, config.negatives, rng, excluded),
        liked=liked,
        weights=weights,
        calibration=calibration,
        reference=config.reference or config.calibration,
    )


def liking_of(feedback: Feedback, config: ContrastiveConfig) -> tuple[BoolArray, FloatArray]:
    """(n,) whether each row is liked, and (n,) its weight: how far it is from indifference."""
    reward = np.ones(len(feedback), np.float32) if feedback.reward is None else feedback.reward
    liked: BoolArray = reward >= config.negative_below
    return liked, np.where(liked, reward, 1 - reward).astype(np.float32)


def context_of(feedback: Feedback) -> FloatArray:
    """What the user likes now, float32 (dim,): the mean input, or the last one if that is zero.

    Read-only.
    """
    x = feedback.x
    if x.size <= _SMALL:
        mean: FloatArray = np.dot(_equal_shares(len(x)), x)
    else:
        mean = np.mean(x, axis=0)
    mean.setflags(write=False)
    return mean if mean[0] or mean.any() else x[-1]


@lru_cache(maxsize=64)
def _equal_shares(count: int) -> FloatArray:
    return np.full(count, 1.0 / count, np.float32)


def work_of(batch: Batch, rank: int, passes: int) -> int:
    """Rough number of multiply-adds of ``passes`` gradient evaluations on a batch."""
    if isinstance(batch, MseBatch):
        return passes * 6 * batch.X.size * rank
    assert isinstance(batch, ContrastiveBatch)
    negatives = len(batch.negatives.vectors)
    passes -= batch.identity_losses is not None  # as prepared: no pass of its own
    return passes * batch.X.size * (6 * rank + 3 * negatives)


def check_positions(items: IntArray, pool: ItemPool) -> None:
    """Items are in the pool. Raises InvalidInputError otherwise."""
    largest = int(items.max())
    if largest >= len(pool):
        raise InvalidInputError("feedback.items", largest, f"positions below {len(pool)}")


def check_inputs(feedback: Feedback) -> None:
    """Some input says something. Raises InvalidInputError otherwise."""
    if not feedback.x.any():
        raise InvalidInputError("feedback.x", "all zeros", "at least one input that is not zero")


def _targets(feedback: Feedback, pool: ItemPool | None) -> FloatArray | None:
    if feedback.items is None or feedback.target is not None:
        return feedback.target
    if pool is None:
        raise InvalidInputError("feedback.items", "positions", "an engine opened with items=")
    check_positions(feedback.items, pool)
    rows: FloatArray = pool.vectors[feedback.items]
    return rows


def _target_prior(feedback: Feedback, pool: ItemPool | None) -> FloatArray:
    if feedback.items is None or pool is None:
        return np.zeros(len(feedback), np.float32)
    rows: FloatArray = pool.log_prior[feedback.items]
    return rows


def _negatives(
    feedback: Feedback,
    target: FloatArray,
    pool: ItemPool | None,
    count: int,
    rng: Chance,
    excluded: tuple[IntArray, IntArray] | None,
) -> Negatives:
    if feedback.negatives is not None:
        return _supplied(feedback.negatives, target)
    if pool is None:
        raise InvalidInputError(
            "feedback.negatives", None, "negatives, or an engine opened with items="
        )
    if count < len(pool):
        positions = pool.sample(count, rng)
        drawn = _drawn(feedback, target, pool, positions, excluded)
        if not drawn.hits.all(axis=1).any():
            return drawn
    return _whole_pool(feedback, target, pool, excluded)


def _supplied(vectors: FloatArray, target: FloatArray) -> Negatives:
    zeros = np.zeros(len(vectors), np.float32)
    hits = np.zeros((len(target), len(vectors)), np.bool_)
    return Negatives(vectors, zeros, zeros, hits)


def _drawn(
    feedback: Feedback,
    target: FloatArray,
    pool: ItemPool,
    positions: IntArray,
    excluded: tuple[IntArray, IntArray] | None,
) -> Negatives:
    give_way()
    vectors = pool.vectors[positions]
    correction = (np.log(len(positions)) + pool.log_q[positions]).astype(np.float32)
    hits = _hits(feedback, target, vectors, positions)
    give_way()
    if excluded is not None:
        hits |= _excluded(excluded, (len(target), len(pool)))[:, positions]
    return Negatives(vectors, pool.log_prior[positions], correction, hits)


def _whole_pool(
    feedback: Feedback,
    target: FloatArray,
    pool: ItemPool,
    excluded: tuple[IntArray, IntArray] | None,
) -> Negatives:
    hits = _hits(feedback, target, pool.vectors, np.arange(len(pool)))
    if excluded is not None:
        hits |= _excluded(excluded, hits.shape)
    return Negatives(pool.vectors, pool.log_prior, np.zeros(len(pool), np.float32), hits)


def _hits(
    feedback: Feedback, target: FloatArray, vectors: FloatArray, positions: IntArray
) -> BoolArray:
    """(n, m): where a negative is the row's own target."""
    if feedback.items is None:
        return _same_vector(target, vectors)
    same: BoolArray = feedback.items[:, None] == positions
    return same


def _excluded(pairs: tuple[IntArray, IntArray], shape: tuple[int, ...]) -> BoolArray:
    """(n, N): where an item no longer competes for a row."""
    mask: BoolArray = np.zeros(shape, np.bool_)
    mask[pairs] = True
    return mask


def _same_vector(target: FloatArray, vectors: FloatArray) -> BoolArray:
    """(n, m): targets given as vectors alone can only be told from negatives by their values.

    The expanded distance is cheap but cancels, so it only finds candidates.
    """
    distance = (
        np.einsum("ij,ij->i", target, target)[:, None]
        - 2 * target @ vectors.T
        + np.einsum("ij,ij->i", vectors, vectors)
    )
    scale = np.einsum("ij,ij->i", target, target)
    rows, columns = np.nonzero(distance <= 1e-3 * scale[:, None])
    same: BoolArray = np.zeros(distance.shape, np.bool_)
    apart = target[rows] - vectors[columns]
    same[rows, columns] = np.einsum("ij,ij->i", apart, apart) <= 1e-6 * scale[rows]
    return same
