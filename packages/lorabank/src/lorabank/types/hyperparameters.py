"""What one update is run with, and what a bank may suggest for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from lorabank.types.checks import check_count, check_number, check_positive

# Stored by their places: new ones go to the end.
Selection: TypeAlias = Literal["default", "hinted", "explored", "holdout"]


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The settings of one update step.

    Attributes:
        learning_rate: step size; the losses are scale-free, so one rate serves every encoder.
            The default suits an adapter that starts as the identity; one that starts from a
            skill is already near its goal and wants a smaller one (0.05).
        clip_threshold: largest joint L2 norm of the gradient over A and B.
        ewc_strength: lambda of the EWC++ penalty; 0 switches it off.
        steps: gradient steps per batch.
    """

    learning_rate: float = 0.3
    clip_threshold: float = 1.0
    ewc_strength: float = 0.0
    steps: int = 1

    def __post_init__(self) -> None:
        check_positive(self.learning_rate, "learning_rate")
        check_positive(self.clip_threshold, "clip_threshold")
        check_number(self.ewc_strength, "ewc_strength", low=0.0)
        check_count(self.steps, "steps", low=1)


DEFAULTS = Hyperparameters()


@dataclass(frozen=True, slots=True)
class Hints:
    """What a bank suggests; ``None`` means "no evidence, keep the default".

    ``reasons`` says, per parameter, why it is suggested or why a suggestion was refused.
    Hints may come from a remote bank, so their values are checked where they are used
    (`lorabank.hints.apply_hints`), not here.
    """

    learning_rate: float | None = None
    clip_threshold: float | None = None
    ewc_strength: float | None = None
    steps: int | None = None
    skill_ids: tuple[str, ...] = ()
    confidence: float = 0.0
    reasons: tuple[str, ...] = ()


NO_HINTS = Hints()
