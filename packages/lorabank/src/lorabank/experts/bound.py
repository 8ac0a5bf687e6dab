"""A population bound to its pool of items, with the user's own chain as one more expert."""

from __future__ import annotations

import numpy as np

from lorabank.adaptation.mixing import OWN
from lorabank.config import MixtureConfig
from lorabank.population import Expert, Population, PopulationScorer
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.items import ItemPool

# Share of the prior weight that is the same for every expert, whatever held-out users say.
UNIFORM = 0.1


class BoundExperts:
    """See `lorabank.adaptation.mixing.Experts`. Thread-safe: nothing changes after it is made.

    The user's own chain stands on the expert that gained most on held-out users, and starts with
    that expert's prior weight: while the adapter is the identity they are the same.

    Args:
        population: what is shared.
        pool: its items.
        config: how the prior weights follow from the experts' gains.

    Raises:
        InvalidInputError: a pool of another size or dimension.
    """

    def __init__(self, population: Population, pool: ItemPool, config: MixtureConfig) -> None:
        self.population = population
        self.pool = pool
        self.scorer = PopulationScorer(population, pool)
        self.experts = population.experts
        self.id = population.id
        self.names = (*population.names, OWN)
        self.base = _best(self.experts)
        self.prior = _prior(self.experts, self.base, config.prior_events)
        self.base_tau = self.base_expert.tau

    @property
    def base_expert(self) -> Expert:
        """What the user's own chain stands on."""
        return self.experts[self.base]

    @property
    def item_vectors(self) -> FloatArray:
        """float32 (N, dim): ``e + v``, or the pool's own vectors without residuals."""
        return self.scorer.item_vectors

    def base_output(self, X: FloatArray) -> FloatArray:
        """See `Experts.base_output`."""
        return self.scorer.transform(self.base_expert.name, X)

    def base_vectors(self, candidates: IntArray | None) -> FloatArray:
        """See `Experts.base_vectors`."""
        vectors = self.item_vectors if self.base_expert.residuals else self.pool.vectors
        rows: FloatArray = vectors if candidates is None else vectors[candidates]
        return rows

    def all_logits(
        self, X: FloatArray, recent: IntArray, candidates: IntArray | None
    ) -> FloatArray:
        """See `Experts.all_logits`."""
        return self.scorer.all_logits(X, recent, candidates)


def _best(experts: tuple[Expert, ...]) -> int:
    """The largest gain among those that look at the context at all."""
    looking = [k for k, expert in enumerate(experts) if expert.tau > 0]
    return max(looking, key=lambda k: experts[k].gain, default=0)


def _prior(experts: tuple[Expert, ...], base: int, events: float) -> tuple[float, ...]:
    """Weights as if each had predicted ``events`` already, as well as held-out users' events."""
    gains = np.array([*(expert.gain for expert in experts), experts[base].gain])
    earned = np.exp(events * (gains - gains.max()))
    weights = (1.0 - UNIFORM) * earned / earned.sum() + UNIFORM / len(gains)
    return tuple((weights / weights.sum()).tolist())
