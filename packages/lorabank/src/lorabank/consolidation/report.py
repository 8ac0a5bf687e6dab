"""What consolidation tells."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.population.model import Population
from lorabank.population.report import PopulationReport
from lorabank.types.skill import Evidence


@dataclass(frozen=True, slots=True)
class Progress:
    """After each epoch of training. ``loss`` is that of the users held out for stopping."""

    skill_id: str
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True, slots=True)
class SkillReport:
    """What became of one group.

    Attributes:
        skill_id: of the group.
        users, events: local feedback that its prior was trained and held out on.
        evidence: gain in loss over the parent on held-out users; None if nothing was trained.
        kept: whether its weights are in the stored skill.
        reason: in words.
    """

    skill_id: str
    users: int
    events: int
    evidence: Evidence | None
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ConsolidationReport:
    """What one consolidation did.

    Attributes:
        skills_created: skills stored, by episodes' evidence or with held-out weights.
        skills_with_weights: those that new users can start from.
        episodes: looked at by the bank.
        groups: one entry per group.
        seconds: in all.
        population: what was trained on everyone and is shared, to be kept beside the adapters;
            None where there was nothing to train it on, or a user in it was forgotten meanwhile.
        population_report: how it was chosen, and what was proved.
    """

    skills_created: int
    skills_with_weights: int
    episodes: int
    groups: tuple[SkillReport, ...]
    seconds: float
    population: Population | None = None
    population_report: PopulationReport | None = None
