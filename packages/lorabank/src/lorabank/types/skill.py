"""Skills: consolidated, reusable results."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.errors import InvalidInputError
from lorabank.types.arrays import FloatArray, as_vector, frozen
from lorabank.types.checks import (
    check_choice,
    check_count,
    check_number,
    check_positive,
    check_text,
)
from lorabank.types.hyperparameters import NO_HINTS, Hints
from lorabank.types.pattern import OBJECTIVES
from lorabank.types.space import EmbeddingSpace
from lorabank.types.strategy import ArmEffect
from lorabank.types.weights import Weights

SCALINGS = ("lora", "rslora")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A mean with its interval, users as clusters.

    Attributes:
        mean: of the gain.
        lower, upper: two-sided interval.
        users: distinct users.
        episodes: episodes (or held-out events) behind it.
    """

    mean: float
    lower: float
    upper: float
    users: int
    episodes: int


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Adapter weights that new users start from.

    Attributes:
        weights: A (rank, dim) and B (dim, rank).
        alpha, scaling: as in `Adapter`.
        tau, prior_weight: the logit's calibration that they were trained and held out with.
        evidence: held-out gain in loss over the parent (identity for a root skill).
    """

    weights: Weights
    alpha: float
    scaling: str
    tau: float
    prior_weight: float
    evidence: Evidence

    def __post_init__(self) -> None:
        check_choice(self.scaling, "prior.scaling", SCALINGS)
        check_positive(self.alpha, "prior.alpha")
        check_number(self.tau, "prior.tau", low=0.0)
        check_number(self.prior_weight, "prior.prior_weight", low=-1e6, high=1e6)


@dataclass(frozen=True, slots=True, eq=False)
class Skill:
    """A context region with what helped there.

    Attributes:
        id: deterministic per group, so that consolidating again replaces the skill.
        namespace: as for patterns.
        name: for people.
        space, objective: a skill fits only the same ones.
        centroid: unit mean context of the group, float32 (dim,).
        min_similarity: cosine to the centroid that a context must reach; -1 means "everyone".
        parent_id: the skill this one was refined from, or None.
        hints: hyperparameters that beat the default in this group.
        effects: the evidence behind the hints.
        evidence: gain over identity of the group's episodes.
        passed: whether the success criteria of the consolidation were met.
        user_keys: whose feedback is in it.
        created_at: unix seconds.
        prior: weights kept by held-out evidence, or None.
    """

    id: str
    namespace: str
    name: str
    space: EmbeddingSpace
    objective: str
    centroid: FloatArray
    min_similarity: float
    evidence: Evidence
    passed: bool
    user_keys: tuple[str, ...]
    created_at: float
    parent_id: str | None = None
    hints: Hints = NO_HINTS
    effects: tuple[ArmEffect, ...] = ()
    prior: Prior | None = None

    def __post_init__(self) -> None:
        for field in ("id", "namespace", "name"):
            check_text(getattr(self, field), f"skill.{field}")
        centroid = as_vector(self.centroid, "skill.centroid", self.space.dim)
        object.__setattr__(self, "centroid", frozen(centroid))
        check_choice(self.objective, "skill.objective", OBJECTIVES)
        check_number(self.min_similarity, "skill.min_similarity", low=-1.0, high=1.0)
        check_number(self.created_at, "skill.created_at", low=0.0)
        if self.prior is not None and self.prior.weights.dim != self.space.dim:
            raise InvalidInputError(
                "skill.prior", self.prior.weights.dim, f"dimension {self.space.dim}"
            )


@dataclass(frozen=True, slots=True)
class ConsolidationCriteria:
    """When a group of episodes becomes a skill.

    Attributes:
        min_uses: episodes in the group, at least.
        min_users: distinct users in the group, at least.
        look_back: seconds; older episodes are left out.
        min_success_rate: share of successes, at least (the seed's 0.85); None leaves it out.
        min_reward: mean reward, at least (the seed's 0.7); None leaves it out.
        max_groups: groups beside the one that holds everyone.
        confidence: of the user-clustered lower bound that must be above zero.
    """

    min_uses: int = 5
    min_users: int = 5
    look_back: float = 30 * 86_400.0
    min_success_rate: float | None = None
    min_reward: float | None = None
    max_groups: int = 8
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_count(self.min_uses, "min_uses", low=1)
        check_count(self.min_users, "min_users", low=1)
        check_positive(self.look_back, "look_back")
        check_count(self.max_groups, "max_groups")
        check_number(self.confidence, "confidence", low=0.5, high=0.9999)
        for field in ("min_success_rate", "min_reward"):
            value = getattr(self, field)
            if value is not None:
                check_number(value, field, low=0.0, high=1.0)


@dataclass(frozen=True, slots=True)
class Consolidation:
    """What `auto_consolidate` found.

    Attributes:
        skills: every group with enough uses, parents before children; those that ``passed``
            were stored.
        episodes: how many episodes were looked at.
    """

    skills: tuple[Skill, ...]
    episodes: int

    @property
    def skills_created(self) -> int:
        """How many groups passed and were stored as skills."""
        return sum(skill.passed for skill in self.skills)
