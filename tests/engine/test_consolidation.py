"""Consolidation: weights that help people who were not there, and none without evidence."""

from __future__ import annotations

import anyio
import numpy as np
import pytest
from tests.engine.banks import FakeTime, ScriptedBank, answering, failing, hanging, settle
from tests.engine.people import USERS, People

import lorabank.consolidation.consolidator as consolidator_module
from lorabank import (
    BankRejectedError,
    BankUnavailableError,
    ConsolidationCriteria,
    OutboxConfig,
    Progress,
    ReplayConfig,
    user_key,
)
from lorabank import LoRAPersonalizationEngine as Engine

EVERYBODY = ConsolidationCriteria(max_groups=0)


@pytest.mark.parametrize("objective", ["mse", "contrastive"])
async def test_shared_structure_becomes_weights_that_new_users_start_from(objective: str) -> None:
    people, bank, told = People(objective), ScriptedBank(), list[Progress]()
    async with Engine(people.config(), bank, items=people.items) as engine:
        cold = await people.first_losses(engine, warm=False)
        assert all(loss == pytest.approx(identity, rel=1e-5) for loss, identity in cold)
        await people.live(engine)
        report = await engine.consolidate_adaptation_patterns(EVERYBODY, on_progress=told.append)
        [group] = report.groups
        assert group.kept
        assert group.evidence is not None
        assert 0 < group.evidence.lower < group.evidence.mean < group.evidence.upper
        assert 8 <= group.evidence.users < USERS / 2, "held-out users alone"
        assert (report.skills_with_weights, report.skills_created) == (1, 1)
        assert report.episodes > USERS

        [skill] = await bank.skills("default")
        assert skill.prior is not None
        assert skill.prior.evidence == group.evidence
        assert user_key("user 0", b"lorabank") in skill.user_keys

        warm = await people.first_losses(engine, warm=True)
        ratio = np.mean([loss for loss, _ in warm]) / np.mean([loss for _, loss in cold])
        assert ratio < (0.5 if objective == "mse" else 0.9)
        assert engine.stats().skills_used == 20
    assert [progress.epoch for progress in told] == list(range(1, 9))
    assert {(progress.skill_id, progress.epochs) for progress in told} == {(skill.id, 8)}
    assert told[-1].loss < told[0].loss


@pytest.mark.parametrize("objective", ["mse", "contrastive"])
async def test_without_shared_structure_no_weights_are_kept(objective: str) -> None:
    people, bank = People(objective, shared=False), ScriptedBank()
    async with Engine(people.config(), bank, items=people.items) as engine:
        await people.live(engine)
        report = await engine.consolidate_adaptation_patterns(EVERYBODY)
        [group] = report.groups
        assert group.evidence is not None
        assert not group.kept
        assert group.evidence.lower <= 0
        assert report.skills_with_weights == 0
        assert all(skill.prior is None for skill in await bank.skills("default"))
        adapter = await engine.create_adapter("new", context=np.ones(16))
        assert adapter.skill_ids == ()


async def test_weights_are_kept_by_held_out_evidence_not_by_the_success_filter() -> None:
    people, bank = People("mse"), ScriptedBank()
    unreachable = ConsolidationCriteria(max_groups=0, min_reward=1.0, min_success_rate=1.0)
    async with Engine(people.config(), bank) as engine:
        await people.live(engine)
        report = await engine.consolidate_adaptation_patterns(unreachable)
        [skill] = await bank.skills("default")
        assert not skill.passed
        assert skill.prior is not None
        assert report.groups[0].kept
        # In a process that has no feedback to train on, the weights stay as they are.
        async with Engine(people.config(replay=ReplayConfig(enabled=False)), bank) as other:
            report = await other.consolidate_adaptation_patterns(EVERYBODY)
            assert not report.groups[0].kept
            assert "no local feedback" in report.groups[0].reason
        [again] = await bank.skills("default")
        assert again.prior is not None
        assert np.array_equal(again.prior.weights.B, skill.prior.weights.B)


async def test_a_users_dislikes_do_not_count_as_likes() -> None:
    """Half of the feedback says "not this one" of items that were never liked."""
    people, bank = People("contrastive"), ScriptedBank()
    plain = people.feedback

    def with_dislikes(user: int, batch: int, n: int = 6) -> object:
        from lorabank import Feedback

        liked = plain(user, batch, n)
        assert liked.items is not None
        rng = np.random.default_rng([user, batch, 1])
        return Feedback(
            np.repeat(liked.x, 2, axis=0),
            items=np.ravel(np.column_stack([liked.items, rng.integers(0, 60, n)])),
            reward=np.tile([1.0, 0.0], n),
        )

    people.feedback = with_dislikes  # type: ignore[assignment, method-assign]
    async with Engine(people.config(), bank, items=people.items) as engine:
        await people.live(engine)
        report = await engine.consolidate_adaptation_patterns(EVERYBODY)
        evidence = report.groups[0].evidence
        assert evidence is not None
        assert evidence.lower > 0
        assert evidence.episodes == evidence.users * 3 * 6, "liked rows alone are judged"


async def test_cancelled_between_epochs_nothing_is_half_done() -> None:
    people, bank = People("mse"), ScriptedBank()
    async with Engine(people.config(), bank) as engine:
        await people.live(engine)
        before = {skill.id: skill.prior for skill in await bank.skills("default")}
        puts = bank.calls["put_skill"]
        with anyio.CancelScope() as scope:

            def cancel(progress: Progress) -> None:
                if progress.epoch == 3:
                    scope.cancel()

            await engine.consolidate_adaptation_patterns(EVERYBODY, on_progress=cancel)
        assert scope.cancelled_caught
        assert bank.calls["put_skill"] == puts
        assert all(skill.prior is None for skill in await bank.skills("default"))
        assert before == {}
        report = await engine.consolidate_adaptation_patterns(EVERYBODY)
        assert report.skills_with_weights == 1


async def test_periodic_consolidation() -> None:
    people, bank, time = People("mse"), ScriptedBank(), FakeTime()
    config = people.config(consolidate_every=3600.0)
    async with Engine(config, clock=time.clock) as engine:
        await settle()
        time.advance(3600.0)  # without a bank, nothing happens
        await settle()
        await engine.connect_reasoning_bank(bank)
        bank.script["auto_consolidate"] = failing(RuntimeError("bug"))
        await people.live(engine)
        time.advance(3600.0)
        await settle()
        assert bank.calls["auto_consolidate"] == 1
        bank.script.clear()
        time.advance(3599.0)
        await settle()
        assert bank.calls["auto_consolidate"] == 1
        time.advance(1.0)
        with anyio.fail_after(20):
            await bank.finished["put_skill"].wait()
    assert any(skill.prior is not None for skill in await bank.skills("default"))


async def test_closing_does_not_wait_for_a_periodic_consolidation() -> None:
    bank, time = ScriptedBank(), FakeTime()
    bank.script["auto_consolidate"] = hanging
    config = People("mse").config(consolidate_every=60.0, outbox=OutboxConfig(drain=30.0))
    with anyio.fail_after(5):
        async with Engine(config, bank, clock=time.clock):
            await settle()
            time.advance(60.0)
            await bank.started["auto_consolidate"].wait()


async def test_a_user_forgotten_meanwhile_is_in_no_skill() -> None:
    people, bank = People("mse"), ScriptedBank()
    async with Engine(people.config(), bank) as engine:
        await people.live(engine)
        async with anyio.create_task_group() as group:

            def forget(progress: Progress) -> None:
                if progress.epoch == 2:
                    group.start_soon(engine.forget, "user 3")

            await engine.consolidate_adaptation_patterns(EVERYBODY, on_progress=forget)
        key = user_key("user 3", b"lorabank")
        assert all(key not in skill.user_keys for skill in await bank.skills("default"))
        await engine.consolidate_adaptation_patterns(EVERYBODY)
        [skill] = await bank.skills("default")
        assert skill.prior is not None
        assert key not in skill.user_keys


async def test_a_bank_that_fails_to_consolidate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consolidator_module, "GROUPING_DEADLINE", 0.02)
    bank = ScriptedBank()
    async with Engine(People("mse").config(), bank) as engine:
        for act, error in (
            (failing(), BankUnavailableError),
            (hanging, BankUnavailableError),
            (answering("nonsense"), BankRejectedError),
        ):
            bank.script["auto_consolidate"] = act
            with anyio.fail_after(5), pytest.raises(error):
                await engine.consolidate_adaptation_patterns()
