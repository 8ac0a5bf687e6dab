"""Experts made of what was trained, calibrated on some users and proved on others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from lorabank.population.ground import Ground
from lorabank.population.group_training import TrainedGroup
from lorabank.population.model import (
    EVERYTHING,
    GROUP_PREFIX,
    IDENTITY,
    NEIGHBOURS,
    SHARED,
    SHARED_NEIGHBOURS,
    SHARED_RESIDUALS,
    Expert,
)
from lorabank.population.neighbours import ItemToItem
from lorabank.population.predictor import Predictor
from lorabank.types.arrays import IntArray

Must: TypeAlias = Literal["beat its parent", "not be worse"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An expert on trial: calibrated on the users to choose by.

    Attributes:
        name, adapter, residuals: as in `Expert`.
        parent: name of the expert that it is compared with, or None.
        must: what it has to show to be kept: "beat its parent" by the lower bound, or "not be
            worse" by the upper one.
        predictor: calibrated.
    """

    name: str
    adapter: str | None
    residuals: bool
    parent: str | None
    predictor: Predictor
    must: Must = "beat its parent"

    def expert(self, gain: float) -> Expert:
        """As it is served."""
        assert self.predictor.weights is not None
        fitted = dict(zip(self.predictor.names, self.predictor.weights, strict=True))
        return Expert(
            self.name,
            self.adapter,
            self.residuals,
            tau=fitted.get("tau", 0.0),
            prior_weight=fitted["prior_weight"],
            bias_weight=fitted.get("bias_weight", 0.0),
            neighbour_weight=fitted.get("neighbour_weight", 0.0),
            gain=gain,
        )


def common_candidates(
    identity: Predictor,
    shared: Predictor,
    residual: Predictor | None,
    table: ItemToItem | None,
) -> list[Candidate]:
    """The experts for everyone, parents before children, the fullest last.

    Args:
        identity: without anything.
        shared: with the shared adapter.
        residual: the same with item residuals.
        table: of neighbours, which also predicts with popularity alone.
    """
    found = [
        Candidate(IDENTITY, None, False, None, identity),
        Candidate(SHARED, SHARED, False, IDENTITY, shared),
    ]
    if table is not None:
        alone = Predictor(None, None, neighbours=table)
        found.insert(1, Candidate(NEIGHBOURS, None, False, IDENTITY, alone, "not be worse"))
    if residual is not None:
        found.append(Candidate(SHARED_RESIDUALS, SHARED, True, SHARED, residual))
    if table is not None:
        name = EVERYTHING if residual is not None else SHARED_NEIGHBOURS
        last = found[-1]
        both = last.predictor.beside(table)
        found.append(Candidate(name, SHARED, last.residuals, last.name, both, "not be worse"))
    return found


def group_candidate(group: TrainedGroup, parent: str, residuals: bool) -> Candidate:
    """A group's expert, calibrated on its own users already."""
    name = GROUP_PREFIX + group.id
    return Candidate(name, name, residuals, parent, group.trained.predictor)


def calibrate(candidate: Candidate, ground: Ground, positions: IntArray) -> Candidate:
    """By maximum likelihood on the rows at ``positions``."""
    return replace(candidate, predictor=candidate.predictor.calibrated(ground, positions)[0])
