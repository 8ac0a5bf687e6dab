"""What a method is: fitted on past users, then served event by event to others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from lorabank.evaluation.views import View
from lorabank.numerics.contrastive import Calibration
from lorabank.types.arrays import FloatArray, IntArray

# Positions of events (m,) -> a number for every item, float32 (m, N); a new array each time.
Scores: TypeAlias = Callable[[IntArray], FloatArray]


class Model(Protocol):
    """Fitted, but not calibrated yet."""

    @property
    def log_prior(self) -> FloatArray:
        """(N,) what the prior weight multiplies."""
        ...

    @property
    def bytes_per_user(self) -> float:
        """State that is kept for each user, beside the last likes that every method needs."""
        ...

    def scores(self, view: View) -> Scores:
        """Scores of a log's events. An event's scores depend on its user's past alone."""
        ...


class Served(Protocol):
    """A method, ready for users that it has not seen."""

    @property
    def bytes_per_user(self) -> float:
        """State that is kept for each user."""
        ...

    @property
    def choices(self) -> Mapping[str, float]:
        """What was chosen on past users."""
        ...

    def logits(self, view: View) -> Scores:
        """Logits of a log's events; seen items need not be left out."""
        ...

    def tilt(self, view: View) -> Scores | None:
        """What the order of items adds to the logits; None where it is that of the logits."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """``tau * scores + prior_weight * log_prior``.

    Attributes:
        model: what gives the scores.
        calibration: fitted on the choose users.
        choices: what was chosen on them, by name.
        ndcg: nDCG@10 of the choose users.
    """

    model: Model
    calibration: Calibration
    choices: Mapping[str, float] = field(default_factory=dict)
    ndcg: float = 0.0

    @property
    def bytes_per_user(self) -> float:
        """Of the model."""
        return self.model.bytes_per_user

    def tilt(self, view: View) -> None:
        """None."""

    def logits(self, view: View) -> Scores:
        """Of every item, float32."""
        scores = self.model.scores(view)
        tau = np.float32(self.calibration.tau)
        base = np.float32(self.calibration.prior_weight) * self.model.log_prior

        def logits(rows: IntArray) -> FloatArray:
            values = scores(rows)
            values *= tau
            values += base
            return values

        return logits
