"""A population behind the personalizer: stored, shared, mixed, served, forgotten."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import anyio
import numpy as np
import pytest
from tests.personalizer.stores import ScriptedStore, key, until
from tests.support.populations import (
    DIM,
    ITEMS,
    SPACE,
    make_likes,
    make_neighbours,
    make_pool,
    make_population,
)

from lorabank import (
    BankError,
    EngineConfig,
    Feedback,
    InvalidInputError,
    ItemPool,
    LoRAPersonalizationEngine,
    Personalizer,
    UpdateReport,
)
from lorabank.config import ContrastiveConfig, MixtureConfig
from lorabank.experts import BoundExperts
from lorabank.numerics.contrastive import log_sum_exp
from lorabank.population import Population
from lorabank.stores import MemoryAdapterStore, PopulationRecord, open_adapter_store
from lorabank.types.mixture import ExpertState

POOL = make_pool()


def config_of(**changes: Any) -> EngineConfig:
    settings: dict[str, Any] = {
        "rank": 2,
        "objective": "contrastive",
        "contrastive": ContrastiveConfig(negatives=ITEMS),
    }
    return EngineConfig(SPACE, **(settings | changes))


async def put(store: Any, population: Population, *users: str, at: float = 0.0) -> None:
    record = PopulationRecord(population.to_bytes(), tuple(map(key, users)), at)
    await store.put_population("default", record)


async def learn(p: Personalizer, user: str, count: int, seed: int = 0) -> list[UpdateReport]:
    rng = np.random.default_rng(seed)
    return [await p.learn(user, make_likes(rng, 4)) for _ in range(count)]


async def state_of(store: Any, user: str) -> ExpertState:
    stored = await store.get(user)
    assert stored is not None
    assert stored.adapter.experts is not None
    return stored.adapter.experts


async def test_a_user_is_served_the_mixture_of_probabilities(store_url: str) -> None:
    """Exact over the pool, over some positions, and over vectors; against the definition."""
    async with open_adapter_store(store_url) as store:
        await put(store, make_population(), "bob")
        async with Personalizer.open(config_of(), store=store, items=POOL) as p:
            for user, count in (("ada", 6), ("new", 0)):
                await learn(p, user, count)
                x = np.random.default_rng(1).normal(size=DIM).astype(np.float32)
                found = await p.rank(user, x, None, ITEMS)
                weights = await p.expert_weights(user)
                assert weights is not None
                assert weights.observed == 4 * count
                assert weights.names == (*make_population().names, "own")
                adapter = await p._parts.adapters.to_serve(user, x)
                bound = BoundExperts(make_population(), POOL)
                recent = () if adapter.experts is None else adapter.experts.recent
                for newest in (recent, (5, 6)):
                    history = np.array([newest], np.int64)
                    own = adapter.transform(bound.base_output(x[None]))
                    logits = [
                        *bound.scorer.all_logits(x[None], history)[:, 0],
                        bound.scorer.logits("shared+residuals", own, history)[0],
                    ]
                    some = np.array([4, 30, 4, 17])
                    for positions in (np.arange(ITEMS), some):
                        chosen = np.unique(positions)
                        parts = np.array(logits, np.float64)[:, chosen]
                        p_each = np.exp(parts - log_sum_exp(parts)[:, None])
                        want = dict(zip(chosen, np.log(weights.weights @ p_each), strict=True))
                        found = await p.rank(user, x, positions, ITEMS, recent=newest)
                        assert sorted(r.position for r in found) == sorted(positions)
                        scores = [r.score for r in found]
                        assert scores == sorted(scores, reverse=True)
                        for r in found:
                            assert r.score == pytest.approx(want[r.position], abs=1e-3)
                whole = await p.rank(user, x, None, ITEMS)
                assert math.fsum(math.exp(r.score) for r in whole) == pytest.approx(1)
                assert whole == await p.rank(user, x, None, ITEMS, recent=recent)
                by_vector = await p.rank(user, x, POOL.vectors, ITEMS)
                assert math.fsum(math.exp(r.score) for r in by_vector) == pytest.approx(1)
                assert await p.rank(user, x, [], 3) == []


async def test_transform_is_the_vector_of_the_geometric_mixture() -> None:
    store = MemoryAdapterStore()
    await put(store, make_population())
    async with Personalizer.open(config_of(), store=store, items=POOL) as p:
        await learn(p, "ada", 5)
        X = np.random.default_rng(2).normal(size=(3, DIM)).astype(np.float32)
        weights = await p.expert_weights("ada")
        assert weights is not None
        bound = BoundExperts(make_population(), POOL)
        adapter = await p._parts.adapters.to_serve("ada", X[0])
        own = adapter.transform(bound.base_output(X))
        outputs = [*(bound.scorer.transform(e.name, X) for e in bound.experts), own]
        pull = np.array(weights.weights) * [*(e.tau for e in bound.experts), bound.base_tau]
        want = np.tensordot(pull / pull.sum(), np.array(outputs), 1)
        np.testing.assert_allclose(await p.transform("ada", X), want, rtol=1e-4, atol=1e-5)
        one = await p.transform("ada", X[1])
        assert one.shape == (DIM,)
        np.testing.assert_allclose(one, want[1], rtol=1e-4, atol=1e-5)
        residuals = make_population().residuals
        assert residuals is not None
        vectors = await p.item_vectors()
        np.testing.assert_array_equal(vectors, residuals.item_vectors(POOL))
        assert not vectors.flags.writeable


async def test_the_excess_over_the_identity_stays_bounded_for_every_user(store_url: str) -> None:
    async with open_adapter_store(store_url) as store:
        await put(store, make_population())
        async with Personalizer.open(config_of(), store=store, items=POOL) as p:
            for i, user in enumerate(("ada", "bob", "cyd")):
                excess = 0.0
                for report in await learn(p, user, 12, seed=i):
                    assert report.mixture is not None
                    excess += 4 * (report.mixture.loss - report.mixture.identity_loss)
                    assert excess <= math.log(1 / MixtureConfig().identity_weight) + 1e-6
                    assert "identity" in report.mixture.explain()


async def test_without_a_population_everything_is_as_before(store_url: str) -> None:
    """And the items that were liked are remembered for the day when one is there."""
    feedback = make_likes(np.random.default_rng(3), 4)
    x = feedback.x[0]
    served = []
    for mixture in (MixtureConfig(), MixtureConfig(enabled=False)):
        async with open_adapter_store("memory://") as store:
            async with Personalizer.open(config_of(mixture=mixture), store=store, items=POOL) as p:
                report = await p.learn("ada", feedback)
                assert report.mixture is None
                assert await p.expert_weights("ada") is None
                np.testing.assert_array_equal(await p.item_vectors(), POOL.vectors)
                served.append((await p.transform("ada", x), await p.rank("ada", x)))
            stored = await store.get("ada")
            assert stored is not None
            assert (stored.adapter.experts is not None) is mixture.enabled
    np.testing.assert_array_equal(served[0][0], served[1][0])
    assert served[0][1] == served[1][1]


async def test_switched_off_a_stored_population_is_left_alone() -> None:
    store = MemoryAdapterStore()
    await put(store, make_population())
    config = config_of(mixture=MixtureConfig(enabled=False))
    async with Personalizer.open(config, store=store, items=POOL) as p:
        assert (await learn(p, "ada", 1))[0].mixture is None
        assert await p.expert_weights("ada") is None


async def test_the_mixture_is_committed_with_the_adapter(store_url: str) -> None:
    """Many updates at once: each user's state is that of the updates one after the other."""
    users = [f"user{i}" for i in range(5)]
    batches = [make_likes(np.random.default_rng(i), 2) for i in range(8)]
    called: list[tuple[str, Feedback]] = []

    async def call(p: Personalizer, user: str, batch: Feedback) -> None:
        called.append((user, batch))
        await p.learn(user, batch)

    async with open_adapter_store(store_url) as store:
        await put(store, make_population())
        async with (
            Personalizer.open(config_of(), store=store, items=POOL) as p,
            anyio.create_task_group() as tasks,
        ):
            for batch in batches:
                for user in users:
                    tasks.start_soon(call, p, user, batch)
        many = [await state_of(store, user) for user in users]
    async with open_adapter_store("memory://") as store:
        await put(store, make_population())
        async with Personalizer.open(config_of(), store=store, items=POOL) as p:
            for user, batch in called:
                await p.learn(user, batch)
        assert [await state_of(store, user) for user in users] == many
    assert {state.mixture.observed for state in many if state.mixture} == {16}


async def test_an_update_that_fails_leaves_the_mixture_as_it_was() -> None:
    store = ScriptedStore()
    await put(store, make_population())
    async with Personalizer.open(config_of(), store=store, items=POOL) as p:
        await learn(p, "ada", 2)
        before = await state_of(store, "ada")

        async def fail() -> None:
            raise ZeroDivisionError

        store.script["commit"] = fail
        with pytest.raises(ZeroDivisionError):
            await learn(p, "ada", 1)
        del store.script["commit"]
        assert await state_of(store, "ada") == before
        assert (await p.expert_weights("ada")).observed == 8  # type: ignore[union-attr]


async def test_rankings_lean_towards_neighbours_and_probabilities_do_not(store_url: str) -> None:
    """The order is that of log p plus the tilt; the scores are those without it."""
    straight = make_population()
    lean = make_neighbours(np.random.default_rng(3))
    leaning = replace(straight, tilt=2.0, lean=lean)
    recent, x = (5, 6), np.random.default_rng(1).normal(size=DIM).astype(np.float32)
    near = np.log1p(lean.scores(np.array([recent]))[0])
    found = []
    for population in (straight, leaning):
        async with open_adapter_store(store_url) as store:
            await put(store, population)
            async with Personalizer.open(config_of(), store=store, items=POOL) as p:
                found.append(await p.rank("new", x, None, ITEMS, recent=recent))
                some = await p.rank("new", x, [4, 30, 4, 17], 4, recent=recent)
                order = [some[i].score + population.tilt * near[some[i].position] for i in range(4)]
                assert order == sorted(order, reverse=True)
    scores = [{r.position: r.score for r in ranked} for ranked in found]
    for position, score in scores[1].items():
        assert score == pytest.approx(scores[0][position], abs=1e-5)
    order = [r.score + 2.0 * near[r.position] for r in found[1]]
    assert order == sorted(order, reverse=True)
    assert [r.position for r in found[0]] != [r.position for r in found[1]]


async def test_processes_see_a_new_population_and_do_not_take_turns(sqlite_url: str) -> None:
    """One learns of it when it is due; or from the first adapter that has met it."""
    async with (
        open_adapter_store(sqlite_url) as store,
        Personalizer.open(config_of(), store=sqlite_url, items=POOL, fresh_for=0) as one,
        Personalizer.open(config_of(), store=sqlite_url, items=POOL, fresh_for=1e9) as other,
    ):
        assert await one.expert_weights("ada") is None
        assert await other.expert_weights("ada") is None
        first, second = make_population(), make_population(seed=1)
        await put(store, first)
        await learn(one, "ada", 2)
        assert (await state_of(store, "ada")).population == first.id
        assert await other.expert_weights("ada") is None
        for i in range(4):
            await learn((other, one)[i % 2], "ada", 1)
            state = await state_of(store, "ada")
            assert (state.population, state.mixture.observed) == (first.id, 12 + 4 * i)  # type: ignore[union-attr]
        await put(store, second)
        await learn(one, "ada", 1)
        await learn(other, "ada", 1)
        state = await state_of(store, "ada")
        assert (state.population, state.mixture.observed) == (second.id, 8)  # type: ignore[union-attr]
        assert await store.delete_population("default")
        assert await one.expert_weights("ada") is None


async def test_a_population_that_does_not_fit_is_left_unused() -> None:
    """The catalogue has changed since, or the bytes are damaged: users are still served."""
    fitting = make_population()
    experts = tuple(replace(expert, neighbour_weight=0.0) for expert in fitting.experts)
    larger = replace(fitting, items=ITEMS + 1, neighbours=None, experts=experts)
    for body in (b"damaged", larger.to_bytes()):
        store = MemoryAdapterStore()
        await store.put_population("default", PopulationRecord(body, (), 0.0))
        async with Personalizer.open(config_of(), store=store, items=POOL, fresh_for=0) as p:
            assert (await learn(p, "ada", 1))[0].mixture is None
            assert len(await p.rank("ada", np.ones(DIM))) == 10
            await put(store, make_population())
            assert (await learn(p, "ada", 1))[0].mixture is not None


async def test_bad_recent_items() -> None:
    async with Personalizer.open(config_of(), items=POOL) as p:
        for bad in ([ITEMS], [-1], [0.5], [[1]], "text"):
            with pytest.raises(InvalidInputError, match="recent"):
                await p.rank("ada", np.ones(DIM), recent=bad)
    async with Personalizer.open(EngineConfig(SPACE)) as p:
        with pytest.raises(InvalidInputError, match="items"):
            await p.item_vectors()


# ---- from consolidation to forgetting ---------------------------------------------------------


def groupies(rng: np.random.Generator, count: int) -> Feedback:
    """Who likes one of the last ten items likes the others of them next, whatever the context."""
    return Feedback(rng.normal(size=(count, DIM)), items=ITEMS - 1 - rng.integers(0, 10, count))


async def crowd(p: Personalizer, users: int = 60, count: int = 12) -> None:
    async with anyio.create_task_group() as tasks:
        for i in range(users):
            rng = np.random.default_rng([7, i])
            tasks.start_soon(p.learn, f"user{i}", groupies(rng, count))


async def test_consolidation_without_a_bank_makes_the_population(store_url: str) -> None:
    """It is stored without naming anyone, and serves everybody at once."""
    told: list[float] = []
    async with open_adapter_store(store_url) as store:
        async with Personalizer.open(config_of(), store=store, items=POOL) as p:
            await crowd(p)
            report = await p.consolidate(on_population=lambda step: told.append(step.done))
            assert report.population is not None
            assert set(report.population.user_keys) == {key(f"user{i}") for i in range(60)}
            weights = await p.expert_weights("new")
            assert weights is not None
            assert len(weights.names) > 2
            assert (await learn(p, "user0", 1))[0].mixture is not None
        stored = await store.get_population("default")
        assert stored is not None
        assert not stored.state.stale
        kept = Population.from_bytes(stored.body)
        assert kept.user_keys == ()
        assert all(adapter.user_keys == () for adapter in kept.adapters)
        assert key("user0").encode() not in stored.body
        assert (await store.remains("user0", key("user0"))).populations == 1
    assert told
    assert max(told) <= 1


async def test_forgetting_makes_the_population_again_without_the_user(sqlite_url: str) -> None:
    async with (
        open_adapter_store(sqlite_url) as store,
        Personalizer.open(config_of(), store=sqlite_url, items=POOL) as p,
    ):
        await crowd(p)
        await p.consolidate()
        before = await store.population_state("default")
        assert before is not None
        receipt = await p.forget("user3")
        assert receipt.removed.populations == 1
        assert receipt.verified

        async def is_rebuilt() -> bool:
            state = await store.population_state("default")
            assert state is not None
            return not state.stale and state.generation != before.generation

        await until(is_rebuilt, 60)
        assert (await store.remains("user3", key("user3"))).total == 0
        assert (await p.forget("stranger")).removed.populations == 0


async def test_a_rebuild_that_never_came_is_made_up_for_at_the_next_start(sqlite_url: str) -> None:
    async with open_adapter_store(sqlite_url) as store:
        async with Personalizer.open(config_of(), store=sqlite_url, items=POOL) as p:
            await crowd(p)
            await p.consolidate()
        await store.forget("user3", key("user3"), 2e9)
        assert (await store.population_state("default")).stale  # type: ignore[union-attr]
        async with Personalizer.open(config_of(), store=sqlite_url, items=POOL):

            async def is_rebuilt() -> bool:
                state = await store.population_state("default")
                return state is not None and not state.stale

            await until(is_rebuilt, 60)


async def test_when_everybody_is_forgotten_the_population_goes() -> None:
    store = MemoryAdapterStore()
    await put(store, make_population(), "ada", at=1e9)
    async with Personalizer.open(config_of(), store=store, items=POOL) as p:
        await learn(p, "ada", 1)
        await p.forget("ada")

        async def is_gone() -> bool:
            return await store.get_population("default") is None

        await until(is_gone)
        assert await p.expert_weights("ada") is None


async def test_without_a_pool_consolidation_needs_a_bank() -> None:
    async with Personalizer.open(EngineConfig(SPACE)) as p:
        with pytest.raises(BankError, match="no bank"):
            await p.consolidate()


async def test_the_engine_alone_uses_a_population_when_it_is_told_to() -> None:
    async with LoRAPersonalizationEngine(config_of(), items=POOL) as engine:
        assert engine.population is None
        for i in range(60):
            adapter = await engine.create_adapter(f"user{i}")
            await engine.update_adapter(adapter, groupies(np.random.default_rng([7, i]), 12))
        report = await engine.consolidate_adaptation_patterns()
        assert engine.population is None
        assert report.population is not None
        await engine.use_population(report.population)
        adapter = await engine.create_adapter("new")
        result = await engine.update_adapter(adapter, make_likes(np.random.default_rng(0), 3))
        assert result.report.mixture is not None
        assert result.adapter.experts is not None
        assert result.adapter.experts.population == report.population.id
        await engine.use_population(None)
        assert engine.experts is None


async def test_a_merged_adapter_knows_nothing_of_what_one_user_liked() -> None:
    async with LoRAPersonalizationEngine(config_of(), items=POOL) as engine:
        await engine.use_population(make_population())
        adapters = []
        for i, user in enumerate(("ada", "bob")):
            feedback = make_likes(np.random.default_rng(i), 5)
            adapter = await engine.create_adapter(user)
            adapters.append((await engine.update_adapter(adapter, feedback)).adapter)
        assert all(adapter.experts is not None for adapter in adapters)
        assert engine.merge_adapters(adapters, user_id="both").experts is None


async def test_a_new_user_on_a_shared_adapter_starts_from_no_skill() -> None:
    """A skill's weights on top of it would do the same thing twice."""
    async with LoRAPersonalizationEngine(config_of(), "memory://", items=POOL) as engine:
        assert not engine._stands_on_shared()
        await engine.use_population(make_population())
        assert engine._stands_on_shared()
        alone = replace(make_population(), experts=make_population().experts[:1])
        await engine.use_population(alone)
        assert not engine._stands_on_shared()


async def test_an_engine_refuses_a_population_that_does_not_fit() -> None:
    other = replace(make_population(), space=replace(SPACE, name="other"))
    small = ItemPool(POOL.vectors[:7])
    cases = [(config_of(), POOL, other), (config_of(), small, make_population())]
    cases += [(EngineConfig(SPACE), POOL, make_population())]
    for config, pool, population in cases:
        async with LoRAPersonalizationEngine(config, items=pool) as engine:
            with pytest.raises(InvalidInputError, match=r"p(opulation|ool)"):
                await engine.use_population(population)
            assert engine.population is None


async def test_many_users_of_a_population_are_served_as_each_is(store_url: str) -> None:
    async with open_adapter_store(store_url) as store:
        await put(store, make_population(), "bob")
        async with Personalizer.open(config_of(), store=store, items=POOL) as p:
            await learn(p, "ada", 3)
            asked = ["ada", "new", "ada"]
            X = np.random.default_rng(1).normal(size=(3, DIM)).astype(np.float32)
            found = await p.forward_many(asked, X)
            for row, user in enumerate(asked):
                assert (found[row] == await p.transform(user, X[row])).all()
                assert (found[row] != X[row]).any()
