"""What an engine keeps of its users is nothing that Python's collector of cycles has to walk."""

from __future__ import annotations

import copy
import gc
import pickle
from collections import Counter

from tests.engine.banks import make_config, run_updates

from lorabank import LoRAPersonalizationEngine as Engine
from lorabank import QueryConfig
from lorabank.types.flat import flat, from_flat
from lorabank.types.hyperparameters import DEFAULTS, Hints
from lorabank.types.strategy import ArmEffect, Estimate, Strategy, TrialSummary

PATIENT = QueryConfig(refresh_every=4, budget=30.0, deadline=30.0)
USERS, UPDATES = 40, 8


def walked() -> Counter[str]:
    """The kinds of objects that a full collection walks; tuples are let go of layer by layer."""
    for _ in range(4):
        gc.collect()
    return Counter(type(found).__name__ for found in gc.get_objects())


async def test_a_user_adds_few_objects() -> None:
    async with Engine(make_config(query=PATIENT), "memory://") as engine:
        await run_updates(engine, await engine.create_adapter("first"), UPDATES)
        await engine.flush()
        before = walked()
        for number in range(USERS):
            await run_updates(engine, await engine.create_adapter(f"user {number}"), UPDATES)
        await engine.flush()
        more = walked() - before
        stats = engine.stats()
    assert stats.cache_entries >= USERS
    assert stats.replay_users == USERS + 1
    assert more.total() <= 16 * USERS, more
    for kind in ("Match", "Outcome", "Feedback", "Strategy"):
        assert more[kind] < USERS / 4, more


async def test_what_a_cached_answer_says_is_what_the_bank_said() -> None:
    async with Engine(make_config(query=PATIENT), "memory://") as engine:
        adapter, _ = await run_updates(engine, await engine.create_adapter("u"), UPDATES)
        await engine.flush()
        _, [miss, *hits] = await run_updates(engine, adapter, 3)
    assert [report.cache for report in (miss, *hits)] == ["miss", "hit", "hit"]
    for hit in hits:
        assert flat(hit.hints.similar) == flat(miss.hints.similar), "arrays are the same ones"
        assert flat(hit.hints.strategy) == flat(miss.hints.strategy)
        assert hit.hints.explain() == miss.hints.explain()
        assert hit.hints.defaults == miss.hints.defaults
    for made in (copy.deepcopy(hits[0].hints), pickle.loads(pickle.dumps(hits[0].hints))):
        assert made.explain() == miss.hints.explain()
        assert [m.pattern.id for m in made.similar] == [m.pattern.id for m in miss.hints.similar]


def test_answers_become_flat_and_come_back() -> None:
    effect = ArmEffect("steps", 2.0, 0.1, 0.01, 0.05, 0.2, 30, 9, 0.99, confirmed=None)
    confirmed = ArmEffect(
        "steps", 3.0, 0.1, 0.01, 0.05, 0.2, 30, 9, 0.99, 5.0, 0.01, Estimate(0.1, 0.0, 0.2, 4)
    )
    summary = TrialSummary(30, 9, ("a", "b"), 0.1)
    for foreign in ({"steps": [2]}, object(), (1, (2,)), (), None):
        answer = Strategy(Hints(steps=2), (effect, confirmed), (), 0.9, "text", summary)
        assert from_flat(flat((answer, DEFAULTS, foreign))) == (answer, DEFAULTS, foreign)
        odd = Strategy(foreign)  # type: ignore[arg-type]
        assert from_flat(flat(odd)) == odd
    parts = flat(Strategy(Hints(steps=2), (effect, confirmed), (), 0.9, "text", summary))
    gc.collect()
    gc.collect()
    assert not gc.is_tracked(parts)
