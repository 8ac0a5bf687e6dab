"""The served logit is the documented formula."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.population.test_model import DIM, POOL, N, small

from lorabank import InvalidInputError, ItemPool
from lorabank.experts import BoundExperts
from lorabank.population import Expert, PopulationScorer, Transitions

RNG = np.random.default_rng(3)
X = RNG.standard_normal((5, DIM)).astype(np.float32)
RECENT = RNG.integers(-1, N, (5, 3))


def by_formula(name: str, Y: np.ndarray | None = None) -> np.ndarray:
    population = small()
    expert = population.expert(name)
    if Y is None:
        Y = X.astype(np.float64)
        if expert.adapter is not None:
            adapter = population.adapter(expert.adapter)
            scale = adapter.alpha / adapter.weights.rank
            Y = Y + scale * (Y @ adapter.weights.A.T) @ adapter.weights.B.T
    E, b = POOL.vectors.astype(np.float64), np.zeros(N)
    residuals, neighbours = population.residuals, population.neighbours
    assert residuals is not None
    assert neighbours is not None
    assert population.transitions is not None
    if expert.residuals:
        E[residuals.items] += residuals.vectors
        b[residuals.items] = residuals.bias
    return (
        expert.tau * Y @ E.T
        + expert.bias_weight * b
        + expert.prior_weight * POOL.log_prior
        + expert.neighbour_weight * np.log1p(neighbours.scores(RECENT))
        + expert.transition_weight * read_by_hand(population.transitions) @ E.T
    )


def read_by_hand(transitions: Transitions) -> np.ndarray:
    known = dict(zip(transitions.items.tolist(), transitions.vectors.tolist(), strict=True))
    sums = np.zeros((len(RECENT), DIM))
    for row, items in enumerate(RECENT[:, : transitions.window].tolist()):
        for age, item in enumerate(items):
            sums[row] += transitions.decay**age * np.array(known.get(item, [0.0] * DIM))
    return sums


@pytest.mark.parametrize("name", small().names)
@pytest.mark.parametrize("candidates", [None, np.array([8, 1, 4])])
def test_logits_follow_the_formula(name: str, candidates: np.ndarray | None) -> None:
    scorer = PopulationScorer(small(), POOL)
    expected = by_formula(name)
    if candidates is not None:
        expected = expected[:, candidates]
    got = scorer.logits(name, scorer.transform(name, X), RECENT, candidates)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    together = scorer.all_logits(X, RECENT, candidates)[scorer.names.index(name)]
    np.testing.assert_allclose(together, got, rtol=1e-5, atol=1e-5)


def test_a_users_own_output_is_served_with_the_experts_items() -> None:
    scorer = PopulationScorer(small(), POOL)
    Y = RNG.standard_normal((5, DIM)).astype(np.float32)
    name = "shared+residuals+neighbours"
    got = scorer.logits(name, Y, RECENT)
    np.testing.assert_allclose(got, by_formula(name, Y.astype(np.float64)), rtol=1e-4, atol=1e-4)


def test_item_vectors_are_those_that_are_scored_with() -> None:
    population = small()
    assert population.residuals is not None
    vectors = population.residuals.item_vectors(POOL)
    rest = np.setdiff1d(np.arange(N), population.residuals.items)
    np.testing.assert_array_equal(vectors[rest], POOL.vectors[rest])
    assert not population.residuals.item_bias(POOL)[rest].any()
    changed = vectors[population.residuals.items] - POOL.vectors[population.residuals.items]
    np.testing.assert_allclose(changed, population.residuals.vectors, rtol=1e-5, atol=1e-6)


def test_a_pool_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="pool"):
        PopulationScorer(small(), ItemPool(POOL.vectors[:-1]))
    with pytest.raises(InvalidInputError, match="expert"):
        PopulationScorer(small(), POOL).transform("nobody", X)


@pytest.mark.parametrize("candidates", [None, np.array([1, 4, 8])])
@pytest.mark.parametrize("base", ["shared+transitions", "group:g", "shared"])
def test_bound_experts_say_what_the_scorer_says(base: str, candidates: np.ndarray | None) -> None:
    """Whatever the user's own chain stands on, and without similarities altogether."""
    population = small()
    blind = replace(population.expert("group:g"), name="blind", tau=0.0)
    named = [replace(e, gain=float(e.name == base)) for e in population.experts]
    blinded = blind_identity(named[0])
    silent = replace(blinded, prior_weight=0.0)
    for experts in ((*named, blind), (named[0], blind), (blinded, blind), (silent,)):
        bound = BoundExperts(replace(population, experts=experts), POOL)
        scores = bound.score(X, RECENT, candidates)
        expected = bound.scorer.all_logits(X, RECENT, candidates)
        np.testing.assert_allclose(scores.logits, expected, rtol=1e-5, atol=1e-5)
        own = scores.offset + bound.base_tau * scores.X @ scores.vectors.T
        np.testing.assert_allclose(own, expected[bound.base], rtol=1e-5, atol=1e-5)


def blind_identity(identity: Expert) -> Expert:
    return replace(identity, tau=0.0)


def test_rankings_lean_by_a_table_of_their_own() -> None:
    population = small()
    assert population.lean is not None
    expected = population.tilt * np.log1p(population.lean.scores(RECENT))
    assert expected.any()
    scorer = PopulationScorer(population, POOL)
    for candidates in (np.arange(N), np.array([8, 1])):
        got = scorer.tilt(RECENT, candidates)
        assert got is not None
        np.testing.assert_allclose(got, expected[:, candidates], rtol=1e-5)
    for straight in ({"tilt": 0.0}, {"lean": None}):
        assert PopulationScorer(replace(population, **straight), POOL).tilt(RECENT) is None
