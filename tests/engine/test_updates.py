"""Updates: what the report says, and what stays the same whatever happens around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.engine.banks import (
    FakeTime,
    ScriptedBank,
    make_config,
    make_feedback,
    run_updates,
)

from lorabank import (
    Feedback,
    Hyperparameters,
    SuccessConfig,
    create_adapter_feedback,
    user_key,
)
from lorabank import LoRAPersonalizationEngine as Engine


def relative_loss(y: Any, feedback: Feedback) -> float:
    assert feedback.target is not None
    return float(((y - feedback.target) ** 2).sum() / (feedback.x**2).sum())


async def test_what_the_report_says() -> None:
    clock = FakeTime(now=2e9)
    bank = ScriptedBank()
    async with Engine(make_config(), bank, clock=clock.clock) as engine:
        first = await engine.create_adapter("u")
        rng = np.random.default_rng(0)
        batches = [make_feedback(rng) for _ in range(2)]
        second, one = await engine.update_adapter(first, batches[0])
        third, two = await engine.update_adapter(second, batches[1])

    assert (
        one.loss_before
        == one.identity_loss
        == pytest.approx(relative_loss(first.transform(batches[0].x), batches[0]), rel=1e-5)
    )
    assert one.loss_after == pytest.approx(
        relative_loss(second.transform(batches[0].x), batches[0]), rel=1e-4
    )
    assert one.improvement > 0
    assert batches[1].target is not None
    plain = np.mean((second.transform(batches[1].x) - batches[1].target) ** 2)
    assert two.plain_mse == pytest.approx(plain, rel=1e-4)
    assert one.gradient_norm > 0
    assert one.clipped == (one.gradient_norm > one.hyperparameters.clip_threshold)
    assert one.hyperparameters == Hyperparameters()
    assert (one.cache, one.bank, one.episode, one.finished) == (
        "miss",
        "connected",
        "pending",
        None,
    )
    assert (two.cache, two.bank, two.episode) == ("hit", "connected", "queued")
    assert min(one.seconds.query, one.seconds.gradients, one.seconds.apply) > 0
    assert one.seconds.total >= one.seconds.store >= 0
    assert (third.version, third.sample_count) == (2, 8)

    finished = two.finished
    assert finished is not None
    assert second.pending is not None
    assert finished.id == second.pending.id
    assert finished.outcome is not None
    reference = relative_loss(batches[1].x, batches[1])
    loss = relative_loss(second.transform(batches[1].x), batches[1])
    assert finished.outcome.loss == pytest.approx(loss, rel=1e-4), "scored before it is learned"
    assert finished.outcome.reference_loss == pytest.approx(reference, rel=1e-5)
    gain = (reference - loss) / reference
    assert finished.outcome.gain == pytest.approx(gain, rel=1e-3)
    assert finished.outcome.reward == pytest.approx(np.clip(0.5 + gain / 0.4, 0, 1), rel=1e-3)
    assert finished.outcome.success == (gain > 0)
    assert (finished.rank, finished.objective, finished.samples) == (2, "mse", 4)
    assert (finished.created_at, finished.namespace) == (2e9, "default")
    assert finished.user_key == user_key("u", b"lorabank")
    np.testing.assert_allclose(finished.context, batches[0].x.mean(axis=0), rtol=1e-6)
    assert "u" not in finished.task.split()
    assert "helped" in finished.critique


async def test_without_a_bank() -> None:
    async with Engine(make_config()) as engine:
        adapter, reports = await run_updates(engine, await engine.create_adapter("u"), 3)
    assert {(r.cache, r.bank, r.episode) for r in reports} == {
        ("disconnected", "disconnected", "none")
    }
    assert adapter.pending is None
    assert reports[-1].finished is None


@pytest.mark.parametrize("policy", ["gain", "loss"])
async def test_reward_and_success_of_both_policies(policy: str) -> None:
    config = make_config(success=SuccessConfig(policy=policy, loss_threshold=0.1))
    async with Engine(config, "memory://") as engine:
        _, reports = await run_updates(engine, await engine.create_adapter("u"), 12)
    for report in reports[1:]:
        assert report.finished is not None
        outcome = report.finished.outcome
        assert outcome is not None
        if policy == "gain":
            reward, success = 0.5 + outcome.gain / 0.4, outcome.gain > 0
        else:
            reward, success = 1 - outcome.loss, outcome.loss < 0.1
        assert outcome.reward == pytest.approx(float(np.clip(reward, 0, 1)))
        assert outcome.success == success


async def test_adapters_move_between_engines() -> None:
    """Of another rank or scale than the engine's own; not of another space or objective."""
    async with Engine(make_config(rank=3, alpha=6.0, scaling="rslora")) as other:
        adapter, _ = await run_updates(other, await other.create_adapter("u"), 2)
    async with Engine(make_config(), "memory://") as engine:
        updated, reports = await run_updates(engine, adapter, 2)
        assert (updated.rank, updated.alpha, updated.scaling) == (3, 6.0, "rslora")
        assert reports[1].finished is not None
        assert reports[1].finished.rank == 3


async def test_a_watch_event_is_feedback() -> None:
    x = np.ones(6)
    feedback = create_adapter_feedback(x, 0.5 * x, completion_rate=0.8, rating=5, rewatch=True)
    assert feedback.reward is not None
    assert feedback.reward[0] == pytest.approx(0.9)
    async with Engine(make_config(), "memory://") as engine:
        _, report = await engine.update_adapter(await engine.create_adapter("u"), feedback)
        assert report.improvement > 0
        reward_alone = create_adapter_feedback(x, completion_rate=0.5)
        _, report = await engine.update_adapter(await engine.create_adapter("u"), reward_alone)
        assert report.identity_loss == pytest.approx(0.75**2), "the target is reward * x"


async def test_a_report_and_an_adapter_are_printed_without_their_arrays() -> None:
    async with Engine(make_config(), "memory://") as engine:
        adapter = await engine.create_adapter("ada")
        rng = np.random.default_rng(0)
        for _ in range(20):
            adapter, report = await engine.update_adapter(adapter, make_feedback(rng))
    assert report.hints.similar
    for value in (report, adapter):
        assert "array(" not in repr(value)
        assert len(repr(value)) < 1500
    assert "user_id='ada'" in repr(adapter)
