"""Bad input: a typed error that names the field, and nothing has changed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from tests.engine.banks import SPACE, ScriptedBank, make_config, make_feedback, run_updates

from lorabank import (
    Adapter,
    CodecError,
    EmbeddingSpace,
    EngineConfig,
    Feedback,
    InvalidInputError,
    ItemPool,
)
from lorabank import LoRAPersonalizationEngine as Engine

ONES = np.ones((3, 6))
NAN = math.nan


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Feedback(np.ones((0, 6)), np.ones((0, 6))), "feedback.x"),
        (lambda: Feedback(ONES.astype(str), ONES), "feedback.x"),
        (lambda: Feedback(ONES.astype(complex), ONES), "feedback.x"),
        (lambda: Feedback(ONES > 0, ONES), "feedback.x"),
        (lambda: Feedback(ONES * NAN, ONES), "feedback.x"),
        (lambda: Feedback(ONES * math.inf, ONES), "feedback.x"),
        (lambda: Feedback(ONES * 1e300, ONES), "feedback.x"),
        (lambda: Feedback(ONES, ONES * NAN), "feedback.target"),
        (lambda: Feedback(ONES, np.ones((3, 5))), "feedback.target"),
        (lambda: Feedback(ONES, np.ones((2, 6))), "feedback.target"),
        (lambda: Feedback(ONES, reward=[0.0, 1.0, 1.5]), "feedback.reward"),
        (lambda: Feedback(ONES, reward=[0.0, 1.0, -0.1]), "feedback.reward"),
        (lambda: Feedback(ONES, reward=[0.0, NAN, 0.0]), "feedback.reward"),
        (lambda: Feedback(ONES, reward=[0.5]), "feedback.reward"),
        (lambda: Feedback(ONES, items=[0, 1, -1]), "feedback.items"),
        (lambda: Feedback(ONES, items=[0.5, 1, 2]), "feedback.items"),
        (lambda: Feedback(ONES, ONES, negatives=ONES * NAN), "feedback.negatives"),
        (lambda: Feedback(ONES), "feedback"),
        (lambda: EngineConfig(SPACE, rank=0), "rank"),
        (lambda: EngineConfig(SPACE, rank=-1), "rank"),
        (lambda: EngineConfig(SPACE, rank=7), "rank"),
        (lambda: EngineConfig(SPACE, rank=2.0), "rank"),  # type: ignore[arg-type]
        (lambda: make_config(objective="hinge"), "objective"),
        (lambda: make_config(alpha=NAN), "alpha"),
        (lambda: EngineConfig("toy"), "config.space"),  # type: ignore[arg-type]
        (lambda: Engine("config"), "config"),  # type: ignore[arg-type]
        (lambda: Engine(make_config(), items=ItemPool(np.ones((4, 5)))), "items"),
    ],
)
def test_what_is_refused_when_it_is_made(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make()
    assert caught.value.field == field
    assert "expected" in str(caught.value)


def updating(feedback: object) -> Callable[[Engine, Adapter], Awaitable[Any]]:
    return lambda engine, adapter: engine.update_adapter(adapter, feedback)  # type: ignore[arg-type]


async def foreign(config: EngineConfig) -> Adapter:
    async with Engine(config) as engine:
        return await engine.create_adapter("u")


async def update_foreign(engine: Engine, **changes: Any) -> None:
    options: dict[str, Any] = {"space": SPACE, "rank": 2} | changes
    config = EngineConfig(**options)
    feedback = make_feedback(np.random.default_rng(0), dim=config.space.dim)
    await engine.update_adapter(await foreign(config), feedback)


async def merge(engine: Engine, adapters: list[Any], weights: list[float] | None = None) -> None:
    engine.merge_adapters(adapters, weights)


async def merge_ranks(engine: Engine, adapter: Adapter) -> None:
    await merge(engine, [adapter, await foreign(make_config(rank=3))])


CALLS: list[tuple[Callable[[Engine, Adapter], Awaitable[Any]], str]] = [
    (updating(Feedback(np.ones((3, 5)), np.ones((3, 5)))), "feedback.x"),
    (updating(Feedback(np.zeros((3, 6)), ONES)), "feedback.x"),
    (updating(Feedback(ONES, ONES, reward=[0, 0, 0])), "feedback.reward"),
    (updating(Feedback(ONES, items=[0, 1, 2])), "feedback.items"),
    (updating(Feedback(ONES * 1e30, ONES)), "feedback.x"),
    (updating({"x": ONES}), "feedback"),
    (lambda e, _: e.update_adapter(None, Feedback(ONES, ONES)), "adapter"),  # type: ignore[arg-type]
    (lambda e, _: update_foreign(e, objective="contrastive"), "adapter.objective"),
    (lambda e, _: update_foreign(e, space=EmbeddingSpace("another", 6)), "adapter.space"),
    (lambda e, _: update_foreign(e, space=EmbeddingSpace("toy", 5)), "adapter.space"),
    (lambda e, _: e.create_adapter(""), "user_id"),
    (lambda e, _: e.create_adapter(7), "user_id"),  # type: ignore[arg-type]
    (lambda e, _: e.create_adapter("u", context=np.ones(5)), "context"),
    (lambda e, _: e.create_adapter("u", context=ONES[0] * NAN), "context"),
    (lambda e, _: e.get_similar_adaptations(np.ones(5)), "context"),
    (lambda e, _: e.get_similar_adaptations(np.ones(6), k=-1), "k"),
    (lambda e, _: e.get_similar_adaptations(np.ones(6), k=1.5), "k"),  # type: ignore[arg-type]
    (lambda e, _: e.get_similar_adaptations(np.ones(6), min_reward=2.0), "min_reward"),
    (lambda e, _: e.get_similar_adaptations(np.ones(6), min_reward=NAN), "min_reward"),
    (lambda e, _: e.forget(""), "user_id"),
    (lambda e, _: e.consolidate_adaptation_patterns("mine"), "criteria"),  # type: ignore[arg-type]
    (lambda e, _: merge(e, []), "adapters"),
    (lambda e, a: merge(e, [a, "x"]), "adapters"),
    (lambda e, a: merge(e, [a, a], [1.0]), "weights"),
    (lambda e, a: merge(e, [a, a], [1.0, -1.0]), "weights"),
    (lambda e, a: merge(e, [a, a], [0.0, 0.0]), "weights"),
    (lambda e, a: merge(e, [a, a], [1.0, NAN]), "weights"),
    (merge_ranks, "adapters.rank"),
]


@pytest.mark.parametrize(("call", "field"), CALLS)
async def test_nothing_has_changed(
    call: Callable[[Engine, Adapter], Awaitable[Any]], field: str
) -> None:
    bank = ScriptedBank()
    async with Engine(make_config(), bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 3)
        await engine.flush()
        state = (adapter.to_bytes(), engine.stats(), len(await bank.stored()))
        calls = bank.calls.copy()
        with pytest.raises(InvalidInputError) as caught:
            await call(engine, adapter)
        assert caught.value.field == field
        assert (adapter.to_bytes(), engine.stats(), len(await bank.stored())) == state
        assert bank.calls == calls, "the bank was not even asked"
        _, [report] = await run_updates(engine, adapter, 1)
        assert report.episode == "queued"


async def test_values_too_large_to_learn_from() -> None:
    bank = ScriptedBank()
    async with Engine(make_config(), bank) as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 2)
        await engine.flush()
        before = (adapter.to_bytes(), engine.replay.size, len(await bank.stored()))
        with pytest.raises(InvalidInputError, match="moderate"):
            await engine.update_adapter(adapter, Feedback(ONES, ONES * 1e25))
        assert (adapter.to_bytes(), engine.replay.size, len(await bank.stored())) == before


async def test_items_outside_the_pool() -> None:
    config = make_config(objective="contrastive")
    async with Engine(config, items=ItemPool(np.eye(6))) as engine:
        adapter = await engine.create_adapter("u")
        for feedback, field in [
            (Feedback(ONES, items=[0, 1, 6]), "feedback.items"),
            (Feedback(ONES, reward=[1, 1, 1]), "feedback"),
            (Feedback(np.zeros((3, 6)), items=[0, 1, 2]), "feedback.x"),
        ]:
            with pytest.raises(InvalidInputError) as caught:
                await engine.update_adapter(adapter, feedback)
            assert caught.value.field == field
    async with Engine(config) as engine:
        with pytest.raises(InvalidInputError, match="items="):
            await engine.update_adapter(adapter, Feedback(ONES, ONES))


async def test_damaged_adapter_bytes_of_an_update_in_the_middle() -> None:
    async with Engine(make_config(), "memory://") as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), 2)
    data = adapter.to_bytes()
    for damaged in (b"", data[:-1], data[:7], data[:20] + b"\xff" + data[21:], b"x" + data):
        with pytest.raises(CodecError):
            Adapter.from_bytes(damaged)
