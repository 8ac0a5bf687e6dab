"""From skills to new users: which skills fit, and how their weights are taken over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.engine.banks import SPACE, FakeTime, ScriptedBank, failing, hanging, make_config
from tests.engine.people import People

import lorabank.consolidation.consolidator as consolidator_module
from lorabank import (
    ConsolidationCriteria,
    EmbeddingSpace,
    Evidence,
    Feedback,
    Prior,
    QueryConfig,
    Skill,
    Weights,
    user_key,
)
from lorabank import LoRAPersonalizationEngine as Engine
from lorabank.adapter import lora_scale
from lorabank.numerics.contrastive import Calibration
from lorabank.numerics.mse import MseBatch
from lorabank.population.proof import Candidate, prove
from lorabank.population.rows import collect_rows, split_users
from lorabank.population.tasks import MseTask

EVIDENCE = Evidence(0.1, 0.05, 0.15, 9, 90)
X = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)
CONTEXT = np.array([1.0, 0, 0, 0, 0, 0])


def make_prior(rank: int = 2, alpha: float = 2.0, scaling: str = "lora", dim: int = 6) -> Prior:
    rng = np.random.default_rng(rank)
    A = rng.standard_normal((rank, dim)).astype(np.float32)
    weights = Weights(A, rng.standard_normal((dim, rank)).astype(np.float32))
    return Prior(weights, alpha, scaling, tau=7.0, prior_weight=0.5, evidence=EVIDENCE)


def make_skill(**changes: Any) -> Skill:
    options: dict[str, Any] = {
        "id": "mse/everyone",
        "namespace": "default",
        "name": "everyone",
        "space": SPACE,
        "objective": "mse",
        "centroid": CONTEXT,
        "min_similarity": -1.0,
        "evidence": EVIDENCE,
        "passed": True,
        "user_keys": ("a",),
        "created_at": 1e9,
        "prior": make_prior(),
    }
    return Skill(**(options | changes))


async def start(skills: list[Skill], context: object = CONTEXT, **changes: Any) -> Any:
    bank = ScriptedBank()

    async def answer() -> list[Skill]:
        return skills

    bank.script["skills"] = answer
    options: dict[str, Any] = {"query": QueryConfig(budget=5.0)} | changes
    async with Engine(make_config(**options), bank) as engine:
        return await engine.create_adapter("u", context=context)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rank", "alpha", "scaling"),
    [(2, 2.0, "lora"), (2, 1.0, "lora"), (4, 3.0, "rslora"), (6, None, "lora")],
)
async def test_a_prior_does_the_same_at_any_rank_that_holds_it(
    rank: int, alpha: float | None, scaling: str
) -> None:
    prior = make_prior()
    adapter = await start([make_skill()], rank=rank, alpha=alpha, scaling=scaling)
    scale = lora_scale(prior.alpha, 2, prior.scaling)
    wanted = X + scale * X @ prior.weights.A.T @ prior.weights.B.T
    np.testing.assert_allclose(adapter.transform(X), wanted, rtol=1e-4, atol=1e-4)
    assert (adapter.rank, adapter.scaling) == (rank, scaling)
    assert (adapter.tau, adapter.prior_weight) == (7.0, 0.5)
    assert adapter.skill_ids == ("mse/everyone",)
    exact = rank == 2 and alpha == 2.0
    assert np.array_equal(adapter.A, prior.weights.A) == exact


async def test_a_smaller_rank_takes_the_best_approximation() -> None:
    prior = make_prior(rank=5, alpha=5.0)
    adapter = await start([make_skill(prior=prior)], rank=2, alpha=2.0)
    full = prior.weights.B @ prior.weights.A
    singular = np.linalg.svd(full, compute_uv=False)
    error = np.linalg.norm(full - adapter.B @ adapter.A)
    assert error == pytest.approx(np.sqrt((singular[2:] ** 2).sum()), rel=1e-4)


@pytest.mark.parametrize(
    "unfit",
    [
        {"space": EmbeddingSpace("another", 6)},
        {"space": EmbeddingSpace("toy", 6, normalised=True)},
        {"space": EmbeddingSpace("toy", 5), "centroid": np.ones(5), "prior": make_prior(dim=5)},
        {"objective": "contrastive"},
        {"min_similarity": 0.9, "centroid": np.array([0, 1.0, 0, 0, 0, 0])},
        {"prior": None},
    ],
    ids=["space", "normalisation", "dim", "objective", "context", "no weights"],
)
async def test_an_unfit_skill_is_not_used(unfit: dict[str, Any]) -> None:
    adapter = await start([make_skill(**unfit)])
    assert (adapter.skill_ids, np.abs(adapter.B).max()) == ((), 0.0)


async def test_the_most_specific_fitting_skill_is_used() -> None:
    near = make_skill(id="near", min_similarity=0.8, parent_id="mse/everyone")
    far = make_skill(id="far", min_similarity=0.9, centroid=-CONTEXT)
    bare = make_skill(id="bare", min_similarity=0.95, prior=None)
    assert (await start([make_skill(), near, far, bare])).skill_ids == ("near",)
    assert (await start([make_skill(), near, far, bare], context=X[0])).skill_ids != ("near",)
    assert (await start([make_skill(), near], context=None)).skill_ids == ()
    assert (await start([make_skill(), near], context=np.zeros(6))).skill_ids == ("mse/everyone",)


async def test_a_slow_or_broken_bank_starts_users_as_the_identity() -> None:
    for act, failures in ((hanging, 0), (failing(), 1)):
        bank = ScriptedBank()
        bank.script["skills"] = act
        query = QueryConfig(budget=0.02, failures_to_open=1)
        async with Engine(make_config(query=query), bank, clock=FakeTime().clock) as engine:
            adapter = await engine.create_adapter("u", context=CONTEXT)
            assert adapter.skill_ids == ()
            assert (engine.bank_state == "degraded") == bool(failures), "slow is not broken"
            asked = bank.calls["skills"]
            await engine.create_adapter("v", context=CONTEXT)
            assert bank.calls["skills"] == asked + (not failures)


async def test_groups_of_another_objective_are_left_alone() -> None:
    people, bank = People("mse"), ScriptedBank()
    async with Engine(people.config(), bank) as engine:
        await people.live(engine)
        found = await bank.inner.auto_consolidate("default", ConsolidationCriteria(max_groups=0))
        other = replace(found.skills[0], id="contrastive/everyone", objective="contrastive")

        async def both() -> object:
            return replace(found, skills=(*found.skills, other))

        bank.script["auto_consolidate"] = both
        report = await engine.consolidate_adaptation_patterns()
        assert [group.kept for group in report.groups] == [True, False]
        assert "objective" in report.groups[1].reason
        [skill] = await bank.skills("default")
        assert skill.objective == "mse"


async def test_a_refined_skill_names_the_users_behind_its_parent_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consolidator_module, "prove", lambda *_: EVIDENCE)
    people, bank = People("mse"), ScriptedBank()
    async with Engine(people.config(), bank) as engine:
        await people.live(engine)
        found = await bank.inner.auto_consolidate("default", ConsolidationCriteria(max_groups=0))
        everyone = found.skills[0]
        half = replace(
            everyone, id="mse/group-1", user_keys=everyone.user_keys[:-9], parent_id=everyone.id
        )

        async def both() -> object:
            return replace(found, skills=(everyone, half))

        bank.script["auto_consolidate"] = both
        await engine.consolidate_adaptation_patterns()
        for skill in await bank.skills("default"):
            assert skill.prior is not None
            assert set(skill.user_keys) == set(everyone.user_keys)
        assert len(await bank.skills("default")) == 2


def test_a_reward_beside_a_target_weighs_the_row() -> None:
    keys = [user_key(f"{i}", b"k") for i in range(6)]
    x, target = np.ones((4, 3), np.float32), np.full((4, 3), 2.0, np.float32)
    reward = np.array([1.0, 0.5, 0.0, 0.0], np.float32)
    rows = collect_rows({key: [Feedback(x, target, reward=reward)] for key in keys}, "mse")
    assert rows is not None
    task = MseTask(rows, Calibration())
    assert task.judged.tolist() == [True, True, False, False] * 6
    batch = task.minibatch(np.arange(4), np.random.default_rng(0))
    assert isinstance(batch, MseBatch)
    assert batch.weights is not None
    assert np.array_equal(batch.weights, reward)
    alone = collect_rows({keys[0]: [Feedback(x, reward=reward)]}, "mse")
    assert alone is not None
    assert alone.target is not None
    assert (alone.weight.tolist(), alone.target[1, 0]) == ([1.0] * 4, 0.5)
    identity = Candidate(None, Calibration())
    evidence = prove(task, identity, identity, np.arange(24), 0.95)
    assert (evidence.mean, evidence.users) == (0.0, 6)


def test_users_are_split_for_good_and_apart() -> None:
    keys = [user_key(f"{i}", b"k") for i in range(2000)]
    split = split_users(keys, 0.2)
    assert np.array_equal(split.fit.astype(int) + split.stop + split.proof, np.ones(2000, int))
    assert 0.08 < split.stop.mean() < 0.12
    assert 0.08 < split.proof.mean() < 0.12
    some = split_users(keys[::3], 0.2)
    assert np.array_equal(some.proof, split.proof[::3])
