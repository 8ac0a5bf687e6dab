"""The item-to-item table: counted on some users, its form chosen on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lorabank.population.counting import PairCounts, count_pairs
from lorabank.population.ground import Ground
from lorabank.population.neighbours import ItemToItem
from lorabank.population.predictor import Predictor
from lorabank.population.tabling import Factoriser, TableChoice, build_table
from lorabank.population_config import NeighbourConfig, PopulationConfig
from lorabank.types.arrays import IntArray

# Rows that a form is chosen on: the differences are large.
CHOOSING_ROWS = 512
# Occurrences of pairs that are counted, roughly at most: some seconds.
OCCURRENCES = 1 << 23
BACKWARD = (0.0, 1.0)
NORMALISATIONS = ((1.0, 1.0), (1.0, 0.5))
SCALES = (0.3, 3.0, 10.0)


@dataclass(frozen=True, slots=True)
class ChosenTable:
    """The form that held-out users liked best, the table of the fitted users, and their loss; and
    the counts that it was made of."""

    choice: TableChoice
    table: ItemToItem
    loss: float
    counts: PairCounts


def count(ground: Ground, positions: IntArray, config: PopulationConfig) -> PairCounts:
    """Over the liked rows at ``positions``, no further apart than there is time for."""
    return count_pairs(
        ground.rows.user[positions],
        ground.items(positions),
        len(ground.pool),
        reach=affordable_reach(len(positions), config.neighbours),
        decays=config.neighbours.decays,
        min_users=config.min_users,
    )


def affordable_reach(rows: int, config: NeighbourConfig) -> int:
    """How many likes apart pairs are counted: where there are many rows, near ones have enough
    users."""
    return min(config.reach, max(config.window, OCCURRENCES // max(1, rows)))


def choose_table(
    ground: Ground,
    counts: PairCounts,
    beside: Predictor,
    config: PopulationConfig,
    check: Callable[[], object],
) -> ChosenTable:
    """One property after the other, by how much the table helps ``beside`` on held-out users."""
    positions = ground.stop[:: max(1, len(ground.stop) // CHOOSING_ROWS)]
    factoriser = Factoriser(counts)

    def tried(choice: TableChoice, start: Predictor) -> tuple[ChosenTable, Predictor]:
        check()
        table = build_table(counts, choice, config.neighbours, factoriser)
        fitted, loss = start.beside(table).calibrated(ground, positions, 1e-4)
        return ChosenTable(choice, table, loss, counts), fitted

    best, near = tried(TableChoice(), beside)
    for variants in _stages(config.neighbours):
        for variant in variants(best.choice):
            candidate, fitted = tried(variant, near)
            if candidate.loss < best.loss:
                best, near = candidate, fitted
    return best


def _stages(config: NeighbourConfig) -> Iterator[Callable[[TableChoice], list[TableChoice]]]:
    yield lambda c: [replace(c, decay=number) for number in range(1, len(config.decays))]
    yield lambda c: [replace(c, backward=share) for share in BACKWARD]
    yield lambda c: [replace(c, rank=rank) for rank in config.ranks]
    yield lambda c: [replace(c, source=s, target=t) for s, t in NORMALISATIONS]
    yield lambda c: [replace(c, scale=scale) for scale in SCALES]
