"""A population bound to its pool of items, with the user's own chain as one more expert."""

from __future__ import annotations

from itertools import chain

from lorabank.adaptation.mixing import OWN, Scores
from lorabank.experts.features import FOLLOWING, Features, Product, terms_of
from lorabank.numerics.lora import forward
from lorabank.population import Expert, Population, PopulationScorer
from lorabank.population.trust import best_expert, prior_weights
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.items import ItemPool


class BoundExperts:
    """See `lorabank.adaptation.mixing.Experts`. Thread-safe: nothing changes after it is made.

    The user's own chain stands on the expert that gained most on held-out users, and starts with
    that expert's prior weight: while the adapter is the identity they are the same.

    Args:
        population: what is shared.
        pool: its items.

    Raises:
        InvalidInputError: a pool of another size or dimension.
    """

    def __init__(self, population: Population, pool: ItemPool) -> None:
        self.scorer = PopulationScorer(population, pool)
        self.population = population
        self.pool = pool
        self.experts = population.experts
        self.id = population.id
        self.names = (*population.names, OWN)
        self.base = best_expert(self.experts)
        self.prior = prior_weights(self.experts, self.base)
        self.base_tau = self.base_expert.tau
        self._matrices = {adapter.name: adapter.matrices for adapter in population.adapters}
        terms = [terms_of(expert) for expert in self.experts]
        own = self._own = Product(self.base_expert.residuals, self.base_expert.adapter)
        # The base's logit without what the own chain takes the place of.
        offset = {feature: weight for feature, weight in terms[self.base].items() if feature != own}
        self._features = Features(terms, self.scorer)
        self._weights = self._features.weights([*terms, offset])
        self._views = {own.residuals, *self._features.sources}
        sources = {own.source, *chain(*self._features.sources.values())}
        self._adapters = sources - {FOLLOWING}
        self._transitions = population.transitions if FOLLOWING in sources else None

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
        return self.output(self.base_expert.adapter, X)

    def output(self, adapter: str | None, X: FloatArray) -> FloatArray:
        """What a shared adapter makes of contexts (n, dim); None leaves them as they are."""
        if adapter is None:
            return X
        Y: FloatArray = forward(self._matrices[adapter], X)[0]
        return Y

    def score(self, X: FloatArray, recent: IntArray, candidates: IntArray | None) -> Scores:
        """See `Experts.score`. What experts have in common is computed once."""
        outputs = {adapter: self.output(adapter, X) for adapter in self._adapters}
        if self._transitions is not None:
            outputs[FOLLOWING] = self._transitions.contexts(recent)
        vectors = {residuals: self._seen(residuals, candidates) for residuals in self._views}
        features = self._features.stacked(outputs, vectors, recent, candidates)
        count, rows, width = features.shape
        logits = self._weights @ features.reshape(count, rows * width)
        logits, own = logits.reshape(-1, rows, width), self._own
        return Scores(logits[:-1], outputs[own.source], vectors[own.residuals], logits[-1])

    def _seen(self, residuals: bool, candidates: IntArray | None) -> FloatArray:
        """Vectors of the candidates, (m, dim)."""
        vectors = self.item_vectors if residuals else self.pool.vectors
        return vectors if candidates is None else vectors.take(candidates, 0)
