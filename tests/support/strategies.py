"""Hypothesis strategies for everything that the codec writes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lorabank.adapter import BASELINES, Adapter, Scaling, Trial, TrialArm
from lorabank.numerics.ewc import empty_importance
from lorabank.types.arrays import FloatArray
from lorabank.types.hyperparameters import Hints, Hyperparameters
from lorabank.types.mixture import ExpertState, Mixture
from lorabank.types.pattern import ARM_PARAMETERS, ArmOutcome, Outcome, Pattern, TrialOutcome
from lorabank.types.skill import Evidence, Prior, Skill
from lorabank.types.solver import RlsState
from lorabank.types.space import EmbeddingSpace
from lorabank.types.strategy import ArmEffect, Estimate
from lorabank.types.weights import Anchor, DriftState, Importance, Weights

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
counts = st.integers(0, 2**40)
shares = st.floats(0, 1)
numbers = st.floats(-1e30, 1e30)
positive = st.floats(1e-6, 1e6)
objectives = st.sampled_from(["mse", "contrastive"])
scalings: st.SearchStrategy[Scaling] = st.sampled_from(["lora", "rslora"])
parameters = st.sampled_from(ARM_PARAMETERS)
BITS = 2**32 - 1


@st.composite
def arrays(draw: st.DrawFn, *shape: int) -> FloatArray:
    """Any finite float32 bits: negative zeros and subnormals included."""
    seed = draw(st.integers(0, BITS))
    bits = np.random.default_rng(seed).integers(0, 2**32, shape, np.uint32)
    values = bits.view(np.float32)
    special: FloatArray = np.where(np.isfinite(values), values, np.float32(-0.0))
    return special


def weights(rank: int, dim: int) -> st.SearchStrategy[Weights]:
    return st.builds(Weights, arrays(rank, dim), arrays(dim, rank))


hyperparameters = st.builds(
    Hyperparameters, positive, positive, st.floats(0, 1e6), st.integers(1, 100)
)
outcomes = st.builds(Outcome, numbers, numbers, numbers, shares, st.booleans())
arms = st.builds(ArmOutcome, parameters, st.floats(0, 10), numbers)
trial_outcomes = st.builds(
    TrialOutcome,
    numbers,
    numbers,
    numbers,
    st.integers(1, 99),
    st.lists(arms, max_size=3).map(tuple),
)
ids = st.lists(names, max_size=3).map(tuple)
patterns = st.builds(
    Pattern,
    id=names,
    namespace=names,
    user_key=names,
    task=texts,
    context=st.integers(1, 9).flatmap(arrays),
    objective=objectives,
    rank=st.integers(1, 64),
    hyperparameters=hyperparameters,
    selection=st.sampled_from(["default", "hinted", "explored", "holdout"]),
    propensity=st.floats(1e-6, 1),
    samples=st.integers(1, 1000),
    created_at=st.floats(0, 1e12),
    latency_ms=st.floats(0, 1e6),
    critique=texts,
    skill_ids=ids,
    outcome=st.none() | outcomes,
    trial=st.none() | trial_outcomes,
)
evidence = st.builds(Evidence, numbers, numbers, numbers, counts, counts)
hints = st.builds(
    Hints,
    st.none() | numbers,
    st.none() | numbers,
    st.none() | numbers,
    st.none() | st.integers(-5, 5),
    ids,
    shares,
    st.lists(texts, max_size=2).map(tuple),
)
estimates = st.builds(Estimate, numbers, numbers, numbers, counts)
effects = st.builds(
    ArmEffect,
    *(parameters, numbers, numbers, numbers, numbers, numbers, counts, counts, shares),
    effective_users=numbers,
    fold_lower=st.none() | numbers,
    confirmed=st.none() | estimates,
)


@st.composite
def adapters(draw: st.DrawFn) -> Adapter:
    dim = draw(st.integers(1, 8))
    rank = draw(st.integers(1, 4))
    objective: Any = draw(objectives)
    return Adapter(
        user_id=draw(names),
        weights=draw(weights(rank, dim)),
        alpha=draw(positive),
        scaling=draw(scalings),
        objective=objective,
        space=EmbeddingSpace(draw(names), dim, draw(st.booleans())),
        tau=draw(st.floats(0, 1e3)),
        prior_weight=draw(st.floats(-10, 10)),
        version=draw(counts),
        sample_count=draw(counts),
        skill_ids=draw(ids),
        anchor=draw(st.none() | _anchors(objective, rank, dim)),
        pending=draw(st.none() | patterns),
        trial=draw(st.none() | _trials(rank, dim)),
        rls=draw(st.none() | _rls(rank)),
        experts=draw(st.none() | expert_states()),
    )


@st.composite
def _rls(draw: st.DrawFn, rank: int) -> RlsState:
    half = np.random.default_rng(draw(st.integers(0, BITS))).normal(size=(rank, rank))
    return RlsState(half @ half.T + 1e-3 * np.eye(rank))


@st.composite
def expert_states(draw: st.DrawFn) -> ExpertState:
    recent = tuple(draw(st.lists(counts, max_size=20)))
    if draw(st.booleans()):
        return ExpertState(recent)
    raw = draw(st.lists(st.floats(1e-9, 1), min_size=1, max_size=9))
    mixture_weights = tuple(value / math.fsum(raw) for value in raw)
    mixture = Mixture(draw(st.floats(-1e9, 1e9)), mixture_weights, draw(counts))
    return ExpertState(recent, draw(names), mixture)


@st.composite
def _anchors(draw: st.DrawFn, objective: str, rank: int, dim: int) -> Anchor:
    rows, columns = empty_importance(objective, rank, dim).shapes
    importance = st.builds(Importance, arrays(*rows), arrays(*columns), shares)
    return Anchor(
        draw(weights(rank, dim)),
        draw(importance),
        draw(st.none() | importance),
        draw(counts),
        draw(st.builds(DriftState, counts, numbers, numbers, numbers, numbers)),
    )


@st.composite
def _trials(draw: st.DrawFn, rank: int, dim: int) -> Trial:
    factors = st.floats(0, 8)
    parameters_used = [*BASELINES, *draw(st.lists(parameters, max_size=3))]
    trial_arms = [TrialArm(p, draw(factors), draw(weights(rank, dim))) for p in parameters_used]
    return Trial(tuple(trial_arms), draw(hyperparameters), draw(counts), draw(counts))


@st.composite
def skills(draw: st.DrawFn) -> Skill:
    dim, rank = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    prior = st.builds(
        Prior, weights(rank, dim), positive, scalings, st.floats(0, 99), st.floats(-9, 9), evidence
    )
    return Skill(
        id=draw(names),
        namespace=draw(names),
        name=draw(names),
        space=EmbeddingSpace(draw(names), dim, draw(st.booleans())),
        objective=draw(objectives),
        centroid=draw(arrays(dim)),
        min_similarity=draw(st.floats(-1, 1)),
        evidence=draw(evidence),
        passed=draw(st.booleans()),
        user_keys=draw(ids),
        created_at=draw(st.floats(0, 1e12)),
        parent_id=draw(st.none() | names),
        hints=draw(hints),
        effects=tuple(draw(st.lists(effects, max_size=2))),
        prior=draw(st.none() | prior),
    )
