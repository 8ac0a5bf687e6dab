"""A bank that answers nonsense neither fails an update nor gets it to do nonsense."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from tests.engine.banks import (
    ScriptedBank,
    answering,
    failing,
    make_config,
    run_updates,
)
from tests.engine.evidence import evidence

from lorabank import (
    Hints,
    Hyperparameters,
    Match,
    QueryConfig,
    Strategy,
    TrialConfig,
)
from lorabank import LoRAPersonalizationEngine as Engine

PATIENT = QueryConfig(budget=5.0)
NAN = math.nan
PATTERN = evidence(1)[0]
NONSENSE_HINTS = [
    Hints(learning_rate=1e9),
    Hints(learning_rate=NAN, clip_threshold=-1.0, ewc_strength=math.inf, steps=10**9),
    Hints(learning_rate="fast", steps=1.5),  # type: ignore[arg-type]
    Hints(learning_rate=True, ewc_strength=0.5),
    "0.02",
    None,
]
NONSENSE_STRATEGIES: list[object] = [
    "a string",
    None,
    42,
    {"hints": {}},
    Strategy(patterns=("x",)),  # type: ignore[arg-type]
    Strategy(recommendation=None),  # type: ignore[arg-type]
    Strategy(effects=None),  # type: ignore[arg-type]
]
NONSENSE_MATCHES: list[object] = [
    "abc",
    None,
    42,
    {"a": 1},
    ["x"],
    [None],
    [Match("x", 1.0)],  # type: ignore[arg-type]
    [Match(PATTERN, NAN), Match(None, 0.5)],  # type: ignore[arg-type]
    (i for i in range(3)),
]


async def one_update(bank: ScriptedBank) -> Hyperparameters:
    """A few updates against a talking-nonsense bank; the engine must stay well."""
    config = make_config(query=PATIENT, trials=TrialConfig(holdout=0.0))
    async with Engine(config, bank) as engine:
        adapter, reports = await run_updates(engine, await engine.create_adapter("u"), 3)
        for report in reports:
            report.hints.explain()
        assert np.isfinite(adapter.B).all()
        await engine.create_adapter("v", context=np.ones(6))
        report_close = await engine.disconnect_reasoning_bank()
    assert report_close.delivered == 3
    return reports[-1].hyperparameters


@pytest.mark.parametrize("hints", NONSENSE_HINTS, ids=repr)
async def test_hints_out_of_bounds_are_refused_with_a_reason(hints: object) -> None:
    bank = ScriptedBank()
    bank.script["learn_strategy"] = answering(Strategy(hints=hints))  # type: ignore[arg-type]
    assert await one_update(bank) == Hyperparameters()
    config = make_config(query=PATIENT, trials=TrialConfig(holdout=0.0))
    async with Engine(config, bank) as engine:
        _, [report] = await run_updates(engine, await engine.create_adapter("u"), 1)
    assert report.hints.selection == "default"
    assert bool(report.hints.refused) == (hints is not None)


@pytest.mark.parametrize("answer", NONSENSE_STRATEGIES, ids=lambda a: repr(a)[:30])
async def test_nonsense_for_a_strategy(answer: object) -> None:
    bank = ScriptedBank()
    bank.script["learn_strategy"] = answering(answer)
    assert await one_update(bank) == Hyperparameters()


@pytest.mark.parametrize("answer", NONSENSE_MATCHES, ids=lambda a: repr(a)[:30])
async def test_nonsense_for_matches(answer: object) -> None:
    bank = ScriptedBank()
    bank.script["retrieve_patterns"] = answering(answer)
    assert await one_update(bank) == Hyperparameters()


@pytest.mark.parametrize(
    "answer", ["abc", None, 42, ["x"], [None], [PATTERN]], ids=lambda a: repr(a)[:20]
)
async def test_nonsense_for_skills(answer: object) -> None:
    bank = ScriptedBank()
    bank.script["skills"] = answering(answer)
    await one_update(bank)


@pytest.mark.parametrize("generation", [RuntimeError("no"), NAN, [], "x", None], ids=repr)
async def test_nonsense_for_a_generation(generation: object) -> None:
    bank = ScriptedBank()
    async with Engine(make_config(query=PATIENT), bank) as engine:
        bank.odd_generation = generation
        _, reports = await run_updates(engine, await engine.create_adapter("u"), 2)
        assert [report.cache for report in reports] == ["miss", "hit"]


async def test_methods_that_raise_at_once_or_cancel_themselves(anyio_backend: str) -> None:
    bank = ScriptedBank()
    bank.skills = bank.retrieve_patterns = lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    await one_update(bank)
    if anyio_backend == "asyncio":
        for method in ("skills", "learn_strategy", "retrieve_patterns", "store_patterns"):
            bank = ScriptedBank()
            bank.script[method] = failing(asyncio.CancelledError(), times=1)
            await one_update(bank)
