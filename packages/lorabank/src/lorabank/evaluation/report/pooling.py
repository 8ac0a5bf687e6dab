"""All seeds together: per method one value per user and seed, and per event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from lorabank.evaluation.measures.compare import Resamples, draw
from lorabank.evaluation.measures.curves import by_event, choose_horizon
from lorabank.evaluation.running import Run
from lorabank.statistics.scores import hit_rate, ndcg, user_means
from lorabank.types.arrays import AnyFloatArray, IntArray

BLEND, LIKELY, POPULARITY = "blend", "likely_blend", "popularity"


class Pool:
    """Runs joined. A user who is new in several seeds is drawn with all of them or none."""

    def __init__(self, runs: Sequence[Run], resamples: int, horizon: int) -> None:
        self.runs = runs
        self._resamples = resamples
        offsets = np.cumsum([0, *(run.view.log.users for run in runs)])
        pairs = list(zip(runs, offsets, strict=False))
        self.user: IntArray = np.concatenate([run.view.events.user + off for run, off in pairs])
        self.number: IntArray = np.concatenate([run.view.events.number for run in runs])
        who = np.concatenate([run.split.who for run in runs])
        self.who = who[np.unique(self.user)]
        _, self.lengths = np.unique(self.user, return_counts=True)
        self.horizon = choose_horizon(self.lengths, horizon)
        self.keys = tuple(runs[0].outcomes)

    @cached_property
    def resamples(self) -> Resamples:
        """Of the users."""
        return draw(self.who, self._resamples)

    @cached_property
    def cohort(self) -> Resamples:
        """Of the users who reach the horizon."""
        return draw(self.who[self.lengths >= self.horizon], self._resamples)

    def nll(self, key: str) -> AnyFloatArray:
        """(n,) of every event."""
        return np.concatenate([run.outcomes[key].events.nll for run in self.runs])

    def rank(self, key: str) -> AnyFloatArray:
        """(n,) of every event."""
        return np.concatenate([run.outcomes[key].events.rank for run in self.runs])

    def user_values(self, key: str) -> dict[str, AnyFloatArray]:
        """Means of nDCG, hit rate and NLL of each user, (u,)."""
        rank = self.rank(key)
        return {
            "ndcg": user_means(ndcg(rank), self.user),
            "hit_rate": user_means(hit_rate(rank), self.user),
            "nll": user_means(self.nll(key), self.user),
        }

    def table(self, key: str) -> AnyFloatArray:
        """(users of the cohort, horizon) NLL."""
        return by_event(self.nll(key), self._dense, self.number, self.horizon)

    def held_out(self, key: str) -> float:
        """Mean held-out NLL of past users."""
        return float(np.mean([run.outcomes[key].held_out_nll for run in self.runs]))

    def best_bank_free(self) -> str:
        """The method without a bank that was most likely on past users: known beforehand."""
        outcomes = self.runs[0].outcomes
        free = [key for key in self.keys if not outcomes[key].method.bank]
        return min(free, key=self.held_out)

    @cached_property
    def _dense(self) -> IntArray:
        """Users renumbered without gaps."""
        return np.unique(self.user, return_inverse=True)[1].astype(np.int64)
