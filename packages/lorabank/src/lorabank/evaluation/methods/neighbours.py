"""Item-kNN: what follows the last likes of users, as seen in the past (Deshpande & Karypis 2004;
directed pairs within a window as in Jannach & Ludewig 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lorabank.evaluation.baselines import POPULARITY_ONLY
from lorabank.evaluation.choosing import Candidate, best_ranking, most_likely
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated, Model, Scores
from lorabank.evaluation.views import View
from lorabank.numerics.contrastive import Calibration
from lorabank.population.counting import count_pairs
from lorabank.population.neighbour_training import affordable_reach
from lorabank.population_config import PopulationConfig
from lorabank.types.arrays import FloatArray, IntArray

NEIGHBOURS = 500
# How much less an older like counts.
DECAYS = (0.7, 0.9)
DIRECTED = (False, True)
# Shares of popularity (or of "all alike") that are mixed into the neighbours' distribution.
FLOORS = (0.03, 0.3, 1.0)
ALONE = Calibration(1.0, 0.0)
WITH_POPULARITY = tuple(Calibration(1.0, weight) for weight in (0.0, 0.2, 0.4, 0.7, 1.0))
BLENDS = tuple(Calibration(1.0, weight) for weight in (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5))


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """``log(share of the neighbours' weight + floor * base)``.

    Attributes:
        log_prior: (N,) log popularity.
        table: scipy sparse (N, N), row i: the weights of what comes with i.
        decay: of older likes.
        floor: share of ``base``.
        base: (N,) a distribution, so that no item is impossible.
    """

    log_prior: FloatArray
    table: Any
    decay: float
    floor: float
    base: FloatArray
    bytes_per_user: float = 0.0

    def scores(self, view: View) -> Scores:
        """Sums over the last likes, as shares, floored, in logarithms."""
        floor = (self.floor * self.base).astype(np.float32)

        def scores(rows: IntArray) -> FloatArray:
            weights = _weights(view.recent[rows], self.decay, len(view.items))
            values = np.asarray((weights @ self.table).toarray(), np.float32)
            total = values.sum(axis=1, keepdims=True)
            values /= np.where(total > 0, total, 1)
            values += floor
            return np.log(values, out=values)

        return scores


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """``first + weight * second``: a log-linear mix of two models' scores."""

    first: Model
    second: Model
    weight: float

    @property
    def log_prior(self) -> FloatArray:
        """Of the first."""
        return self.first.log_prior

    @property
    def bytes_per_user(self) -> float:
        """Of both."""
        return self.first.bytes_per_user + self.second.bytes_per_user

    def scores(self, view: View) -> Scores:
        """Of both, added."""
        first, second, weight = (
            self.first.scores(view),
            self.second.scores(view),
            np.float32(self.weight),
        )

        def scores(rows: IntArray) -> FloatArray:
            values = first(rows)
            values += weight * second(rows)
            return values

        return scores


def fit_neighbours(ground: Ground, tables: dict[bool, Any]) -> Calibrated:
    """Alone: no popularity anywhere."""
    base = np.full(len(ground.items), 1 / len(ground.items), np.float32)
    return best_ranking(ground, _candidates(ground, tables, base), [ALONE])


def fit_neighbours_and_popularity(ground: Ground, tables: dict[bool, Any]) -> Calibrated:
    """Popularity as the floor of the distribution, as a factor, or both: what ranks best."""
    base = np.exp(ground.log_prior)
    blends = (*WITH_POPULARITY, POPULARITY_ONLY)
    return best_ranking(ground, _candidates(ground, tables, base), blends)


def fit_likely_neighbours(ground: Ground, tables: dict[bool, Any]) -> Calibrated:
    """Neighbours and popularity with the weights that make held-out events most likely."""
    return most_likely(ground, _candidates(ground, tables, np.exp(ground.log_prior)), ALONE)


def pair_tables(ground: Ground) -> dict[bool, Any]:
    """directed -> table of weights: pairs of likes at most a window apart, the nearer the more.

    Undirected ones are divided by the roots of both items' counts (cosine), directed ones by the
    count of the earlier item alone, so that they are about what follows what.
    """
    from scipy import sparse

    log, window = ground.fit.log, ground.settings.window
    user, item = log.user[log.liked], log.item[log.liked]
    size = len(ground.items)
    pairs = sparse.csr_matrix((size, size), dtype=np.float32)
    for lag in range(1, window + 1):
        same = user[lag:] == user[:-lag]
        before, after = item[:-lag][same], item[lag:][same]
        weight = np.full(len(before), 0.9 ** (lag - 1), np.float32)
        pairs += sparse.csr_matrix((weight, (before, after)), shape=(size, size))
    count = np.bincount(item, minlength=size) + 10.0
    root = sparse.diags(count**-0.5)
    symmetric = root @ (pairs + pairs.T) @ root
    directed = sparse.diags(1 / count) @ pairs
    return {False: strongest(symmetric, NEIGHBOURS), True: strongest(directed, NEIGHBOURS)}


def common_tables(ground: Ground, tables: dict[bool, Any]) -> dict[bool, Any]:
    """The same tables without pairs that fewer users had than the library asks for, within its
    reach: what item-kNN is worth under the rule that nobody's single likes may be read from it."""
    from scipy import sparse

    config, log = PopulationConfig(), ground.fit.log
    user, item = log.user[log.liked], log.item[log.liked]
    size = len(ground.items)
    pairs = count_pairs(
        user,
        item,
        size,
        reach=affordable_reach(len(user), config.neighbours),
        decays=(1.0,),
        min_users=config.min_users,
    ).common()
    row, column = np.append(pairs.low, pairs.high), np.append(pairs.high, pairs.low)
    kept = sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=(size, size))
    return {directed: sparse.csr_matrix(t.multiply(kept)) for directed, t in tables.items()}


def strongest(table: Any, most: int) -> Any:
    """The same sparse rows, of each the ``most`` largest entries alone; the diagonal goes."""
    from scipy import sparse

    table = sparse.csr_matrix(table, dtype=np.float32)
    table.setdiag(0)
    table.eliminate_zeros()
    length = np.diff(table.indptr)
    if (length > most).any():
        row = np.repeat(np.arange(len(length)), length)
        order = np.lexsort((-table.data, row))
        place = np.arange(len(order)) - np.repeat(table.indptr[:-1], length)
        table.data[order[place >= most]] = 0
        table.eliminate_zeros()
    return table


def _weights(recent: IntArray, decay: float, items: int) -> Any:
    """Sparse (m, N): how much each of the last likes counts."""
    from scipy import sparse

    row, age = np.nonzero(recent >= 0)
    weight = (decay**age).astype(np.float32)
    return sparse.csr_matrix((weight, (row, recent[row, age])), shape=(len(recent), items))


def _candidates(ground: Ground, tables: dict[bool, Any], base: FloatArray) -> Iterator[Candidate]:
    for directed in DIRECTED:
        for decay in DECAYS:
            for floor in FLOORS:
                yield (
                    {"directed": float(directed), "decay": decay, "floor": floor},
                    Neighbours(ground.log_prior, tables[directed], decay, floor, base),
                )
