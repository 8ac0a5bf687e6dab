"""How far each expert is trusted with one user."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lorabank.errors import InvalidInputError
from lorabank.types.checks import check_count, check_number, check_text

# Beyond this many nats a weight is zero in float64 anyway, and infinity can't be stored.
MOST_LOG_ODDS = 1e9


@dataclass(frozen=True, slots=True)
class Mixture:
    """State of a mixture of K experts; expert 0 is the identity. See `lorabank.numerics.mixture`.

    Attributes:
        log_odds: of "the identity for good" against the mixture that shares, in nats.
        weights: of the experts within the mixture that shares, (K,), summing to 1.
        observed: observations since it began with these experts.
    """

    log_odds: float
    weights: tuple[float, ...]
    observed: int = 0

    def __post_init__(self) -> None:
        check_number(self.log_odds, "mixture.log_odds", low=-MOST_LOG_ODDS, high=MOST_LOG_ODDS)
        check_count(self.observed, "mixture.observed")
        for weight in self.weights:
            check_number(weight, "mixture.weights", low=0.0, high=1.0 + 1e-6)
        if not self.weights or abs(math.fsum(self.weights) - 1.0) > 1e-6:
            raise InvalidInputError("mixture.weights", self.weights, "weights that sum to 1")

    @property
    def identity_weight(self) -> float:
        """Weight of "the identity for good", in [0, 1]."""
        return _probability(self.log_odds)

    @property
    def served(self) -> tuple[float, ...]:
        """Weights of the probabilities that are served, (K,): both levels multiplied out."""
        return tuple(served(self.log_odds, self.weights))


def served(log_odds: float, weights: Sequence[float]) -> list[float]:
    """See `Mixture.served`."""
    identity = _probability(log_odds)
    found = [(1.0 - identity) * weight for weight in weights]
    found[0] += identity
    return found


def _probability(log_odds: float) -> float:
    odds = math.exp(-abs(log_odds))
    return (1.0 if log_odds >= 0 else odds) / (1.0 + odds)


@dataclass(frozen=True, slots=True)
class ExpertState:
    """What an adapter carries for the experts of a population.

    Attributes:
        recent: positions of the items that the user liked last, newest first.
        population: id of the population whose experts the mixture is over; "" before the first.
        mixture: over them, the user's own chain last; None before the first.
    """

    recent: tuple[int, ...] = ()
    population: str = ""
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        check_text(self.population, "experts.population", empty=True)
        for position in self.recent:
            check_count(position, "experts.recent")
        if (self.mixture is None) != (not self.population):
            raise InvalidInputError("experts.population", self.population, "one with a mixture")
