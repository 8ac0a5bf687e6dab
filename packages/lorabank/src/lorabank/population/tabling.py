"""From counted pairs to the table that is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lorabank.population.counting import PairCounts
from lorabank.population.neighbours import ItemToItem
from lorabank.population.smoothing import Factors, factorise
from lorabank.population_config import NeighbourConfig
from lorabank.types.arrays import IntArray

BYTES_PER_PAIR = 8
# Items a, items b, and the weight of "a, then b".
Pairs: TypeAlias = tuple[IntArray, IntArray, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class TableChoice:
    """How counts become weights; chosen on held-out users.

    Attributes:
        decay: number of the decay among those that were counted.
        backward: share of the weight that "b before a" has for "a, then b": 1 forgets the order.
        source, target: the count is divided by ``likes_a ** source * likes_b ** target``:
            (1/2, 1/2) is the cosine, (1, 1) the lift (Deshpande & Karypis 2004, section 4).
        scale: the median weight becomes ``1 / scale``; where the logarithm begins to bend.
        rank: of the factorisation that speaks for pairs that too few users had, and for others
            where it says more than their count; 0 leaves them out.
    """

    decay: int = 0
    backward: float = 0.5
    source: float = 0.5
    target: float = 0.5
    scale: float = 1.0
    rank: int = 0


class Factoriser:
    """What many tables of the same counts are made of: common pairs, and factors, each made once.

    Attributes:
        common: the pairs that enough users had.
    """

    def __init__(self, counts: PairCounts) -> None:
        self._counts = counts
        self.common = counts.common()
        self._made: dict[tuple[int, float, int], Factors | None] = {}

    def factors(self, choice: TableChoice) -> Factors | None:
        """As chosen; None without any, or where there are too few items for the rank."""
        if not choice.rank:
            return None
        key = (choice.decay, choice.backward, choice.rank)
        if key not in self._made:
            self._made[key] = factorise(self._counts, *key)
        return self._made[key]


def build_table(
    counts: PairCounts,
    choice: TableChoice,
    config: NeighbourConfig,
    factoriser: Factoriser | None = None,
) -> ItemToItem:
    """Normalise, keep the strongest of each row, and compress.

    Args:
        counts: of all pairs. Those that enough users had are in the table by their count.
        choice: the form.
        config: decays and bounds.
        factoriser: of the same counts, if more than one table is made of them.
    """
    factoriser = factoriser or Factoriser(counts)
    a, b, weight = _counted(factoriser.common, choice)
    factors = factoriser.factors(choice)
    if factors is not None:
        a, b, weight = _larger(
            (a, b, weight), _inferred(factors, counts.likes, choice, config.per_item)
        )
    # What vanishes in float32 would be no neighbour.
    there = weight > 1e-6 * weight.max(initial=0.0)
    a, b, weight = a[there], b[there], weight[there]
    if len(weight):
        weight /= choice.scale * np.median(weight)
    size = len(counts.likes)
    kept = _strongest(a, weight, config, size)
    a, b = a[kept], b[kept]
    starts = np.searchsorted(a, np.arange(size + 1)).astype(np.int64)
    return ItemToItem(
        starts,
        b.astype(np.int32),
        weight[kept].astype(np.float32),
        config.window,
        config.decays[choice.decay],
    )


def _counted(counts: PairCounts, choice: TableChoice) -> Pairs:
    """Both orders of every pair by its count, normalised."""
    likes = np.maximum(counts.likes, 1).astype(np.float64)
    rising, falling = counts.rising[choice.decay], counts.falling[choice.decay]
    a = np.concatenate([counts.low, counts.high])
    b = np.concatenate([counts.high, counts.low])
    weight = np.concatenate(
        [rising + choice.backward * falling, falling + choice.backward * rising]
    )
    weight /= likes[a] ** choice.source * likes[b] ** choice.target
    return a, b, weight


def _inferred(factors: Factors, likes: IntArray, choice: TableChoice, most: int) -> Pairs:
    """The strongest pairs of the factorisation, normalised like the counts."""
    a, b, cosine = factors.strongest(most)
    source = likes[a].astype(np.float64) ** (0.5 - choice.source)
    return a, b, cosine * source * likes[b].astype(np.float64) ** (0.5 - choice.target)


def _larger(one: Pairs, other: Pairs) -> Pairs:
    """Every pair of either, with the larger weight."""
    a, b, weight = (np.concatenate(both) for both in zip(one, other, strict=True))
    order = np.lexsort((b, a))
    a, b, weight = a[order], b[order], weight[order]
    first = np.flatnonzero(np.diff(a, prepend=-1) | np.diff(b, prepend=-1))
    return a[first], b[first], np.maximum.reduceat(weight, first)


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
