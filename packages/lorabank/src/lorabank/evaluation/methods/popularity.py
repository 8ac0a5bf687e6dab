"""Popularity: of all time, and weighted by how recent it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lorabank.evaluation.baselines import POPULARITY_ONLY
from lorabank.evaluation.choosing import Candidate, best_ranking, most_likely
from lorabank.evaluation.ground import Ground
from lorabank.evaluation.methods.base import Calibrated, Scores
from lorabank.evaluation.views import View
from lorabank.types.arrays import AnyFloatArray, FloatArray, IntArray

# Half-lives as shares of the time that the fit users' log spans.
HALF_LIVES = (0.003, 0.01, 0.03, 0.1, 0.3)
SNAPSHOTS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Popularity:
    """Nothing but the prior."""

    log_prior: FloatArray
    bytes_per_user: float = 0.0

    def scores(self, view: View) -> Scores:
        """Zeros."""
        return lambda rows: np.zeros((len(rows), len(view.items)), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class RecentPopularity:
    """Log of decayed counts, as they stood at the last snapshot before each event.

    Attributes:
        log_prior: (N,) zeros: the scores are the prior.
        moments: (s,) of the snapshots, ascending; events before the first one use the first.
        tables: float32 (s, N).
    """

    log_prior: FloatArray
    moments: AnyFloatArray
    tables: FloatArray
    bytes_per_user: float = 0.0

    def scores(self, view: View) -> Scores:
        """The rows of the table."""
        place = np.searchsorted(self.moments, view.events.time, side="left") - 1
        place = np.maximum(place, 0)
        return lambda rows: self.tables[place[rows]]


def fit_popularity(ground: Ground) -> Calibrated:
    """Log popularity, its weight calibrated."""
    return best_ranking(ground, [({}, Popularity(ground.log_prior))], [POPULARITY_ONLY])


def fit_recent_popularity(ground: Ground) -> Calibrated:
    """The half-life that makes held-out events most likely."""
    return most_likely(ground, _candidates(ground))


def snapshots(
    time: AnyFloatArray, item: IntArray, half_life: float, items: int, count: int = SNAPSHOTS
) -> tuple[AnyFloatArray, FloatArray]:
    """(moments (s,), log shares (s, N)): at each moment counts rows strictly before it alone.

    A row that is ``half_life`` old counts half. As much is added as one row per item has, spread
    by the undecayed counts, so that what was liked long ago is still told from what never was.
    """
    order = np.argsort(time, kind="stable")
    time, item = time[order], item[order]
    moments = np.unique(np.quantile(time, np.linspace(0, 1, count)))
    bounds = np.searchsorted(time, moments, side="left")
    decayed, plain = np.zeros(items), np.zeros(items)
    tables = np.empty((len(moments), items), np.float32)
    begin, last = 0, moments[0]
    for row, (moment, end) in enumerate(zip(moments, bounds, strict=True)):
        decayed *= 0.5 ** ((moment - last) / half_life)
        weight = 0.5 ** ((moment - time[begin:end]) / half_life)
        decayed += np.bincount(item[begin:end], weight, minlength=items)
        plain += np.bincount(item[begin:end], minlength=items)
        smooth = (plain + 1.0) / (plain.sum() + items)
        total = decayed.sum()
        tables[row] = np.log(decayed + smooth * max(1.0, 0.05 * total)).astype(np.float32)
        begin, last = end, moment
    return moments, tables


def _candidates(ground: Ground) -> Iterator[Candidate]:
    log = ground.fit.log
    time, item = log.time[log.liked], log.item[log.liked]
    span = float(time.max() - time.min()) or 1.0
    # A snapshot of the catalogue each: fewer of them where it is large.
    count = int(np.clip(16_000_000 // len(ground.items), 8, SNAPSHOTS))
    for share in HALF_LIVES:
        moments, tables = snapshots(time, item, share * span, len(ground.items), count)
        yield (
            {"half_life": share * span},
            RecentPopularity(np.zeros_like(ground.log_prior), moments, tables),
        )
