"""Forgetting, merging, finding similar adaptations, and counting."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from tests.engine.banks import (
    SPACE,
    ScriptedBank,
    answering,
    failing,
    hanging,
    make_config,
    make_feedback,
    run_updates,
    settle,
    waiting_for,
)

from lorabank import (
    BankError,
    BankRejectedError,
    BankUnavailableError,
    EngineStats,
    Evidence,
    Feedback,
    QueryConfig,
    Skill,
    user_key,
)
from lorabank import LoRAPersonalizationEngine as Engine

KEY = user_key("u", b"lorabank")


def skill(name: str, *keys: str) -> Skill:
    return Skill(
        id=name,
        namespace="default",
        name=name,
        space=SPACE,
        objective="mse",
        centroid=np.ones(6, np.float32),
        min_similarity=-1.0,
        evidence=Evidence(0.1, 0.05, 0.15, 9, 9),
        passed=True,
        user_keys=keys,
        created_at=1e9,
    )


async def test_forgetting_leaves_nothing_of_a_user() -> None:
    bank, gate = ScriptedBank(), anyio.Event()
    async with Engine(make_config(), bank) as engine:
        await bank.put_skill(skill("theirs", KEY, "another"))
        await bank.put_skill(skill("ours", "another"))
        adapters = [await engine.create_adapter(user) for user in ("u", "v")]
        for delivered in (True, False):  # some in the bank, some on their way, some unscored
            if not delivered:
                bank.script["store_patterns"] = waiting_for(gate)
            for i, adapter in enumerate(adapters):
                adapters[i], _ = await run_updates(engine, adapter, 3)
            if delivered:
                await engine.flush()
        await settle()
        assert KEY in {pattern.user_key for pattern in await bank.stored()}
        async with anyio.create_task_group() as group:
            group.start_soon(engine.forget, "u")
            await settle()
            gate.set()
        assert list(await engine.replay.snapshot(0.0)) == [user_key("v", b"lorabank")]
        assert engine.stats().cache_entries == 0
        await engine.flush()
        assert KEY not in {pattern.user_key for pattern in await bank.stored()}
        assert [found.id for found in await bank.skills("default")] == ["ours"]
    assert KEY not in {pattern.user_key for pattern in await bank.stored()}
    assert len(await bank.stored()) == 6, "the other user's are all there"


async def test_forgetting_says_how_many_patterns_went() -> None:
    async with Engine(make_config(), "memory://") as engine:
        await run_updates(engine, await engine.create_adapter("u"), 4)
        await engine.flush()
        assert (await engine.forget("u"), await engine.forget("u")) == (3, 0)
    async with Engine(make_config()) as engine:
        await run_updates(engine, await engine.create_adapter("u"), 4)
        assert await engine.forget("u") == 0
        assert (engine.replay.users, engine.replay.size) == (0, 0)


async def test_forgetting_when_the_bank_fails_does_the_local_part() -> None:
    bank = ScriptedBank()
    for act in (failing(BankUnavailableError("down")), hanging):
        bank.script["forget"] = act
        config = make_config(query=QueryConfig(deadline=0.05))
        async with Engine(config, bank) as engine:
            await run_updates(engine, await engine.create_adapter("u"), 1)
            with pytest.raises(BankUnavailableError):
                await engine.forget("u")
            assert engine.replay.users == 0
    assert await bank.stored() == [], "the pending episode went, too"


async def test_an_answer_under_way_is_not_cached_after_forgetting() -> None:
    bank, gate = ScriptedBank(), anyio.Event()
    bank.script["retrieve_patterns"] = waiting_for(gate)
    async with Engine(make_config(query=QueryConfig(budget=0.01)), bank) as engine:
        await run_updates(engine, await engine.create_adapter("v"), 1)
        await engine.forget("u")
        gate.set()
        await settle()
        assert engine.stats().cache_entries == 0


async def test_merging_averages_what_adapters_do() -> None:
    x = np.random.default_rng(5).standard_normal((7, 6)).astype(np.float32)
    async with Engine(make_config(rank=6)) as engine:
        adapters = []
        for i in range(3):
            adapter = await engine.create_adapter(f"user {i}")
            adapters.append((await run_updates(engine, adapter, 3, seed=i))[0])
        merged = engine.merge_adapters(adapters, user_id="all")
        mean = np.mean([adapter.transform(x) for adapter in adapters], axis=0)
        np.testing.assert_allclose(merged.transform(x), mean, atol=1e-5)
        weighted = engine.merge_adapters(adapters, [3, 1, 0])
        wanted = 0.75 * adapters[0].transform(x) + 0.25 * adapters[1].transform(x)
        np.testing.assert_allclose(weighted.transform(x), wanted, atol=1e-5)
        assert (merged.user_id, weighted.user_id) == ("all", "user 0")
        assert (merged.version, merged.sample_count, merged.pending) == (0, 36, None)
        await run_updates(engine, merged, 2)


async def test_similar_adaptations_are_good_ones_by_context() -> None:
    bank = ScriptedBank()
    x = np.random.default_rng(0).standard_normal((8, 6))
    async with Engine(make_config(), bank) as engine:
        for i in range(6):
            adapter = await engine.create_adapter(f"user {i}")
            mine = x[i] + 0.01 * np.random.default_rng(i).standard_normal((4, 6))
            for _ in range(6):
                target = mine * 0.5 if i % 2 else mine * (1 + 1e-4)
                adapter, _ = await engine.update_adapter(adapter, Feedback(mine, target))
        await engine.flush()
        found = await engine.get_similar_adaptations(x[1], k=3)
        assert len(found) == 3
        assert [match.score for match in found] == sorted((m.score for m in found), reverse=True)
        assert {m.pattern.user_key for m in found} == {user_key("user 1", b"lorabank")}
        assert all((m.pattern.reward or 0) >= 0.7 for m in found)
        assert await engine.get_similar_adaptations(x[1], k=0) == []
        every = await engine.get_similar_adaptations(x[0], k=100, min_reward=0.0)
        assert len(every) == 30
        best = await engine.get_similar_adaptations(x[0], k=100, min_reward=0.99)
        assert all((m.pattern.reward or 0) >= 0.99 for m in best)
        for act, error in (
            (answering("nonsense"), BankRejectedError),
            (failing(), BankUnavailableError),
        ):
            bank.script["retrieve_patterns"] = act
            with pytest.raises(error):
                await engine.get_similar_adaptations(x[1])
    async with Engine(make_config()) as engine:
        assert await engine.get_similar_adaptations(x[1]) == []
        with pytest.raises(BankError, match="no bank"):
            await engine.consolidate_adaptation_patterns()


async def test_counts_go_on_over_several_banks() -> None:
    async with Engine(make_config(), "memory://") as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 5)
        await engine.connect_reasoning_bank("memory://")
        await run_updates(engine, adapter, 3)
    stats = engine.stats()
    assert isinstance(stats, EngineStats)
    # Five on the first bank, the last unscored; scored, and two more, on the second; one pending.
    assert (stats.updates, stats.delivered, stats.waiting) == (8, 9, 0)
    assert (stats.rejected, stats.dead, stats.skills_used) == (0, 0, 0)
    assert (stats.replay_users, stats.bank) == (1, "disconnected")
    assert stats.replay_bytes == 8 * make_feedback(np.random.default_rng(0)).nbytes
    assert stats.cache_hits + stats.cache_misses == 8
