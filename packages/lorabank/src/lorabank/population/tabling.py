"""From counted pairs to the table that is served."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorabank.population.counting import PairCounts
from lorabank.population.neighbours import ItemToItem
from lorabank.population_config import NeighbourConfig
from lorabank.types.arrays import IntArray

BYTES_PER_PAIR = 8


@dataclass(frozen=True, slots=True)
class TableChoice:
    """How counts become weights; chosen on held-out users.

    Attributes:
        decay: number of the decay among those that were counted.
        backward: share of the weight that "b before a" has for "a, then b": 1 forgets the order.
        source, target: the count is divided by ``likes_a ** source * likes_b ** target``:
            (1/2, 1/2) is the cosine, (1, 1) the lift (Deshpande & Karypis 2004, section 4).
        scale: the median weight becomes ``1 / scale``; where the logarithm begins to bend.
    """

    decay: int = 0
    backward: float = 0.5
    source: float = 0.5
    target: float = 0.5
    scale: float = 1.0


def build_table(counts: PairCounts, choice: TableChoice, config: NeighbourConfig) -> ItemToItem:
    """Normalise, keep the strongest of each row, and compress."""
    likes = np.maximum(counts.likes, 1).astype(np.float64)
    rising, falling = counts.rising[choice.decay], counts.falling[choice.decay]
    a = np.concatenate([counts.low, counts.high])
    b = np.concatenate([counts.high, counts.low])
    weight = np.concatenate(
        [rising + choice.backward * falling, falling + choice.backward * rising]
    )
    weight /= likes[a] ** choice.source * likes[b] ** choice.target
    # What vanishes in float32 would be no neighbour.
    there = weight > 1e-6 * weight.max(initial=0.0)
    a, b, weight = a[there], b[there], weight[there]
    if len(weight):
        weight /= choice.scale * np.median(weight)
    kept = _strongest(a, weight, config, len(likes))
    a, b = a[kept], b[kept]
    starts = np.searchsorted(a, np.arange(len(likes) + 1)).astype(np.int64)
    return ItemToItem(
        starts,
        b.astype(np.int32),
        weight[kept].astype(np.float32),
        config.window,
        config.decays[choice.decay],
    )


def _strongest(
    a: IntArray, weight: NDArray[np.float64], config: NeighbourConfig, size: int
) -> IntArray:
    """The pairs of highest rank within their row, row by row: ``per_item``, or what fits."""
    order = np.lexsort((-weight, a))
    rank = np.arange(len(a)) - np.searchsorted(a[order], a[order])
    order, rank = order[rank < config.per_item], rank[rank < config.per_item]
    room = max(0, config.max_bytes - 8 * (size + 1)) // BYTES_PER_PAIR
    if len(order) > room:
        best = np.sort(np.argsort(rank, kind="stable")[:room])
        order = order[best]
    return order
