"""Batches for a user's own chain, which stands on one of a population's experts.

The chain is ``y = P_user(P_base(x))``: the adapter sees inputs that the base has transformed, and
items with the base's vectors. What else is in the base's logit (biases, popularity, neighbours) is
there for every row and item before the adapter is: an offset that needs no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lorabank.adaptation.mixing import Experts, Mixing
from lorabank.adaptation.preparation import check_inputs, check_positions, liking_of
from lorabank.adaptation.step import check_dim, prepare
from lorabank.adapter import Adapter
from lorabank.config import EngineConfig
from lorabank.numerics.batch import Batch
from lorabank.numerics.contrastive import (
    Calibration,
    ContrastiveBatch,
    Negatives,
    log_sum_exp,
    row_losses,
)
from lorabank.numerics.ranges import distinct
from lorabank.types.arrays import AnyFloatArray, BoolArray, FloatArray, IntArray
from lorabank.types.chance import Chance
from lorabank.types.feedback import Feedback
from lorabank.types.items import ItemPool
from lorabank.types.mixture import ExpertState


@dataclass(frozen=True, slots=True, eq=False)
class _Field:
    """Items that all rows and all experts are scored on.

    Attributes:
        positions: (m,) in the pool, ascending; None means the whole pool.
        correction: (m,) of sampled softmax; infinite for an item that is only somebody's target.
        column: (n,) where each row's target is among them.
    """

    positions: IntArray | None
    correction: FloatArray
    column: IntArray

    @property
    def hits(self) -> BoolArray:
        """(n, m): the row's own target."""
        same: BoolArray = self.column[:, None] == np.arange(len(self.correction))
        return same


def prepare_with_experts(
    adapter: Adapter,
    feedback: Feedback,
    config: EngineConfig,
    pool: ItemPool | None,
    experts: Experts | None,
    rng: Chance,
) -> tuple[Batch, Mixing | None]:
    """A batch for the adapter, and what it says about the experts (None for "mse").

    Negatives are drawn once, for all experts alike.

    Raises:
        InvalidInputError: names the field, the value and what was expected.
    """
    plain = adapter.objective == "mse" or pool is None or not config.mixture.enabled
    known = feedback.items is not None and feedback.target is None and feedback.negatives is None
    if plain or pool is None or experts is None or not known:
        batch = prepare(adapter, feedback, config, pool, rng)
        if plain or not isinstance(batch, ContrastiveBatch):
            return batch, None
        recent = _recent_after(adapter, feedback, batch.liked, config)
        if experts is None:
            return batch, Mixing(recent)
        return _on_base(batch, experts), Mixing(recent, experts)
    return _prepare_known(adapter, feedback, config, pool, experts, rng)


def _prepare_known(
    adapter: Adapter,
    feedback: Feedback,
    config: EngineConfig,
    pool: ItemPool,
    experts: Experts,
    rng: Chance,
) -> tuple[ContrastiveBatch, Mixing]:
    items = feedback.items
    assert items is not None
    check_dim(adapter, feedback)
    check_inputs(feedback)
    check_positions(items, pool)
    liked, weights = liking_of(feedback, config.contrastive)
    window = config.population.neighbours.window
    before = recent_of_rows(_recent(adapter), items, liked, window)
    field = _draw(items, pool, config.contrastive.negatives, rng)
    scores = experts.score(feedback.x, before, field.positions)
    hits, rows = field.hits, np.arange(len(items))
    target, logits = scores.logits[:, rows, field.column], scores.logits
    logits -= field.correction
    logits[:, rows, field.column] = -np.inf
    losses = row_losses(target, log_sum_exp(logits), liked)
    V, offset = scores.vectors, scores.offset
    calibration = Calibration(experts.base_tau, 1.0)
    batch = ContrastiveBatch(
        X=scores.X,
        T=V[field.column],
        target_prior=offset[rows, field.column],
        negatives=Negatives(V, np.zeros(len(V), np.float32), field.correction - offset, hits),
        liked=liked,
        weights=weights,
        calibration=calibration,
        reference=calibration,
        identity_losses=losses[0],
    )
    return batch, Mixing(_recent_after(adapter, feedback, liked, config), experts, losses)


def recent_of_rows(
    recent: tuple[int, ...], items: IntArray, liked: BoolArray, window: int
) -> IntArray:
    """(n, window): what was liked before each row, newest first, padded with -1."""
    history = [*recent[:window][::-1], *items[liked].tolist()]
    newest = len(recent[:window]) + np.cumsum(liked) - liked
    place = newest[:, None] - 1 - np.arange(window)
    padded = np.array([*history, -1], np.int64)
    return padded[np.where(place >= 0, place, len(history))]


def _recent(adapter: Adapter) -> tuple[int, ...]:
    return (adapter.experts or ExpertState()).recent


def _recent_after(
    adapter: Adapter, feedback: Feedback, liked: BoolArray, config: EngineConfig
) -> tuple[int, ...]:
    recent = _recent(adapter)
    if feedback.items is None:
        return recent
    newest = feedback.items[liked][::-1].tolist()
    return (*newest, *recent)[: config.population.neighbours.window]


def _draw(items: IntArray, pool: ItemPool, count: int, rng: Chance) -> _Field:
    """Drawn negatives, each once with its number of draws in the correction, and the targets."""
    if count < len(pool):
        draws = pool.sample(count, rng)
        positions = distinct(np.concatenate([draws, items]))
        times = np.bincount(np.searchsorted(positions, draws), minlength=len(positions))
        column = np.searchsorted(positions, items)
        if (times[column] < count).all():  # every row has something to compete with
            with np.errstate(divide="ignore"):
                correction = np.log(count) + pool.log_q[positions] - np.log(times)
            return _Field(positions, correction.astype(np.float32), column)
    return _Field(None, np.zeros(len(pool), np.float32), items)


def _on_base(batch: ContrastiveBatch, experts: Experts) -> ContrastiveBatch:
    """Items that only the feedback knows: vectors without biases or neighbours."""
    identity: AnyFloatArray = batch.identity_row_losses()
    calibration = Calibration(experts.base_tau, batch.calibration.prior_weight)
    X = experts.base_output(np.asarray(batch.X, np.float32))
    return replace(batch, X=X, calibration=calibration, identity_losses=identity)
