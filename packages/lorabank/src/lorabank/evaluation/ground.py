"""What methods are fitted on and chosen by: never a new user."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lorabank.evaluation.events import Log
from lorabank.evaluation.settings import EvaluateSettings
from lorabank.evaluation.splits import Split
from lorabank.evaluation.views import View, make_view
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray
from lorabank.types.items import ItemPool


@dataclass(frozen=True, eq=False)
class Ground:
    """Past users.

    Attributes:
        fit: events of the users that methods are fitted on.
        choose: events of the users that choices and calibrations are made on.
        settings, seed: of the run.
        clock: whether times of different users can be compared.
    """

    fit: View
    choose: View
    settings: EvaluateSettings
    seed: int
    clock: bool

    @property
    def items(self) -> FloatArray:
        """float32 (N, dim)."""
        return self.fit.items

    @cached_property
    def counts(self) -> IntArray:
        """(N,) likes of the fit users."""
        log = self.fit.log
        return np.bincount(log.item[log.liked], minlength=len(self.items)).astype(np.int64)

    @cached_property
    def pool(self) -> ItemPool:
        """The catalogue with the popularity of the fit users."""
        return ItemPool(self.items, self.counts)

    @property
    def log_prior(self) -> FloatArray:
        """(N,) log popularity, add-one smoothed."""
        return self.pool.log_prior

    @cached_property
    def choose_rows(self) -> IntArray:
        """Events that choices look at: a random few of each choose user."""
        return self._drawn(self.settings.choose_cells)

    @cached_property
    def calibrate_rows(self) -> IntArray:
        """Events that calibrations look at."""
        return self._drawn(self.settings.calibrate_cells)

    def weights(self, rows: IntArray) -> AnyFloatArray:
        """(m,) weights of events that make every user count the same."""
        _, inverse = np.unique(self.choose.events.user[rows], return_inverse=True)
        weights: AnyFloatArray = 1.0 / np.bincount(inverse)[inverse]
        return weights

    def rng(self, stream: int) -> np.random.Generator:
        """A generator of its own for each purpose."""
        return np.random.default_rng([self.seed, 20, stream])

    def _drawn(self, cells: int) -> IntArray:
        """At most so many cells, taking one event of each user, then a second one..."""
        user = self.choose.events.user
        shuffled = np.lexsort((self.rng(0).random(len(user)), user))
        turn = np.empty(len(user), np.int64)
        turn[shuffled] = np.arange(len(user)) - np.searchsorted(user, user)
        order = np.argsort(turn, kind="stable")
        return np.sort(order[: max(1, cells // len(self.items))])


def make_ground(
    split: Split, items: FloatArray, settings: EvaluateSettings, seed: int, clock: bool
) -> Ground:
    """Views of the past sides of a split."""

    def view(log: Log, most: int | None) -> View:
        return make_view(log, items, window=settings.window, decay=settings.decay, most=most)

    return Ground(
        view(split.fit, None), view(split.choose, settings.choose_events), settings, seed, clock
    )
