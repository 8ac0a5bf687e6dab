"""Ranking candidates with the logit that the adapter was trained with."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lorabank.adapter import Adapter
from lorabank.config import MixtureConfig
from lorabank.errors import InvalidInputError
from lorabank.experts import (
    BoundExperts,
    mixed_log_probabilities,
    mixed_vector_log_probabilities,
    ranking_tilt,
)
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray, as_array, as_matrix
from lorabank.types.checks import check_count
from lorabank.types.items import ItemPool

IndexArray: TypeAlias = NDArray[np.intp]


class Ranked(NamedTuple):
    """A candidate: its position (in the pool, or among the given vectors) and its score.

    The score is the log of its probability among the candidates where there is a population, and
    its logit otherwise.
    """

    position: int
    score: float


def rank_candidates(
    adapter: Adapter,
    context: FloatArray,
    candidates: ArrayLike | None,
    pool: ItemPool | None,
    k: int,
) -> list[Ranked]:
    """The k best candidates by ``tau * <y, e> + prior_weight * log_prior``, ties by position.

    Args:
        adapter: of the user.
        context: (dim,).
        candidates: positions in the pool, int (m,); vectors, float (m, dim); None: the whole pool.
        pool: the engine's items.
        k: >= 0.

    Raises:
        InvalidInputError: a negative k, positions outside the pool, or no pool where one is needed.
    """
    check_count(k, "k")
    positions, vectors, prior = _resolve(candidates, pool, adapter.dim)
    logits = vectors @ adapter.transform(context)
    if adapter.objective == "contrastive":
        logits = adapter.tau * logits + adapter.prior_weight * prior
    best = _top(logits, positions, k)
    return [Ranked(int(positions[i]), float(logits[i])) for i in best]


def rank_mixed(
    adapter: Adapter,
    experts: BoundExperts,
    context: FloatArray,
    candidates: ArrayLike | None,
    k: int,
    recent: tuple[int, ...] | None,
    config: MixtureConfig,
) -> list[Ranked]:
    """The k best candidates under the mixture of experts, ties by position.

    In order of their log probability, leaning towards what follows the user's last likes as far as
    `Population.tilt` says; the score is the log probability itself.

    Args:
        adapter: of the user.
        experts: of the population.
        context: (dim,).
        candidates: as for `rank_candidates`.
        k: >= 0.
        recent: as for `mixed_log_probabilities`.
        config: of the mixture.

    Raises:
        InvalidInputError: a negative k, or positions outside the pool.
    """
    check_count(k, "k")
    pool = experts.pool
    positions, vectors, _ = _resolve(candidates, pool, adapter.dim)
    if not len(positions):
        return []
    if candidates is not None and np.ndim(candidates) == 2:
        scores = mixed_vector_log_probabilities(adapter, experts, context, vectors, config)
        order = scores
    else:
        chosen = None if candidates is None else positions
        scores = mixed_log_probabilities(adapter, experts, context, chosen, recent, config)
        order = _tilted(scores, ranking_tilt(adapter, experts, chosen, recent))
    best = _top(order, positions, k)
    return [Ranked(int(positions[i]), float(scores[i])) for i in best]


def as_recent(recent: ArrayLike | None, pool: ItemPool | None) -> tuple[int, ...] | None:
    """Positions of the items that the user liked last, newest first.

    Raises:
        InvalidInputError: not positions in the pool.
    """
    if recent is None:
        return None
    given = as_array(recent, "recent")
    size = 0 if pool is None else len(pool)
    if given.size == 0:
        return ()
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise InvalidInputError("recent", given.dtype, "positions (r,) of items, newest first")
    outside = given[(given < 0) | (given >= size)]
    if outside.size:
        raise InvalidInputError("recent", int(outside[0]), f"positions in 0..{size - 1}")
    return tuple(given.tolist())


def _tilted(scores: AnyFloatArray, tilt: FloatArray | None) -> AnyFloatArray:
    return scores if tilt is None else scores + tilt


def _top(logits: AnyFloatArray, positions: IntArray, k: int) -> IndexArray:
    """Places of the k largest, best first; a full sort only of those that may be among them."""
    places = np.arange(len(logits))
    if 0 < k < len(logits):
        threshold = np.partition(logits, len(logits) - k)[len(logits) - k]
        places = np.flatnonzero(logits >= threshold)
    order = np.lexsort((positions[places], -logits[places]))
    return places[order[:k]]


def _resolve(
    candidates: ArrayLike | None, pool: ItemPool | None, dim: int
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Positions, vectors and log prior of the candidates."""
    given = None if candidates is None else as_array(candidates, "candidates")
    if given is not None and given.size == 0:
        return np.zeros(0, np.int64), np.zeros((0, dim), np.float32), np.zeros(0, np.float32)
    if given is not None and given.ndim == 2:
        vectors = as_matrix(given, "candidates", dim)
        return np.arange(len(vectors)), vectors, np.zeros(len(vectors), np.float32)
    if pool is None:
        raise InvalidInputError("candidates", candidates, "vectors (m, dim), or items= on open")
    if given is None:
        return np.arange(len(pool)), pool.vectors, pool.log_prior
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise InvalidInputError("candidates", given.dtype, "positions (m,) or vectors (m, dim)")
    outside = given[(given < 0) | (given >= len(pool))]
    if outside.size:
        raise InvalidInputError("candidates", int(outside[0]), f"positions in 0..{len(pool) - 1}")
    positions = given.astype(np.int64)
    return positions, pool.vectors[positions], pool.log_prior[positions]
