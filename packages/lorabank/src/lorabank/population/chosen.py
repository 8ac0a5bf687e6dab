"""What the stages of a training leave for those after them."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.population.group_training import TrainedGroup
from lorabank.population.neighbour_training import ChosenTable
from lorabank.population.residual_choice import ChosenResiduals
from lorabank.population.shared import ChosenRank
from lorabank.population.transition_training import ChosenTransitions


@dataclass(frozen=True, slots=True)
class Chosen:
    """Each part as held-out users liked it best; None for what is off, or had too few users."""

    rank: ChosenRank
    residuals: ChosenResiduals | None
    table: ChosenTable | None
    transitions: ChosenTransitions | None
    groups: tuple[TrainedGroup, ...]
