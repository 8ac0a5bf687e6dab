"""Patterns (episodes): what one adaptation did and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from lorabank.types.arrays import FloatArray, as_vector, frozen
from lorabank.types.checks import check_choice, check_count, check_number, check_text
from lorabank.types.hyperparameters import DEFAULTS, Hyperparameters, Selection

OBJECTIVES = ("mse", "contrastive")
SELECTIONS = ("default", "hinted", "explored", "holdout")
ARM_PARAMETERS = ("learning_rate", "clip_threshold", "ewc_strength", "steps")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an adapter did on the next, unseen batch.

    Attributes:
        loss: the adapter's loss on that batch.
        reference_loss: loss of the calibrated identity on the same batch.
        gain: ``(reference_loss - loss) / max(reference_loss, eps)``.
        reward: in [0, 1].
        success: by the success policy.
    """

    loss: float
    reference_loss: float
    gain: float
    reward: float
    success: bool

    def __post_init__(self) -> None:
        check_number(self.loss, "outcome.loss", low=-1e30, high=1e30)
        check_number(self.reference_loss, "outcome.reference_loss", low=-1e30, high=1e30)
        check_number(self.gain, "outcome.gain", low=-1e30, high=1e30)
        check_number(self.reward, "outcome.reward", low=0.0, high=1.0)


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """Loss of one shadow arm, scored on the same next batch as the default's.

    Attributes:
        parameter: one of ``ARM_PARAMETERS``.
        factor: multiplies the default value of the parameter.
        loss: on the next batch.
    """

    parameter: str
    factor: float
    loss: float

    def __post_init__(self) -> None:
        check_choice(self.parameter, "arm.parameter", ARM_PARAMETERS)
        check_number(self.factor, "arm.factor", low=0.0)
        check_number(self.loss, "arm.loss", low=-1e30, high=1e30)


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """A finished trial: every arm ran as a shadow over the same updates, from the same weights.

    Attributes:
        default_loss: loss on the next batch after ``updates`` updates with the defaults.
        frozen_loss: the same without any update: ``frozen_loss - default_loss`` is what the
            updates themselves did.
        reference_loss: the same for the calibrated identity.
        updates: how many updates the arms were held for.
        arms: one entry per alternative.
        defaults: the settings that the arms' factors multiply: effects around other settings
            say nothing about these.
    """

    default_loss: float
    frozen_loss: float
    reference_loss: float
    updates: int
    arms: tuple[ArmOutcome, ...]
    defaults: Hyperparameters = DEFAULTS

    def __post_init__(self) -> None:
        check_number(self.default_loss, "trial.default_loss", low=-1e30, high=1e30)
        check_number(self.frozen_loss, "trial.frozen_loss", low=-1e30, high=1e30)
        check_number(self.reference_loss, "trial.reference_loss", low=-1e30, high=1e30)
        check_count(self.updates, "trial.updates", low=1)


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """One episode. Without an outcome it is *pending*, or was closed before it could be scored.

    Attributes:
        id: given by the writer, so that storing twice is storing once.
        namespace: tenants never see each other's patterns.
        user_key: keyed hash of the user's id.
        task: text for people; holds no user id.
        context: what the user liked then, float32 (dim,): how similar users are found.
        objective: "mse" or "contrastive".
        rank: of the adapter.
        hyperparameters: what the update was run with.
        selection: how they were chosen.
        propensity: probability of that choice, in (0, 1].
        samples: observations in the batch.
        created_at: unix seconds.
        latency_ms: of the update.
        critique: one sentence on the outcome.
        skill_ids: skills that the adapter started from.
        outcome: None while pending.
        trial: a shadow trial that ended with this episode, if any.
    """

    id: str
    namespace: str
    user_key: str
    task: str
    context: FloatArray
    objective: str
    rank: int
    hyperparameters: Hyperparameters
    selection: Selection
    propensity: float
    samples: int
    created_at: float
    latency_ms: float = 0.0
    critique: str = ""
    skill_ids: tuple[str, ...] = ()
    outcome: Outcome | None = None
    trial: TrialOutcome | None = None

    def __post_init__(self) -> None:
        # One by one: naming them in a loop takes longer than checking them.
        check_text(self.id, "pattern.id")
        check_text(self.namespace, "pattern.namespace")
        check_text(self.user_key, "pattern.user_key")
        check_text(self.task, "pattern.task", empty=True)
        check_text(self.critique, "pattern.critique", empty=True)
        object.__setattr__(self, "context", frozen(as_vector(self.context, "pattern.context")))
        check_choice(self.objective, "pattern.objective", OBJECTIVES)
        check_choice(self.selection, "pattern.selection", SELECTIONS)
        check_count(self.rank, "pattern.rank", low=1)
        check_number(self.propensity, "pattern.propensity", low=1e-9, high=1.0)
        check_count(self.samples, "pattern.samples", low=1)
        check_number(self.created_at, "pattern.created_at", low=0.0)
        check_number(self.latency_ms, "pattern.latency_ms", low=0.0)

    @property
    def dim(self) -> int:
        """Number of components of the context vector."""
        return int(self.context.shape[0])

    @property
    def reward(self) -> float | None:
        """The outcome's reward in [0, 1]; None without an outcome."""
        return None if self.outcome is None else self.outcome.reward

    @property
    def success(self) -> bool | None:
        """The outcome's success; None without an outcome."""
        return None if self.outcome is None else self.outcome.success


@dataclass(frozen=True, slots=True)
class Match:
    """A pattern found by a search, with its cosine similarity in [-1, 1] (higher is better)."""

    pattern: Pattern
    score: float
