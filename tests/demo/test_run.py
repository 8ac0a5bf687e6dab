"""A whole run on made-up ratings: what it counts, and that a seed decides everything."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from typing import Any

import anyio
import pytest
from tests.support.made_up_ratings import made_up_data

from lorabank.demo.results import Report, Run, mean_over_seeds, to_json
from lorabank.demo.run import run
from lorabank.demo.settings import DemoSettings
from lorabank.evaluation.machine import this_machine

SETTINGS = DemoSettings(rank=4, tuning_events=6)


@lru_cache
def one_run(seed: int = 0, loop: str = "asyncio") -> Run:
    settings = dataclasses.replace(SETTINGS, seed=seed)
    return anyio.run(run, made_up_data(), settings, lambda *_: None, backend=loop)


def without_times(result: Run) -> dict[str, Any]:
    plain = dataclasses.asdict(result)
    del plain["seconds"]
    for key in ("cold_ms", "warm_ms", "without_bank_ms"):
        plain["updates"][key] = plain["updates"][key]["updates"]
    return plain


def test_same_seed_same_numbers_on_either_event_loop() -> None:
    assert without_times(one_run()) == without_times(one_run(loop="trio"))


def test_another_seed_is_another_split() -> None:
    assert one_run(0).methods != one_run(1).methods


def test_every_episode_is_accounted_for() -> None:
    result = one_run()
    episodes = result.episodes
    assert episodes.made == result.updates.past + result.updates.new
    assert episodes.held == episodes.made
    assert (episodes.dead, episodes.undelivered, episodes.lost) == (0, 0, 0)
    asked = result.updates.cache_hits + result.updates.cache_misses
    assert asked == episodes.made
    assert result.updates.cold_ms.updates == result.updates.cache_misses
    assert result.updates.warm_ms.updates == result.updates.cache_hits


def test_the_bank_helps_where_there_is_something_to_learn() -> None:
    result = one_run()
    assert result.skills.with_weights >= 1
    assert result.skills.started_from == result.setup.users_new
    assert result.method("with_bank").nll < result.method("frozen").nll


def test_methods_are_compared_over_the_same_users() -> None:
    result = one_run()
    keys = [method.key for method in result.methods]
    assert keys == ["popularity", "blend", "frozen", "without_bank", "bank_start", "with_bank"]
    blend = result.method("blend")
    assert blend.ndcg_vs_blend.mean == 0
    assert result.method("frozen").nll_vs_frozen.mean == 0
    for change in result.changes:
        total = change.helped + change.harmed + change.unchanged
        assert total == result.setup.users_new == len(change.differences)


def test_before_the_first_update_nobody_without_a_bank_differs_from_the_frozen() -> None:
    first = one_run().learning_curve[:1]
    for point in first:
        assert point.updates == 0
        assert point.ndcg["without_bank"] == pytest.approx(point.ndcg["frozen"])
        assert point.ndcg["with_bank"] == pytest.approx(point.ndcg["bank_start"])


def test_json_is_finite_and_plain() -> None:
    runs = (one_run(0), one_run(1))
    report = Report("0", "lorabank demo", this_machine(), runs, mean_over_seeds(runs))
    text = json.dumps(to_json(report), allow_nan=False)
    back = json.loads(text)
    assert len(back["runs"]) == 2
    gains = [r.method("with_bank").ndcg_vs_blend for r in runs]
    mean = next(m for m in back["mean"] if m["key"] == "with_bank")
    assert mean["ndcg_vs_blend"] == pytest.approx(sum(g.mean for g in gains) / 2)
    assert mean["ndcg_vs_blend_lowest"] == pytest.approx(min(g.lower for g in gains))
