"""Logits of a population's experts over a pool of items."""

from __future__ import annotations

import numpy as np

from lorabank.errors import InvalidInputError
from lorabank.numerics.lora import forward
from lorabank.population.model import Expert, Population
from lorabank.types.arrays import FloatArray, IntArray
from lorabank.types.items import ItemPool


class PopulationScorer:
    """A population bound to its pool of items; holds a second matrix ``e + v`` of the pool's size.

    Thread-safe: nothing changes after it is made. Items that a user has already had are not left
    out here: mask their logits, or leave them out of ``candidates``.
    """

    def __init__(self, population: Population, pool: ItemPool) -> None:
        """Bind.

        Raises:
            InvalidInputError: a pool of another size or dimension.
        """
        expected = (population.items, population.space.dim)
        if pool.vectors.shape != expected:
            raise InvalidInputError("pool", pool.vectors.shape, f"vectors of shape {expected}")
        self.population = population
        self.pool = pool
        residuals = population.residuals
        self._vectors = pool.vectors if residuals is None else residuals.item_vectors(pool)
        self._bias = None if residuals is None else residuals.item_bias(pool)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the experts, the identity first."""
        return self.population.names

    @property
    def item_vectors(self) -> FloatArray:
        """float32 (N, dim): ``e + v``, or the pool's own vectors without residuals."""
        return self._vectors

    def transform(self, expert: str, X: FloatArray) -> FloatArray:
        """The expert's y, float32 (n, dim), for contexts X (n, dim).

        Raises:
            InvalidInputError: no expert of that name.
        """
        return self._output(self.population.expert(expert).adapter, X)

    def logits(
        self,
        expert: str,
        Y: FloatArray,
        recent: IntArray,
        candidates: IntArray | None = None,
    ) -> FloatArray:
        """Logits of all items, or of some, under an expert.

        Args:
            expert: name of one.
            Y: (n, dim), *transformed* contexts: of `transform`, or of a user's own adapter to be
                served with this expert's item vectors and calibration.
            recent: (n, k) positions of the items that each user liked last, newest first, padded
                with -1 (see `lorabank.population.recent_likes`).
            candidates: (m,) distinct positions; None means the whole pool.

        Returns:
            float32 (n, m) or (n, N).

        Raises:
            InvalidInputError: no expert of that name, or positions outside the pool.
        """
        found = self.population.expert(expert)
        similarity = self._similarity(found, Y, candidates) if found.tau else None
        near = self._neighbours(recent, candidates) if found.neighbour_weight else None
        logits = self._combine(found, similarity, near, len(Y), candidates)
        if found.transition_weight:
            follows = self.following(recent, candidates, residuals=found.residuals)
            logits += np.float32(found.transition_weight) * follows
        return logits

    def all_logits(
        self, X: FloatArray, recent: IntArray, candidates: IntArray | None = None
    ) -> FloatArray:
        """Logits of every expert for contexts X (n, dim), float32 (experts, n, m).

        What experts have in common is computed once; otherwise as `transform` and `logits`.
        """
        experts = self.population.experts
        near = None
        if any(expert.neighbour_weight for expert in experts):
            near = self._neighbours(recent, candidates)
        outputs: dict[str | None, FloatArray] = {}
        similarities: dict[tuple[str | None, bool], FloatArray] = {}
        parts = []
        follows: dict[bool, FloatArray] = {}
        for expert in experts:
            key = (expert.adapter, expert.residuals)
            if expert.tau and key not in similarities:
                if expert.adapter not in outputs:
                    outputs[expert.adapter] = self._output(expert.adapter, X)
                similarities[key] = self._similarity(expert, outputs[expert.adapter], candidates)
            part = self._combine(expert, similarities.get(key), near, len(X), candidates)
            if expert.transition_weight:
                with_v = expert.residuals
                if with_v not in follows:
                    follows[with_v] = self.following(recent, candidates, residuals=with_v)
                part += np.float32(expert.transition_weight) * follows[with_v]
            parts.append(part)
        return np.stack(parts)

    def following(
        self, recent: IntArray, candidates: IntArray | None, *, residuals: bool
    ) -> FloatArray:
        """``<c, e_j + v_j>``, or ``<c, e_j>`` without residuals, float32 (n, m); see `Transitions`.

        The population must have transitions.
        """
        transitions = self.population.transitions
        assert transitions is not None
        vectors = self._vectors if residuals else self.pool.vectors
        found: FloatArray = transitions.contexts(recent) @ _chosen(vectors, candidates).T
        return found

    def tilt(self, recent: IntArray, candidates: IntArray | None = None) -> FloatArray | None:
        """What rankings add to log probabilities, float32 (n, m); None where that is nothing.

        Args:
            recent, candidates: as for `logits`.
        """
        lean, tilt = self.population.lean, self.population.tilt
        if lean is None or not tilt:
            return None
        found: FloatArray = np.float32(tilt) * lean.log_scores(recent, candidates)
        return found

    def _output(self, adapter: str | None, X: FloatArray) -> FloatArray:
        if adapter is None:
            return X
        Y: FloatArray = forward(self.population.adapter(adapter).matrices, X)[0]
        return Y

    def _similarity(self, expert: Expert, Y: FloatArray, candidates: IntArray | None) -> FloatArray:
        vectors = self._vectors if expert.residuals else self.pool.vectors
        scores: FloatArray = Y @ _chosen(vectors, candidates).T
        return scores

    def _neighbours(self, recent: IntArray, candidates: IntArray | None) -> FloatArray:
        assert self.population.neighbours is not None
        return self.population.neighbours.log_scores(recent, candidates)

    def _combine(
        self,
        expert: Expert,
        similarity: FloatArray | None,
        near: FloatArray | None,
        count: int,
        candidates: IntArray | None,
    ) -> FloatArray:
        base = np.float32(expert.prior_weight) * self.pool.log_prior
        if expert.residuals and self._bias is not None:
            base += np.float32(expert.bias_weight) * self._bias
        base = _chosen(base, candidates)
        logits = np.empty((count, len(base)), np.float32)
        logits[:] = base
        if similarity is not None and expert.tau:
            logits += np.float32(expert.tau) * similarity
        if near is not None and expert.neighbour_weight:
            logits += np.float32(expert.neighbour_weight) * near
        return logits


def _chosen(values: FloatArray, candidates: IntArray | None) -> FloatArray:
    rows: FloatArray = values if candidates is None else values[candidates]
    return rows
