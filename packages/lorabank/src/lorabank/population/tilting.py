"""How rankings lean towards what follows the last likes: a table of their own, and its weight.

What makes a user's events most likely serves every event alike, the hopeless ones in the long tail
too. The first ten places are decided by the few items that lately went with the user's last ones;
there another form of the same counts, that divides less by how popular the follower is, ranks
better. Probabilities, and what is guaranteed of them, stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lorabank.population.counting import PairCounts
from lorabank.population.ground import Ground
from lorabank.population.neighbours import ItemToItem
from lorabank.population.predictor import Predictor, ranks_of
from lorabank.population.tabling import Factoriser, TableChoice, build_table
from lorabank.population_config import PopulationConfig
from lorabank.statistics.scores import ndcg, user_means
from lorabank.turns import give_way, unhurried
from lorabank.types.arrays import AnyFloatArray, IntArray

TILTS = (0.4, 0.8, 1.6, 3.2)
# Of the counts' divisor: the power of how many liked what follows. The square root is the cosine.
TARGETS = (0.25, 0.5)
SCALES = (0.3, 3.0)


@dataclass(frozen=True, slots=True, eq=False)
class Leaning:
    """What rankings add to log probabilities: ``tilt * log(1 + s)``, s of a table of this form."""

    choice: TableChoice
    table: ItemToItem
    tilt: float


@dataclass(frozen=True, slots=True, eq=False)
class LeaningChooser:
    """Chooses by nDCG@10 of held-out rows' targets, each user counting the same.

    Attributes:
        ground: of the training.
        counts: of the fitted users' pairs.
        config: of the population.
        predictor: the fullest expert, calibrated: what is leant on.
        positions: (n,) rows of held-out users.
        check: called before each table.
    """

    ground: Ground
    counts: PairCounts
    config: PopulationConfig
    predictor: Predictor
    positions: IntArray
    check: Callable[[], object]

    def choose(self, rank: int) -> Leaning | None:
        """The best form and weight; None if rankings are best without.

        Args:
            rank: of the factorisation that speaks for rare pairs; 0: none.
        """
        factoriser = Factoriser(self.counts)
        best: tuple[float, Leaning | None] = (self._straight(), None)
        best = max(best, *self._tried(self._forms(rank), factoriser), key=_first)
        if best[1] is not None:
            scaled = [replace(best[1].choice, scale=scale) for scale in SCALES]
            best = max(best, *self._tried(scaled, factoriser), key=_first)
        return best[1]

    def _forms(self, rank: int) -> list[TableChoice]:
        """Both orders of a pair count: what is liked together is, soon, in either."""
        decays = range(min(2, len(self.config.neighbours.decays)))
        return [
            TableChoice(decay=decay, backward=1.0, target=target, rank=rank)
            for decay in decays
            for target in TARGETS
        ]

    def _straight(self) -> float:
        return self._mean(ndcg(self.predictor.judge(self.ground, self.positions)[1]))

    def _tried(
        self, choices: list[TableChoice], factoriser: Factoriser
    ) -> list[tuple[float, Leaning]]:
        """Each form with each tilt, those that lean least first: of equals the first is taken."""
        tables = []
        for choice in choices:
            self.check()
            tables.append(build_table(self.counts, choice, self.config.neighbours, factoriser))
        gains = np.concatenate([self._gains(part, tables) for part in self._parts()], axis=2)
        return [
            (self._mean(gains[place, number]), Leaning(choice, tables[place], tilt))
            for number, tilt in enumerate(TILTS)
            for place, choice in enumerate(choices)
        ]

    def _parts(self) -> Iterator[IntArray]:
        for rows in unhurried(self.ground.chunks(self.positions), 1):
            self.check()
            yield rows

    def _gains(self, rows: IntArray, tables: list[ItemToItem]) -> AnyFloatArray:
        """nDCG@10 of each row, (tables, tilts, n)."""
        logits, targets = self.predictor.logits(self.ground, rows), self.ground.items(rows)
        found = np.empty((len(tables), len(TILTS), len(rows)))
        for place, table in enumerate(tables):
            near = table.log_scores(self.ground.recent(rows, table.window))
            for number, tilt in enumerate(TILTS):
                give_way()
                found[place, number] = ndcg(ranks_of(logits + np.float32(tilt) * near, targets))
        return found

    def _mean(self, gain: AnyFloatArray) -> float:
        return float(user_means(gain, self.ground.rows.user[self.positions]).mean())


def _first(found: tuple[float, Leaning | None]) -> float:
    return found[0]
