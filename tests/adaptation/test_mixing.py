"""Experts are scored on common negatives, mixed row by row, and the own chain stands on one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.support.populations import ITEMS, SPACE, WINDOW, make_likes, make_pool, make_population

from lorabank import Adapter, EngineConfig, Feedback, Hyperparameters, InvalidInputError, ItemPool
from lorabank.adaptation.mixing import Mixing
from lorabank.adaptation.stacking import prepare_with_experts, recent_of_rows
from lorabank.adaptation.step import Decision, StepResult, adapt
from lorabank.config import ContrastiveConfig, MixtureConfig
from lorabank.engine.starting import identity_adapter
from lorabank.experts import BoundExperts
from lorabank.numerics.contrastive import ContrastiveBatch, log_sum_exp
from lorabank.numerics.lora import Matrices
from lorabank.population import recent_likes
from lorabank.types.mixture import ExpertState

POOL = make_pool()
EXPERTS = BoundExperts(make_population(), POOL)
W0 = MixtureConfig().identity_weight


def config_of(negatives: int = ITEMS, learning_rate: float = 0.05) -> EngineConfig:
    return EngineConfig(
        SPACE,
        rank=2,
        objective="contrastive",
        defaults=Hyperparameters(learning_rate=learning_rate, ewc_strength=0.1),
        contrastive=ContrastiveConfig(negatives=negatives),
    )


def new_adapter(seed: int = 0, *, trained: bool = False, **changes: object) -> Adapter:
    rng = np.random.default_rng(seed)
    adapter = identity_adapter(config_of(), "ada", rng)
    if trained:
        adapter = adapter.with_weights(adapter.A, rng.normal(size=adapter.B.shape) / 3)
    return replace(adapter, **changes)  # type: ignore[arg-type]


def prepared(
    adapter: Adapter,
    feedback: Feedback,
    config: EngineConfig,
    experts: BoundExperts | None = EXPERTS,
    seed: int = 0,
) -> tuple[ContrastiveBatch, Mixing]:
    rng = np.random.default_rng(seed)
    batch, mixing = prepare_with_experts(adapter, feedback, config, POOL, experts, rng)
    assert isinstance(batch, ContrastiveBatch)
    assert mixing is not None
    return batch, mixing


def update(adapter: Adapter, feedback: Feedback, config: EngineConfig, seed: int = 0) -> StepResult:
    batch, mixing = prepared(adapter, feedback, config, seed=seed)
    decision, rng = Decision(config.defaults), np.random.default_rng(seed)
    return adapt(adapter, batch, decision, config, rng, lambda: 0.0, mixing)


def exact_losses(logits: np.ndarray, feedback: Feedback) -> np.ndarray:
    """By the definition: -log p over the pool, or -log(1 - p), in float64."""
    assert feedback.items is not None
    logits = logits.astype(np.float64)
    p = np.exp(logits - log_sum_exp(logits)[..., None])[:, np.arange(len(feedback)), feedback.items]
    liked = feedback.reward >= 0.5 if feedback.reward is not None else True
    return -np.log(np.where(liked, p, 1 - p))


def test_losses_are_the_exact_ones_where_the_pool_is_scored_whole() -> None:
    feedback = make_likes(np.random.default_rng(1), 12)
    state = ExpertState((3, 1, 4, 1, 5))
    _, mixing = prepared(new_adapter(experts=state), feedback, config_of())
    liked = feedback.reward >= 0.5
    recent = recent_of_rows(state.recent, feedback.items, liked, WINDOW)
    logits = EXPERTS.scorer.all_logits(feedback.x, recent, None)
    np.testing.assert_allclose(mixing.losses, exact_losses(logits, feedback), rtol=2e-4)


@pytest.mark.parametrize("negatives", [ITEMS, 9])
def test_the_own_chain_is_served_as_it_is_trained(negatives: int) -> None:
    """Whatever the adapter: its batch's loss is that of the base's logits of its output."""
    feedback = make_likes(np.random.default_rng(2), 9)
    adapter = new_adapter(trained=True, experts=ExpertState((7, 8)))
    batch, mixing = prepared(adapter, feedback, config_of(negatives))
    losses = batch.row_losses(Matrices(adapter.A, adapter.B, adapter.scale))
    if negatives == ITEMS:
        recent = recent_of_rows((7, 8), feedback.items, feedback.reward >= 0.5, WINDOW)
        Y = adapter.transform(EXPERTS.base_output(feedback.x))
        logits = EXPERTS.scorer.logits("shared+residuals", Y, recent)
        want = exact_losses(logits[None], feedback)[0]
        np.testing.assert_allclose(losses, want, rtol=2e-4, atol=1e-12)
    untouched = new_adapter()
    same = batch.row_losses(Matrices(untouched.A, untouched.B, untouched.scale))
    np.testing.assert_allclose(same, mixing.losses[EXPERTS.base], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(batch.identity_row_losses(), mixing.losses[0])
    parts = [batch.part(0, 4), batch.part(4, 9)]
    joined = np.concatenate([p.row_losses(Matrices(adapter.A, adapter.B, 1.0)) for p in parts])
    np.testing.assert_allclose(
        joined, batch.row_losses(Matrices(adapter.A, adapter.B, 1.0)), rtol=1e-5
    )


def test_drawn_negatives_are_those_of_sampled_softmax() -> None:
    """Each draw counts, the row's own target does not, another row's target alone does not."""
    feedback = make_likes(np.random.default_rng(3), 6)
    config = config_of(negatives=25)
    _, mixing = prepared(new_adapter(), feedback, config, seed=11)
    draws = POOL.sample(25, np.random.default_rng(11))
    recent = recent_of_rows((), feedback.items, feedback.reward >= 0.5, WINDOW)
    logits = EXPERTS.scorer.all_logits(feedback.x, recent, None).astype(np.float64)
    for i, item in enumerate(feedback.items):
        others = draws[draws != item]
        corrected = logits[:, i, others] - np.log(25) - POOL.log_q[others]
        margin = logits[:, i, item] - log_sum_exp(corrected)
        sign = 1 if feedback.reward[i] >= 0.5 else -1
        np.testing.assert_allclose(
            mixing.losses[:, i], np.logaddexp(0, -sign * margin), rtol=1e-3, atol=1e-5
        )


def test_recent_items_are_those_liked_before_each_row() -> None:
    rng = np.random.default_rng(4)
    for before in range(0, 30, 7):
        history, items = rng.integers(0, 9, before), rng.integers(0, 9, 12)
        liked = rng.random(12) < 0.6
        log = np.concatenate([history, items])
        marks = np.concatenate([np.ones(before, np.bool_), liked])
        rows = np.arange(before, before + 12)
        want = recent_likes(np.zeros(len(log), np.int64), log, marks, rows, WINDOW)
        got = recent_of_rows(tuple(history[::-1].tolist()), items, liked, WINDOW)
        np.testing.assert_array_equal(got, want)


def test_the_adapter_remembers_what_was_liked_also_without_a_population() -> None:
    config, adapter = config_of(), new_adapter()
    liked: list[int] = []
    rng = np.random.default_rng(5)
    for i in range(4):
        feedback = make_likes(rng, 7)
        liked += feedback.items[feedback.reward >= 0.5].tolist()
        experts = EXPERTS if i % 2 else None
        batch, mixing = prepared(adapter, feedback, config, experts)
        decision = Decision(config.defaults)
        adapter = adapt(adapter, batch, decision, config, rng, lambda: 0.0, mixing).adapter
        assert adapter.experts is not None
        assert adapter.experts.recent == tuple(liked[::-1][:WINDOW])
    assert adapter.experts.population == EXPERTS.id


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("negatives", [ITEMS, 9])
def test_the_excess_over_the_identity_is_bounded_at_every_moment(seed: int, negatives: int) -> None:
    """On noise, with steps far too long for the own chain."""
    config = config_of(negatives, learning_rate=2.0)
    adapter, excess = new_adapter(), 0.0
    rng = np.random.default_rng(seed)
    for i in range(25):
        feedback = make_likes(rng, int(rng.integers(1, 9)))
        result = update(adapter, feedback, config, i)
        adapter, report = result.adapter, result.mixture
        assert report is not None
        excess += len(feedback) * (report.loss - report.identity_loss)
        assert excess <= math.log(1 / W0) + 1e-6
        assert report.identity_loss == pytest.approx(result.identity_loss, rel=1e-5)
        assert math.fsum(report.after) == pytest.approx(1)


def test_the_mixture_finds_the_expert_that_is_right() -> None:
    """Items drawn from one expert's own distribution."""
    rng = np.random.default_rng(6)
    for name in ("identity", "shared+residuals", "neighbours", "group:a"):
        adapter, config = new_adapter(), config_of(learning_rate=1e-6)
        place = EXPERTS.names.index(name)
        for i in range(60):
            recent = np.array([(adapter.experts or ExpertState()).recent], np.int64)
            x = rng.normal(size=(1, SPACE.dim)).astype(np.float32)
            logits = EXPERTS.scorer.all_logits(x, recent, None)[place]
            item = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
            adapter = update(adapter, Feedback(x, items=item), config, i).adapter
        assert adapter.experts is not None
        assert adapter.experts.mixture is not None
        served = adapter.experts.mixture.served
        expected = served[place] + (served[-1] if place == EXPERTS.base else 0.0)
        assert expected > 0.5, (name, served)


def test_how_a_stream_is_cut_does_not_matter_to_the_mixture() -> None:
    config = config_of(learning_rate=1e-12)
    feedback = make_likes(np.random.default_rng(7), 12)
    whole = update(new_adapter(), feedback, config).adapter
    adapter = new_adapter()
    for i in range(0, 12, 3):
        part = Feedback(
            feedback.x[i : i + 3],
            items=feedback.items[i : i + 3],
            reward=feedback.reward[i : i + 3],
        )
        adapter = update(adapter, part, config).adapter
    assert whole.experts is not None
    assert adapter.experts is not None
    assert whole.experts.recent == adapter.experts.recent
    np.testing.assert_allclose(
        whole.experts.mixture.weights, adapter.experts.mixture.weights, rtol=1e-3
    )


def test_feedback_about_unknown_items_teaches_the_own_chain_alone() -> None:
    config, adapter = config_of(9), new_adapter()
    adapter = update(adapter, make_likes(np.random.default_rng(8), 5), config).adapter
    feedback = make_likes(np.random.default_rng(9), 5)
    x, target = feedback.x, POOL.vectors[feedback.items]
    for unknown in (Feedback(x, target), Feedback(x, items=feedback.items, negatives=x)):
        batch, mixing = prepared(adapter, unknown, config)
        np.testing.assert_allclose(batch.X, EXPERTS.base_output(x))
        raw, _ = prepared(adapter, unknown, config, None)
        assert batch.identity_loss() == pytest.approx(raw.identity_loss())
        result = adapt(
            adapter, batch, Decision(config.defaults), config, np.random.default_rng(0),
            lambda: 0.0, mixing,
        )  # fmt: skip
        assert result.mixture is None
        assert result.adapter.experts.mixture == adapter.experts.mixture
        assert (result.adapter.B != adapter.B).any()


def test_a_new_population_resets_the_weights_and_keeps_what_the_identity_earned() -> None:
    config, adapter = config_of(), new_adapter()
    rng = np.random.default_rng(10)
    for _ in range(10):
        adapter = update(adapter, make_likes(rng, 5), config).adapter
    old = adapter.experts.mixture
    fresh = BoundExperts(make_population(seed=1), POOL)
    batch, mixing = prepared(adapter, make_likes(rng, 1), config, fresh)
    decision = Decision(config.defaults)
    result = adapt(adapter, batch, decision, config, rng, lambda: 0.0, mixing)
    identity = old.identity_weight
    first, *others = ((1 - identity) * weight for weight in fresh.prior)
    np.testing.assert_allclose(result.mixture.before, [identity + first, *others])
    assert result.adapter.experts.population == fresh.id
    assert result.adapter.experts.mixture.observed == 1


@pytest.mark.parametrize(
    "bad",
    [
        Feedback(np.ones((1, SPACE.dim)), items=[ITEMS]),
        Feedback(np.zeros((1, SPACE.dim)), items=[0]),
        Feedback(np.ones((1, 3)), items=[0]),
    ],
)
def test_bad_feedback_is_refused_with_experts_too(bad: Feedback) -> None:
    with pytest.raises(InvalidInputError, match="feedback"):
        prepared(new_adapter(), bad, config_of())


def test_enormous_values_are_refused_and_change_nothing() -> None:
    feedback = Feedback(np.full((2, SPACE.dim), 3e38, np.float32), items=[0, 1])
    with np.errstate(all="ignore"), pytest.raises(InvalidInputError, match="feedback"):
        update(new_adapter(trained=True), feedback, config_of())


def test_prior_weights_follow_the_trust() -> None:
    prior = dict(zip(EXPERTS.names, EXPERTS.prior, strict=True))
    assert EXPERTS.names == (*make_population().names, "own")
    assert prior["own"] == prior["shared+residuals"] == max(prior.values())
    assert prior["shared"] > prior["neighbours"] > prior["identity"] > 0
    plain = tuple(replace(expert, trust=1.0) for expert in make_population().experts)
    flat = BoundExperts(replace(make_population(), experts=plain), POOL)
    np.testing.assert_allclose(flat.prior, 1 / 6)


def test_switched_off_it_is_as_if_there_were_no_population() -> None:
    config = replace(config_of(9), mixture=MixtureConfig(enabled=False))
    feedback = make_likes(np.random.default_rng(11), 4)
    rng = np.random.default_rng(0)
    batch, mixing = prepare_with_experts(new_adapter(), feedback, config, POOL, EXPERTS, rng)
    assert mixing is None
    np.testing.assert_array_equal(batch.X, feedback.x)


def test_a_pool_of_two_items() -> None:
    pool = ItemPool(POOL.vectors[:2])
    population = replace(
        make_population(), items=2, residuals=None, neighbours=None,
        experts=make_population().experts[:2],
    )  # fmt: skip
    experts = BoundExperts(population, pool)
    feedback = Feedback(np.ones((3, SPACE.dim)), items=[0, 1, 0])
    for negatives in (1, 2, 5):
        rng = np.random.default_rng(0)
        _, mixing = prepare_with_experts(
            new_adapter(), feedback, config_of(negatives), pool, experts, rng
        )
        assert mixing is not None
        assert np.isfinite(mixing.losses).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"enabled": 1},
        {"identity_weight": 0.0},
        {"identity_weight": 1.0},
        {"share": 0.0},
        {"share": 1.1},
    ],
)
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match=r"mixture\."):
        MixtureConfig(**bad)  # type: ignore[arg-type]
