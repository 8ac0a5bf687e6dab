"""A population bound to its pool of items, with the user's own chain as one more expert."""

from __future__ import annotations

import numpy as np

from lorabank.adaptation.mixing import OWN, Scores
from lorabank.config import MixtureConfig
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
        config: how the prior weights follow from the experts' gains.

    Raises:
        InvalidInputError: a pool of another size or dimension.
    """

    def __init__(self, population: Population, pool: ItemPool, config: MixtureConfig) -> None:
        self.scorer = PopulationScorer(population, pool)
        self.population = population
        self.pool = pool
        self.experts = population.experts
        self.id = population.id
        self.names = (*population.names, OWN)
        self.base = best_expert(self.experts)
        self.prior = prior_weights(self.experts, self.base, config.prior_events)
        self.base_tau = self.base_expert.tau
        self._matrices = {adapter.name: adapter.matrices for adapter in population.adapters}
        self._adapters = list(dict.fromkeys(expert.adapter for expert in self.experts))
        # Whether residuals are seen, as some expert sees the items.
        self._views = sorted(
            {expert.residuals for expert in self.experts if expert.tau or expert.transition_weight}
            | {self.base_expert.residuals}
        )
        # Items first: what is read of one candidate lies together.
        self._constant = np.ascontiguousarray(self._constants().T)

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
        logits = np.repeat(_chosen(self._constant, candidates).T[:, None], len(X), axis=1)
        self._add_neighbours(logits, recent, candidates)
        vectors = {residuals: self._seen(residuals, candidates) for residuals in self._views}
        self._add_transitions(logits, recent, vectors)
        offset = logits[self.base].copy()
        outputs = {adapter: self.output(adapter, X) for adapter in self._adapters}
        for residuals, seen in vectors.items():
            places = [k for k, e in enumerate(self.experts) if e.tau and e.residuals is residuals]
            if places:
                self._add_similarity(logits, places, outputs, seen)
        base = self.base_expert
        return Scores(logits, outputs[base.adapter], vectors[base.residuals], offset)

    def _seen(self, residuals: bool, candidates: IntArray | None) -> FloatArray:
        return _chosen(self.item_vectors if residuals else self.pool.vectors, candidates)

    def _add_similarity(
        self,
        logits: FloatArray,
        places: list[int],
        outputs: dict[str | None, FloatArray],
        vectors: FloatArray,
    ) -> None:
        """``tau * <y, e>`` of the experts in these places, which see the same vectors."""
        adapters = list(dict.fromkeys(self.experts[k].adapter for k in places))
        stacked = np.concatenate([outputs[name] for name in adapters])
        similarity = (stacked @ vectors.T).reshape(len(adapters), -1, len(vectors))
        for k in places:
            expert = self.experts[k]
            logits[k] += np.float32(expert.tau) * similarity[adapters.index(expert.adapter)]

    def _add_neighbours(
        self, logits: FloatArray, recent: IntArray, candidates: IntArray | None
    ) -> None:
        table = self.population.neighbours
        places = [k for k, expert in enumerate(self.experts) if expert.neighbour_weight]
        if table is None or not places:
            return
        near = table.log_scores(recent, candidates)
        for k in places:
            logits[k] += np.float32(self.experts[k].neighbour_weight) * near

    def _add_transitions(
        self, logits: FloatArray, recent: IntArray, vectors: dict[bool, FloatArray]
    ) -> None:
        places = [k for k, expert in enumerate(self.experts) if expert.transition_weight]
        transitions = self.population.transitions
        if transitions is None or not places:
            return
        read = transitions.contexts(recent)
        for k in places:
            expert = self.experts[k]
            weight = np.float32(expert.transition_weight)
            logits[k] += (weight * read) @ vectors[expert.residuals].T

    def _constants(self) -> FloatArray:
        """(K - 1, N): what does not depend on the user."""
        parts = np.empty((len(self.experts), len(self.pool)), np.float32)
        residuals = self.population.residuals
        bias = None if residuals is None else residuals.item_bias(self.pool)
        for k, expert in enumerate(self.experts):
            parts[k] = np.float32(expert.prior_weight) * self.pool.log_prior
            if expert.residuals and bias is not None:
                parts[k] += np.float32(expert.bias_weight) * bias
        return parts


def _chosen(rows: FloatArray, candidates: IntArray | None) -> FloatArray:
    found: FloatArray = rows if candidates is None else rows[candidates]
    return found
