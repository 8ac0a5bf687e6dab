"""What training of a population tells, while it runs and in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lorabank.types.skill import Evidence


@dataclass(frozen=True, slots=True)
class PopulationProgress:
    """After each part of the work.

    Attributes:
        stage: "shared", "residuals", "neighbours", "transitions", "groups", "experts"
            or "refit".
        detail: in words, e.g. "rank 32, epoch 2 of 6".
        done: share of the work that is done, in [0, 1]; a rough estimate.
        loss: on the users held out for choosing, or None where nothing was measured.
    """

    stage: str
    detail: str
    done: float
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class ExpertReport:
    """One expert on the users held out for proof, each user counting the same.

    Attributes:
        name: of the expert.
        parent: name of the expert that it is compared with; None for the identity.
        nll: mean exact negative log-likelihood over the items on offer, in nats.
        ndcg: mean nDCG@10 over the whole catalogue minus what the user had before.
        evidence: relative decrease of the NLL against the parent's; None for the identity.
        kept: whether it is in the population.
        reason: in words.
    """

    name: str
    parent: str | None
    nll: float
    ndcg: float
    evidence: Evidence | None
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class PopulationReport:
    """What one training did.

    Attributes:
        users, events: that it was trained, chosen and proved on.
        experts: those that were tried, the identity first.
        choices: what was chosen on held-out users, by name: "rank", "residuals.learning_rate"...
        losses: held-out mean NLL behind each choice, e.g. {"rank=32": 7.1}.
        seconds: by stage.
        reason: why nothing was trained; empty if something was.
    """

    users: int
    events: int
    experts: tuple[ExpertReport, ...]
    choices: Mapping[str, float]
    losses: Mapping[str, float]
    seconds: Mapping[str, float]
    reason: str = ""
