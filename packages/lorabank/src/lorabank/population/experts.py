"""Experts made of what was trained, calibrated on some users and proved on others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from lorabank.population.ground import Ground
from lorabank.population.group_training import TrainedGroup
from lorabank.population.model import (
    BESIDE,
    GROUP_PREFIX,
    IDENTITY,
    NEIGHBOURS,
    POPULARITY,
    SHARED,
    SHARED_RESIDUALS,
    TRANSITIONS,
    Expert,
)
from lorabank.population.neighbours import ItemToItem
from lorabank.population.predictor import Predictor
from lorabank.population.transitions import Transitions
from lorabank.types.arrays import IntArray

Must: TypeAlias = Literal["beat its parent", "not be worse", "nothing"]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """An expert on trial: calibrated on the users to choose by.

    Attributes:
        name, adapter, residuals: as in `Expert`.
        parent: name of the expert that it is compared with, or None.
        must: what it has to show to be kept: "beat its parent" by the lower bound, or "not be
            worse" by the upper one, or "nothing", where it is for users unlike the others.
        predictor: calibrated.
        control: has to be beaten by the lower bound as well, or None.
        needs: name of the expert without which it is not tried.
    """

    name: str
    adapter: str | None
    residuals: bool
    parent: str | None
    predictor: Predictor
    must: Must = "beat its parent"
    control: Predictor | None = None
    needs: str | None = None

    @property
    def idle(self) -> bool:
        """Whether neighbours or transitions are among its parts and have no weight: then it is the
        expert without them, and to serve both would be to trust one twice."""
        assert self.predictor.weights is not None
        fitted = dict(zip(self.predictor.names, self.predictor.weights, strict=True))
        return 0.0 in (fitted.get("neighbour_weight"), fitted.get("transition_weight"))

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
            transition_weight=fitted.get("transition_weight", 0.0),
            gain=gain,
        )


def common_candidates(
    identity: Predictor,
    shared: Predictor,
    residual: Predictor | None,
    table: ItemToItem | None,
    transitions: Transitions | None = None,
) -> list[Candidate]:
    """The experts for everyone, parents before children, the fullest last.

    Args:
        identity: without anything.
        shared: with the shared adapter.
        residual: the same with item residuals.
        table: of neighbours, which also predicts with popularity alone.
        transitions: read beside all the rest.
    """
    popular = Predictor(None, None)
    found = [
        Candidate(IDENTITY, None, False, None, identity),
        Candidate(POPULARITY, None, False, IDENTITY, popular, "nothing"),
        Candidate(SHARED, SHARED, False, IDENTITY, shared),
    ]
    if table is not None:
        alone = Predictor(None, None, neighbours=table)
        found.insert(1, Candidate(NEIGHBOURS, None, False, IDENTITY, alone, "not be worse"))
    if residual is not None:
        found.append(Candidate(SHARED_RESIDUALS, SHARED, True, SHARED, residual))
    learned = found[-1]
    if transitions is not None:
        after = learned.predictor.after(transitions)
        name = learned.name + TRANSITIONS
        found.append(Candidate(name, SHARED, learned.residuals, learned.name, after))
    if table is not None:
        both = learned.predictor.beside(table)
        name = learned.name + BESIDE
        found.append(Candidate(name, SHARED, learned.residuals, learned.name, both, "not be worse"))
    if table is not None and transitions is not None:
        full = learned.predictor.beside(table).after(transitions)
        found.append(
            Candidate(
                name + TRANSITIONS,
                SHARED,
                learned.residuals,
                name,
                full,
                "not be worse",
                needs=learned.name + TRANSITIONS,
            )
        )
    return found


def group_candidate(group: TrainedGroup, parent: str, residuals: bool) -> Candidate:
    """A group's expert and its control, both calibrated on the group's own users already."""
    name = GROUP_PREFIX + group.id
    predictor, control = group.trained.predictor, group.control.predictor
    return Candidate(name, name, residuals, parent, predictor, control=control)


def calibrate(candidate: Candidate, ground: Ground, positions: IntArray) -> Candidate:
    """By maximum likelihood on the rows at ``positions``."""
    return replace(candidate, predictor=candidate.predictor.calibrated(ground, positions)[0])
